"""A real Holdfast cluster as child processes, started and stopped by the command itself.

It is what a user gets from `holdfast serve`: three nodes, three replicas, a data directory of its
own. The harness talks to it over HTTP only, and finds its processes by their kinship.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from bench import proc, progress
from bench.ask import free_port, is_ready
from bench.child import Child
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.plan import REPLICAS, Plan

_READY_S: Final = 60.0
_STOP_S: Final = 45.0  # a gateway drains for 20 s and a node for 10 s, one after the other
_POLL_S: Final = 0.02
_GATEWAY: Final = "gateway"
_NODE: Final = "node"


def role(arguments: Sequence[str]) -> str:
    """`gateway`, `node` or nothing, from a command line such as `python -m holdfast node ...`."""
    for argument in arguments[1:]:
        for name in (_GATEWAY, _NODE):
            if argument == name or argument.startswith(f"{name}."):
                return name
    return ""


def roles(
    family: Sequence[proc.Stat], commands: Mapping[int, Sequence[str]]
) -> dict[str, list[int]]:
    """Process ids by role; a process without a role of its own has that of its parent.

    family: parents before children, as `proc.descendants` gives them.
    """
    of_pid: dict[int, str] = {}
    found: dict[str, list[int]] = {_GATEWAY: [], _NODE: []}
    for member in family:
        mine = role(commands[member.pid]) or of_pid.get(member.parent, "")
        of_pid[member.pid] = mine
        if mine:
            found[mine].append(member.pid)
    return found


class Cluster:
    """A running cluster; port is the gateway's, folder that of its data and log."""

    def __init__(self, child: Child, port: int, folder: Path) -> None:
        self._child = child
        self.folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def gateways(self) -> list[int]:
        """Process ids of the gateway and its workers."""
        return self._roles()[_GATEWAY]

    def nodes(self) -> list[int]:
        """Process ids of the nodes."""
        return self._roles()[_NODE]

    def _roles(self) -> dict[str, list[int]]:
        family = proc.descendants(self._child.pid)
        return roles(family, {member.pid: proc.arguments(member.pid) for member in family})

    def wait_ready(self, deadline: Deadline) -> None:
        """Return when the gateway says that it is ready; RowFailed when it does not in time."""
        patience = Deadline(deadline.share_s(_READY_S, "starting the cluster"))
        while not is_ready(self.port):
            if self._child.exited:
                words = self._child.last_words()
                raise RowFailed(f"`holdfast serve` ended before it was ready. It said:\n{words}")
            if patience.remaining_s() == 0:
                words = self._child.last_words()
                raise RowFailed(f"the cluster was not ready after {_READY_S:.0f} s:\n{words}")
            time.sleep(_POLL_S)


@contextmanager
def running_cluster(plan: Plan, deadline: Deadline) -> Iterator[Cluster]:
    """A cluster that is ready; it is stopped and its data removed at the end."""
    folder = Path(mkdtemp(prefix="cluster-", dir=plan.folder))
    port = free_port()
    argv = [
        *(sys.executable, "-m", "holdfast", "serve"),
        *("--data-dir", str(folder / "data")),
        *("--listen", f"127.0.0.1:{port}"),
        *("--nodes", str(REPLICAS)),
        *("--replicas", str(REPLICAS)),
        *plan.serve_arguments,
    ]
    child = Child(argv, folder / "serve.log")
    try:
        cluster = Cluster(child, port, folder)
        cluster.wait_ready(deadline)
        yield cluster
    finally:
        complaint = child.stop(_STOP_S)
        if complaint:
            progress.say(f"`holdfast serve` {complaint}")
        shutil.rmtree(folder, ignore_errors=True)
