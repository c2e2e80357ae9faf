"""Random faults on a cluster of real processes, while clients watch what they are told.

    python -m tests.nemesis [--seed N] [--seconds S] [--store pages|files]

Five nodes in network namespaces of their own, three copies, two gateways.  Nodes are killed,
frozen, cut off, wiped, rolled back and made to rot, as drawn from the seed; after every round that
cost copies, `holdfast admin repair` has to find everything whole again.  Needs root, ip and
iptables.  Exit status: 0 when no promise was broken, 1 when one was (the folder of the run is kept
then), 2 when something needed is missing.  The same seed strikes the same nodes in the same order;
what happens in between is as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final, NoReturn

from bench.failure import RowFailed
from bench.trouble.cluster import TroubledCluster
from bench.trouble.network import Network, in_hub
from tests.nemesis.clients import Clients
from tests.nemesis.faults import Place
from tests.nemesis.judge import Judge
from tests.nemesis.nemesis import Nemesis
from tests.nemesis.operator import Operator

_NODES: Final = 5
_PORTS: Final = (7070, 7080)
_TOOLS: Final = ("ip", "iptables")
_PARENT: Final = "HOLDFAST_NEMESIS_PARENT"
_FOLDER: Final = "/var/tmp"  # a folder of our own is made in it; /tmp may be memory


def main(argv: Sequence[str]) -> int:
    """Run as told by the command line; returns the exit status."""
    options = _options(argv)
    parent = os.environ.get(_PARENT)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        if parent is not None:
            return _inside(options, Network(_NODES, int(parent)))
        missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
        if os.geteuid() != 0 or missing:
            words = f"install {', '.join(missing)}" if missing else "network namespaces need root"
            print(f"cannot run: {words}", file=sys.stderr)
            return 2
        again = ["-m", "tests.nemesis", *argv, "--seed", str(options.seed)]
        return in_hub(_NODES, again, _PARENT)
    except RowFailed as error:
        print(f"cannot run: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _inside(options: argparse.Namespace, made: Network) -> int:
    folder = Path(tempfile.mkdtemp(prefix="holdfast-nemesis-", dir=_FOLDER))
    settings = f'store = "{options.store}"\nabsent_s = 20\n'
    cluster = TroubledCluster(folder, _NODES, made, ports=_PORTS, settings=settings)
    judge = Judge()
    print(f"seed {options.seed}, {options.seconds:.0f} s, store {options.store}", flush=True)
    try:
        cluster.start()
        place = Place(cluster, made, folder, Random(f"{options.seed} bytes"))
        asyncio.run(_run(options, place, judge))
        _tell(judge, Operator(_PORTS))
    finally:
        cluster.stop()
        if judge.violations:
            print(f"the cluster's data and log are kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if judge.violations else 0


async def _run(options: argparse.Namespace, place: Place, judge: Judge) -> None:
    clients = Clients(
        judge,
        Random(f"{options.seed} clients"),
        _PORTS,
        workers=options.workers,
        blobs_each=options.blobs,
    )
    await clients.begin()
    try:
        nemesis = Nemesis(Random(f"{options.seed} rounds"), place, judge, Operator(_PORTS))
        await nemesis.run(options.seconds)
        await clients.end()
        await nemesis.heal()
        await clients.look_at_all()
    finally:
        await clients.close()


def _tell(judge: Judge, operator: Operator) -> None:
    for violation in judge.violations:
        print(f"BROKEN {violation.blob}: {violation.words}")
        for line in violation.latest:
            print(f"    {line}")
        if violation.blob:
            print(operator.why(violation.blob))
    print(", ".join(f"{what}: {count:,}" for what, count in sorted(judge.counts.items())))
    print(f"{len(judge.violations)} promises broken, {len(judge.stories)} blobs")


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.nemesis", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--seconds", type=float, default=300.0, help="default 300")
    parser.add_argument("--store", choices=("pages", "files"), default="pages")
    parser.add_argument("--workers", type=int, default=24, help="clients (default 24)")
    parser.add_argument("--blobs", type=int, default=40, help="of each client (default 40)")
    return parser.parse_args(argv)


def _terminate(_number: int, _frame: object) -> NoReturn:
    """SIGTERM unwinds like Ctrl-C, so that everything is cleared away."""
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
