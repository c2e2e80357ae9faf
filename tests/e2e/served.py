"""A real cluster for a test: `holdfast serve` in a process of its own, on free loopback ports.

Nodes are killed by the ids that /proc gives for the children of serve.  To keep one down, its
configuration is spoilt, so that serve goes on trying to start it and cannot until it is mended.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
HOLDFAST: Final = (sys.executable, "-m", "holdfast")
DEADLINE_S: Final = 60.0
_POLL_S: Final = 0.05
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Served:
    """A running `serve`.  `folder` holds its data directory and its log."""

    def __init__(self, folder: Path, port: int, arguments: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.environ = {**os.environ, "HOLDFAST_GATEWAY": self.url, "PYTHONPATH": str(ROOT)}
        self._log = (folder / "serve.log").open("ab")
        self._process = subprocess.Popen(
            [
                *(*HOLDFAST, "serve", "--data-dir", str(self.data_dir)),
                *("--listen", f"127.0.0.1:{port}", *arguments),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=self.environ,
        )
        self.pid = self._process.pid

    def wait_ready(self) -> None:
        """Return when every node votes."""
        self.until(lambda: self._is_ready() and bool(self.status()["healthy"]))

    def until(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds; fails with the log when serve ends before."""
        give_up_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < give_up_s, self.log()
            time.sleep(_POLL_S)

    def command(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run `holdfast ...` against this cluster, in its folder."""
        return subprocess.run(
            [*HOLDFAST, *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            env=self.environ,
            cwd=self.folder,
            timeout=DEADLINE_S,
        )

    def ok(self, *arguments: str, stdin: bytes = b"") -> str:
        """As `command`, which must succeed; what it printed."""
        done = self.command(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode() + self.log()
        return done.stdout.decode().strip()

    def http(self, method: str, path: str, body: bytes | None = None) -> Reply:
        """One request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request(method, path, body)
            response = connection.getresponse()
            return Reply(response.status, dict(response.headers), response.read())

    def status(self) -> dict[str, object]:
        """GET /v1/status."""
        value = json.loads(self.http("GET", "/v1/status").body)
        assert isinstance(value, dict)
        return value

    def states(self) -> dict[str, str]:
        """State by node."""
        nodes = self.status()["nodes"]
        assert isinstance(nodes, list)
        return {node["node"]: node["state"] for node in nodes}

    def pids(self, *words: str) -> list[int]:
        """Processes below serve whose command line has these words, oldest first."""
        found = []
        for pid in descendants(self.pid):
            arguments = command_line(pid)
            if all(any(word in argument for argument in arguments) for word in words):
                found.append(pid)
        return sorted(found)

    def node_pid(self, name: str) -> int:
        """The process of a node."""
        found: list[int] = []

        def is_there() -> bool:
            found[:] = self.pids(f"{name}.toml")
            return bool(found)

        self.until(is_there)
        return found[0]

    def take_down(self, *names: str) -> None:
        """Kill nodes (SIGKILL) so that they do not come back before `bring_back`."""
        for name in names:
            config = self.data_dir / f"{name}.toml"
            config.rename(self.data_dir / f"{name}.kept")
        for name in names:
            os.kill(self.node_pid(name), signal.SIGKILL)
        self.until(lambda: all(self.states()[name] == "unreachable" for name in names))

    def bring_back(self, *names: str) -> None:
        """Let serve start them again, and wait until they vote."""
        for name in names:
            (self.data_dir / f"{name}.kept").rename(self.data_dir / f"{name}.toml")
        self.until(lambda: all(self.states()[name] == "voter" for name in names))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        family = descendants(self.pid)
        self._process.send_signal(number)
        try:
            code = self._process.wait(DEADLINE_S)
            give_up_s = time.monotonic() + DEADLINE_S
            while any(is_alive(pid) for pid in family):
                assert time.monotonic() < give_up_s, self.log()
                time.sleep(_POLL_S)
        finally:
            self.kill()
        return code

    def kill(self) -> None:
        """Make an end, whatever happened; idempotent."""
        family = descendants(self.pid) if self._process.poll() is None else []
        self._process.kill()
        self._process.wait()
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._log.close()

    def log(self) -> str:
        """The last lines that serve and its children wrote."""
        lines = (self.folder / "serve.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-40:])

    def _is_ready(self) -> bool:
        try:
            return self.http("GET", "/readyz").status == _OK
        except OSError:
            return False


@contextlib.contextmanager
def served(folder: Path, *arguments: str, port: int | None = None) -> Iterator[Served]:
    """A cluster that is ready; gone at the end."""
    cluster = Served(folder, free_port() if port is None else port, arguments)
    try:
        cluster.wait_ready()
        yield cluster
    finally:
        cluster.kill()


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


def descendants(pid: int) -> list[int]:
    """Children of a process, and theirs."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found.extend(int(child) for child in (task / "children").read_text().split())
    return found[1:]


def command_line(pid: int) -> list[str]:
    """The arguments of a process; none when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
