"""Network namespaces of our own: one for the gateway and its clients, one for each node.

Everything has a name of this run, so that nothing of anybody else's is touched; all of it goes
with the namespaces.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from bench.failure import RowFailed

SUBNET: Final = "10.77.0"
_COMMAND_S: Final = 20.0


def run(*argv: str) -> None:
    """Run a system command; RowFailed with its words when it fails."""
    done = subprocess.run(argv, capture_output=True, check=False, text=True, timeout=_COMMAND_S)
    if done.returncode:
        raise RowFailed(f"`{' '.join(argv)}` failed: {done.stderr.strip()}")


class Network:
    """A bridge in the namespace `hub`, and a namespace with an address on it for each node.

    pid: of the process that made it and will remove it; part of every name.
    """

    def __init__(self, nodes: int, pid: int) -> None:
        self._prefix = f"hf{pid}"
        self.hub = f"{self._prefix}-hub"
        self._nodes = nodes

    def namespace(self, number: int) -> str:
        """Of a node, counted from 1."""
        return f"{self._prefix}-{number}"

    def address(self, number: int) -> str:
        """Where the others reach a node."""
        return f"{SUBNET}.{10 + number}"

    def inside(self, namespace: str, *argv: str) -> list[str]:
        """The command line that runs `argv` in a namespace."""
        return ["ip", "netns", "exec", namespace, *argv]

    def make(self) -> None:
        """Needs root; RowFailed when something is not allowed."""
        run("ip", "netns", "add", self.hub)
        run("ip", "-n", self.hub, "link", "set", "lo", "up")
        run("ip", "-n", self.hub, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", self.hub, "addr", "add", f"{SUBNET}.1/24", "dev", "bridge")
        run("ip", "-n", self.hub, "link", "set", "bridge", "up")
        for number in range(1, self._nodes + 1):
            name, port = self.namespace(number), f"node{number}"
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
            run(
                *("ip", "-n", self.hub, "link", "add", port, "type", "veth"),
                *("peer", "name", "eth0", "netns", name),
            )
            run("ip", "-n", self.hub, "link", "set", port, "master", "bridge", "up")
            run("ip", "-n", name, "addr", "add", f"{self.address(number)}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")

    def remove(self) -> None:
        """Whatever of it is there."""
        for name in (self.hub, *(self.namespace(n) for n in range(1, self._nodes + 1))):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def lose(self, number: int, *directions: str) -> None:
        """From now on a node's packets vanish: `in` what is sent to it, `out` what it sends."""
        chains = {"in": "INPUT", "out": "OUTPUT"}
        for direction in directions:
            rule = (chains[direction], "!", "-i" if direction == "in" else "-o", "lo", "-j", "DROP")
            run(*self.inside(self.namespace(number), "iptables", "-A", *rule))

    def thin(self, number: int, share: float) -> None:
        """From now on such a share of a node's packets vanishes, each way, at random."""
        statistic = ("-m", "statistic", "--mode", "random", "--probability", f"{share}")
        for chain, device in (("INPUT", "-i"), ("OUTPUT", "-o")):
            rule = (chain, "!", device, "lo", *statistic, "-j", "DROP")
            run(*self.inside(self.namespace(number), "iptables", "-A", *rule))

    def heal(self, number: int) -> None:
        """Nothing vanishes any more."""
        run(*self.inside(self.namespace(number), "iptables", "-F"))


def in_hub(nodes: int, argv: Sequence[str], parent: str) -> int:
    """Make the network, and run this Python with `argv` in its hub; its exit status.

    parent: the environment variable that tells it this process's id, and so the network's names.
    """
    with network(nodes) as made:
        child = subprocess.Popen(
            made.inside(made.hub, sys.executable, *argv),
            env={**os.environ, parent: str(os.getpid())},
        )
        try:
            return child.wait()
        finally:
            child.terminate()
            child.wait()


@contextmanager
def network(nodes: int) -> Iterator[Network]:
    """Made now, gone at the end."""
    made = Network(nodes, os.getpid())
    try:
        made.make()
        yield made
    finally:
        made.remove()
