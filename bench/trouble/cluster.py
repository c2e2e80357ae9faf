"""A cluster whose processes are started one by one, each node in its namespace if there are any."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from bench.ask import is_ready
from bench.failure import RowFailed
from bench.trouble.network import Network

PORT: Final = 7070
NODE_PORT: Final = 7071
REPLICAS: Final = 3
_READY_S: Final = 60.0
_STOP_S: Final = 45.0
_POLL_S: Final = 0.05


class TroubledCluster:
    """Nodes counted from 1, gateways from 0 with a port of `ports` each.

    elsewhere: data directories that are not in the folder.  settings: further lines of `[node]`.
    """

    def __init__(
        self,
        folder: Path,
        nodes: int,
        network: Network,
        *,
        elsewhere: Mapping[int, Path] = MappingProxyType({}),
        ports: Sequence[int] = (PORT,),
        settings: str = "",
    ) -> None:
        self.nodes = nodes
        self.ports = ports
        self.log_path = folder / "cluster.log"
        self._folder = folder
        self._network = network
        self._elsewhere = elsewhere
        self._settings = settings
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._log = self.log_path.open("wb")

    def data(self, number: int) -> Path:
        """Where a node keeps everything."""
        return self._elsewhere.get(number, self._folder / f"data-{number}")

    def start(self) -> None:
        """Write configurations and start everything; RowFailed when it does not become ready."""
        self._configure()
        for number in self._numbers():
            self.start_node(number)
        for index in range(len(self.ports)):
            self.start_gateway(index)
        give_up_s = time.perf_counter() + _READY_S
        while not all(is_ready(port) for port in self.ports):
            if time.perf_counter() > give_up_s:
                words = self.log_path.read_text(errors="replace")[-2000:]
                raise RowFailed(f"the cluster was not ready after {_READY_S:.0f} s:\n{words}")
            time.sleep(_POLL_S)

    def start_node(self, number: int) -> None:
        """Start a node's process on what it has."""
        name = _node(number)
        argv = [sys.executable, "-m", "holdfast", "node", "--config", f"{name}.toml"]
        self._start(name, self._network.inside(self._network.namespace(number), *argv))

    def signal_node(self, number: int, what: signal.Signals) -> None:
        """Send a signal to a node's process, and wait for its end if that kills it."""
        self._signal(_node(number), what)

    def start_gateway(self, index: int) -> None:
        """Start a gateway's process."""
        name = _gateway(index)
        argv = [sys.executable, "-m", "holdfast", "gateway", "--config", f"{name}.toml"]
        self._start(name, argv)

    def kill_gateway(self, index: int) -> None:
        """Kill a gateway's process and wait for its end."""
        self._signal(_gateway(index), signal.SIGKILL)

    def ended(self) -> dict[str, int]:
        """The processes that are not running, with their exit status."""
        found = {name: process.poll() for name, process in self._processes.items()}
        return {name: status for name, status in found.items() if status is not None}

    def stop(self) -> None:
        """End every process, frozen ones too."""
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        give_up_s = time.perf_counter() + _STOP_S
        for process in self._processes.values():
            try:
                process.wait(max(0.1, give_up_s - time.perf_counter()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()

    def _numbers(self) -> range:
        return range(1, self.nodes + 1)

    def _configure(self) -> None:
        secret = self._folder / "secret"
        secret.write_text(secrets.token_hex(32))
        secret.chmod(0o600)
        seed = secrets.token_hex(8)
        addresses = {n: f"{self._network.address(n)}:{NODE_PORT}" for n in self._numbers()}
        members = "\n".join(
            f'[[cluster.members]]\nid = "{_node(number)}"\naddress = "{address}"\n'
            for number, address in addresses.items()
        )
        cluster = (
            f'[cluster]\nseed = "{seed}"\nreplicas = {REPLICAS}\nsecret_file = "secret"\n'
            f"{members}"
        )
        for number, address in addresses.items():
            name = _node(number)
            (self._folder / f"{name}.toml").write_text(
                f'[node]\nid = "{name}"\ndata_dir = "{self.data(number)}"\n'
                f'listen = "{address}"\naccept_blank = true\n{self._settings}\n{cluster}'
            )
        for index, port in enumerate(self.ports):
            (self._folder / f"{_gateway(index)}.toml").write_text(
                f'[gateway]\nlisten = "127.0.0.1:{port}"\n\n{cluster}'
            )

    def _signal(self, name: str, what: signal.Signals) -> None:
        process = self._processes[name]
        process.send_signal(what)
        if what == signal.SIGKILL:
            process.wait()

    def _start(self, name: str, argv: list[str]) -> None:
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
        self._processes[name] = subprocess.Popen(
            argv,
            cwd=self._folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )


def _node(number: int) -> str:
    return f"node-{number}"


def _gateway(index: int) -> str:
    return f"gateway-{index}"
