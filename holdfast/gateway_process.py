"""The process behind `holdfast gateway`: one gateway, or the parent of several on one port."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Final

import structlog
import uvloop

from gateway.config import GatewayConfig
from gateway.process import run_gateway
from holdfast.config_file import Loaded, load_gateway
from holdfast.garbage import tune_garbage_collection
from holdfast.log_lines import configure_log, with_json
from holdfast.stop_signal import stop_event
from holdfast.supervisor import ChildSpec, Supervisor
from node.host import HostClock, HostRandomness
from node.posix_threads import Threads

HASHING_THREADS: Final = 4
_GRACE_S: Final = 2.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class GatewayRun:
    """How the process was started.

    path: of the configuration file.  overrides: settings from the command line, by field, as text.
    worker: the name of this one when it is one of several on a port.
    """

    path: str
    overrides: tuple[tuple[str, str], ...]
    as_json: bool
    with_stdin: bool
    worker: str | None


def gateway_process(run: GatewayRun) -> None:
    """Run until it is told to stop; raises HoldfastError."""
    overrides = {f"HOLDFAST_GATEWAY_{name.upper()}": text for name, text in run.overrides}
    loaded = load_gateway(run.path, {**os.environ, **overrides})
    configure_log(with_json(loaded.log, as_json=run.as_json), run.worker or "gateway")
    if loaded.config.workers > 1 and run.worker is None:
        asyncio.run(_run_workers(run, loaded.config))
    else:
        tune_garbage_collection()
        uvloop.run(_run_one(loaded, with_stdin=run.with_stdin))


async def _run_one(loaded: Loaded[GatewayConfig], *, with_stdin: bool) -> None:
    threads = Threads(HASHING_THREADS, "hash")
    try:
        await run_gateway(
            loaded.config,
            loaded.layout,
            loaded.secret,
            clock=HostClock(),
            randomness=HostRandomness(),
            offload=threads.run,
            stop=stop_event(with_stdin=with_stdin),
        )
    finally:
        await threads.close()


async def _run_workers(run: GatewayRun, config: GatewayConfig) -> None:
    stop = stop_event(with_stdin=run.with_stdin)
    async with Supervisor() as supervisor:
        for number in range(1, config.workers + 1):
            name = f"gateway-{number}"
            supervisor.start(ChildSpec(name, _arguments(run, name)))
        log.info("workers started", count=config.workers, listen=config.listen)
        await stop.wait()
        await supervisor.stop(supervisor.children, grace_s=config.drain_s + _GRACE_S)


def _arguments(run: GatewayRun, name: str) -> tuple[str, ...]:
    """What this process was told, and which worker the new one is."""
    overrides: list[str] = []
    for field, text in run.overrides:
        overrides += [f"--{field}"] if text == "true" else [f"--{field}", text]
    as_json = ("--json",) if run.as_json else ()
    own = ("--worker", name, "--stop-with-stdin")
    return ("gateway", "--config", run.path, *overrides, *as_json, *own)
