"""holdfast serve"""

from __future__ import annotations

import click

from gateway.config import GatewayConfig
from holdfast.command_line import json_option
from holdfast.serve import ServeOptions, serve_process
from node.config import StoreKind
from ring.errors import BadRequest

STORES = [kind.value for kind in StoreKind]


@click.command()
@click.option(
    "--data-dir",
    default="holdfast-data",
    show_default=True,
    metavar="DIR",
    help="Where everything is kept; made at the first run.",
)
@click.option(
    "--listen",
    default=GatewayConfig().listen,
    show_default=True,
    metavar="HOST:PORT",
    help="Where the gateway listens.",
)
@click.option(
    "--nodes", type=int, metavar="N", help="How many nodes; first run only.  [default: 3]"
)
@click.option(
    "--replicas", type=int, metavar="N", help="Copies of every blob; first run only.  [default: 3]"
)
@click.option(
    "--store",
    type=click.Choice(STORES),
    help="How nodes keep them; first run only.  [default: pages]",
)
@click.option(
    "--workers",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that share the gateway's port.",
)
@click.option("--insecure", is_flag=True, help="Listen beyond this machine without access control.")
@json_option
def serve(
    *,
    data_dir: str,
    listen: str,
    nodes: int | None,
    replicas: int | None,
    store: str | None,
    workers: int,
    insecure: bool,
    as_json: bool,
) -> None:
    """Run a whole cluster on this machine until Ctrl-C.

    Nodes and gateway are processes of their own, started again when they die. The data is kept
    across runs. With --json, says so in one JSON object when it is ready, and logs in JSON.
    """
    try:
        gateway = GatewayConfig(listen=listen, workers=workers, insecure=insecure)
    except BadRequest as error:
        lines = [f"--{line}" for line in error.detail.splitlines()]
        raise click.UsageError("\n".join(lines)) from None
    if gateway.address.port == 0:
        raise click.UsageError("--listen: name a port, so that clients can find it")
    kind = None if store is None else StoreKind(store)
    serve_process(ServeOptions(data_dir, gateway, nodes, replicas, kind, as_json))
