"""`holdfast serve`: a whole cluster on one machine, as the processes that it would be on many.

Order: the directory is locked and its files written, nodes and gateway are started together, and
when the gateway is ready the user is told what to type.  To stop, the gateway drains before the
nodes do, because the requests that it finishes need them.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import aiohttp
import structlog

from gateway.config import GatewayConfig
from holdfast.client import DEFAULT_URL
from holdfast.log_lines import LogConfig, configure_log, with_json
from holdfast.serve_directory import ServeDirectory, Wishes, opened
from holdfast.supervisor import Child, ChildSpec, Supervisor
from node.config import DRAIN_S, StoreKind
from node.host import HostRandomness
from ring.address import Address
from ring.errors import LocalFault

READY_S: Final = 120.0
DEATHS_BEFORE_READY_MAX: Final = 3
_POLL_S: Final = 0.2
_PROBE_S: Final = 2.0
_GRACE_S: Final = 5.0  # beyond what a process allows its own requests
_ECHO_S: Final = 0.5
_OK: Final = 200

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `serve` was asked to do; None for what the directory has, or the default."""

    data_dir: str
    gateway: GatewayConfig
    nodes: int | None
    replicas: int | None
    store: StoreKind | None
    as_json: bool


class _Stop:
    """Set by the first signal; a second one hurries.

    Who sends one to a process and to its group means one: what follows at once does not count.
    """

    def __init__(self, hurry: Callable[[], None]) -> None:
        self.asked = asyncio.Event()
        self._asked_s = 0.0
        self._hurry = hurry

    def listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if not self.asked.is_set():
            self.asked.set()
            self._asked_s = now_s
        elif now_s - self._asked_s > _ECHO_S:
            self._hurry()


def serve_process(options: ServeOptions) -> None:
    """Run until a signal; raises BadRequest or LocalFault when it cannot start.

    Children are gone when it returns or raises.
    """
    log_config = with_json(LogConfig(), as_json=options.as_json)
    configure_log(log_config, "serve")
    asyncio.run(_serve(options, log_config))


async def _serve(options: ServeOptions, log_config: LogConfig) -> None:
    wishes = Wishes(options.nodes, options.replicas, options.store)
    async with opened(options.data_dir, wishes, HostRandomness()) as directory:
        _refuse_taken(options.gateway.address)
        directory.write_configurations(options.gateway, log_config)
        async with Supervisor(inherited=[directory.children_lock]) as supervisor:
            stop = _Stop(supervisor.hurry)
            stop.listen()
            nodes = [
                supervisor.start(_spec("node", directory, member.id))
                for member in directory.record.members
            ]
            gateway = supervisor.start(_spec("gateway", directory, "gateway"))
            await _run(options, directory, stop, [*nodes, gateway])
            log.info("stopping; another Ctrl-C does not wait for requests under way")
            await supervisor.stop([gateway], grace_s=options.gateway.drain_s + _GRACE_S)
            await supervisor.stop(nodes, grace_s=DRAIN_S + _GRACE_S)


def _spec(command: str, directory: ServeDirectory, name: str) -> ChildSpec:
    config = directory.file(f"{name}.toml")
    return ChildSpec(name, (command, "--config", config, "--stop-with-stdin"))


async def _run(
    options: ServeOptions, directory: ServeDirectory, stop: _Stop, children: list[Child]
) -> None:
    """Until a signal."""
    ready = asyncio.create_task(_until_ready(options.gateway.address, children))
    stopped = asyncio.create_task(stop.asked.wait())
    try:
        stopped.add_done_callback(lambda _: ready.cancel())
        try:
            await ready
        except asyncio.CancelledError:
            if not stop.asked.is_set():
                raise
            return
        print(_greeting(options, directory), flush=True)  # noqa: T201 - what the user waits for
        await stopped
    finally:
        ready.cancel()
        stopped.cancel()


async def _until_ready(address: Address, children: list[Child]) -> None:
    """Return when the gateway serves; raises LocalFault when it is not going to."""
    url = f"{_url(address)}/readyz"
    loop = asyncio.get_running_loop()
    give_up_s = loop.time() + READY_S
    timeout = aiohttp.ClientTimeout(total=_PROBE_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            try:
                async with session.get(url) as response:
                    if response.status == _OK:
                        return
                    reason = (await response.read()).decode("utf-8", "replace").strip()
            except (aiohttp.ClientError, TimeoutError) as error:
                reason = str(error) or "no answer"
            for child in children:
                if child.restarts >= DEATHS_BEFORE_READY_MAX:
                    raise LocalFault(
                        f"{child.name} does not stay alive ({child.last_exit});"
                        " the log lines above say why"
                    )
            if loop.time() > give_up_s:
                raise LocalFault(f"the cluster is not ready after {READY_S:g} s: {reason}")
            await asyncio.sleep(_POLL_S)


def _refuse_taken(address: Address) -> None:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            raise LocalFault(
                f"cannot listen on {address}: {os.strerror(error.errno or 0)};"
                " choose another port with --listen"
            ) from error


def _url(address: Address) -> str:
    """Where this machine reaches a gateway that listens on `address`."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not listened on
    return f"http://{Address(anywhere.get(address.host, address.host), address.port)}"


def _greeting(options: ServeOptions, directory: ServeDirectory) -> str:
    record, url = directory.record, _url(options.gateway.address)
    if options.as_json:
        return json.dumps(
            {
                "ready": True,
                "url": url,
                "nodes": len(record.members),
                "replicas": record.replicas,
                "store": record.store.value,
                "data_dir": os.path.abspath(directory.path),
            }
        )
    command = _command()
    gateway = "" if url == DEFAULT_URL else f"    export HOLDFAST_GATEWAY={url}\n"
    kept = "kept when this stops" if record.store is not StoreKind.MEMORY else "gone when it stops"
    nodes = len(record.members)
    return f"""
Holdfast is ready at {url}
{nodes} nodes, {record.replicas} copies of every blob, data in {directory.path} ({kept}).

One disk is one disk: all copies are on this machine, so they survive a process that dies or a file
that rots, but not the loss of this disk. For that, run the nodes on machines of their own.

In another terminal:

{gateway}    {command} put FILE                 (or a directory; prints the digest)
    {command} get DIGEST -o COPY
    curl -T FILE {url}/v1/blobs/sha256:$(sha256sum FILE | cut -c-64)
    {command} admin status             (what works, and what does not)

Ctrl-C stops it.
"""


def _command() -> str:
    """How the user can type `holdfast` here."""
    if shutil.which("holdfast"):
        return "holdfast"
    script = os.path.join(os.path.dirname(sys.executable), "holdfast")
    if os.access(script, os.X_OK):
        return shlex.quote(os.path.relpath(script))
    return f"{shlex.quote(sys.executable)} -m holdfast"
