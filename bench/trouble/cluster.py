"""A cluster whose processes are started one by one, each node in its namespace if there are any."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
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
    """Node 1 is the one that gets into trouble; its data may lie on a disk of its own."""

    def __init__(self, folder: Path, nodes: int, network: Network, victim_data: Path) -> None:
        self.nodes = nodes
        self._folder = folder
        self._network = network
        self._victim_data = victim_data
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._log = (folder / "cluster.log").open("wb")

    def start(self) -> None:
        """Write configurations and start everything; RowFailed when it does not become ready."""
        secret = self._folder / "secret"
        secret.write_text(secrets.token_hex(32))
        secret.chmod(0o600)
        seed = secrets.token_hex(8)
        members = "\n".join(
            f'[[cluster.members]]\nid = "node-{number}"\n'
            f'address = "{self._network.address(number)}:{NODE_PORT}"\n'
            for number in self._numbers()
        )
        cluster = (
            f'[cluster]\nseed = "{seed}"\nreplicas = {REPLICAS}\nsecret_file = "secret"\n'
            f"{members}"
        )
        for number in self._numbers():
            data = self._victim_data if number == 1 else self._folder / f"data-{number}"
            address = f"{self._network.address(number)}:{NODE_PORT}"
            (self._folder / f"node-{number}.toml").write_text(
                f'[node]\nid = "node-{number}"\ndata_dir = "{data}"\nlisten = "{address}"\n'
                f"accept_blank = true\n\n{cluster}"
            )
        (self._folder / "gateway.toml").write_text(
            f'[gateway]\nlisten = "127.0.0.1:{PORT}"\n\n{cluster}'
        )
        for number in self._numbers():
            self.start_node(number)
        self._start(0, [sys.executable, "-m", "holdfast", "gateway", "--config", "gateway.toml"])
        give_up_s = time.perf_counter() + _READY_S
        while not is_ready(PORT):
            if time.perf_counter() > give_up_s:
                words = (self._folder / "cluster.log").read_text(errors="replace")[-2000:]
                raise RowFailed(f"the cluster was not ready after {_READY_S:.0f} s:\n{words}")
            time.sleep(_POLL_S)

    def start_node(self, number: int) -> None:
        """Start a node's process on what it has."""
        argv = [sys.executable, "-m", "holdfast", "node", "--config", f"node-{number}.toml"]
        self._start(number, self._network.inside(self._network.namespace(number), *argv))

    def signal_node(self, number: int, what: signal.Signals) -> None:
        """Send a signal to a node's process, and wait for its end if that kills it."""
        process = self._processes[number]
        process.send_signal(what)
        if what == signal.SIGKILL:
            process.wait()

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

    def _start(self, number: int, argv: list[str]) -> None:
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
        self._processes[number] = subprocess.Popen(
            argv,
            cwd=self._folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
