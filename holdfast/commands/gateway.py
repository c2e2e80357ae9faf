"""holdfast gateway --config FILE"""

from __future__ import annotations

import click

from holdfast.gateway_process import GatewayRun, gateway_process
from holdfast.process_options import process_options


@click.command()
@process_options()
@click.option("--workers", type=int, metavar="N", help="Processes that share the port.")
@click.option("--insecure", is_flag=True, help="Listen beyond this machine without access control.")
@click.option("--worker", hidden=True, help="The name of one of several on a port.")
def gateway(
    *,
    path: str,
    as_json: bool,
    stop_with_stdin: bool,
    workers: int | None,
    insecure: bool,
    worker: str | None,
) -> None:
    """Run one gateway until SIGTERM, which lets requests under way finish.

    Settings can be overridden by the environment, HOLDFAST_GATEWAY_LISTEN and so on, and those that
    are options here by the command line.
    """
    overrides: list[tuple[str, str]] = []
    if workers is not None:
        overrides.append(("workers", str(workers)))
    if insecure:
        overrides.append(("insecure", "true"))
    gateway_process(GatewayRun(path, tuple(overrides), as_json, stop_with_stdin, worker))
