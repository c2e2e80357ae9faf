"""`python -m bench.trouble`: one bad node, and what clients notice of it (promise P12).

A cluster of real processes, each node in a network namespace of its own, node 1 on a disk that can
hang; load at a fixed rate; one fault after the other, and at the end more load than it can bear.
Needs root, ip, iptables, mkfs.ext4, fsfreeze and wrk.  Standard output has the table.  Exit status:
0 when the promise was kept every time, 1 when not, 2 when something needed is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from bench import progress
from bench.failure import RowFailed, ToolMissing
from bench.trouble.cluster import PORT, TroubledCluster
from bench.trouble.disk import freezable_disk
from bench.trouble.experiment import Result, Timing, experiment
from bench.trouble.faults import FAULTS, Fault, Place
from bench.trouble.load import Load
from bench.trouble.network import Network, in_hub
from bench.trouble.table import as_text, is_kept

_TOOLS: Final = ("ip", "iptables", "mkfs.ext4", "mount", "umount", "fsfreeze", "wrk")
_PARENT: Final = "HOLDFAST_TROUBLE_PARENT"
_BLOBS: Final = 300
_QUICK: Final = Timing(before_s=4, during_s=10, after_s=8)
_FOLDER: Final = "/var/tmp"  # noqa: S108 - a folder of our own is made in it; /tmp may be memory


def main(argv: Sequence[str]) -> int:
    """Run as told by the command line; returns the exit status."""
    options = _options(argv)
    signal.signal(signal.SIGTERM, _terminate)
    parent = os.environ.get(_PARENT)
    try:
        if parent is None:
            _require_tools()
            return in_hub(options.nodes, ["-m", "bench.trouble", *argv], _PARENT)
        return _inside(options, Network(options.nodes, int(parent)))
    except ToolMissing as error:
        progress.say(f"cannot measure: {error}")
        return 2
    except RowFailed as error:
        progress.say(f"not measured: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


def _inside(options: argparse.Namespace, made: Network) -> int:
    chosen = [fault for fault in FAULTS if not options.only or fault.key in options.only]
    timing = _QUICK if options.quick else Timing()
    folder = Path(tempfile.mkdtemp(prefix="holdfast-trouble-", dir=options.dir))
    try:
        with freezable_disk(folder) as disk:
            elsewhere = {1: disk.place / "data"}
            cluster = TroubledCluster(folder, options.nodes, made, elsewhere=elsewhere)
            try:
                cluster.start()
                place = Place(cluster, made, disk)
                results = asyncio.run(_measure(place, chosen, timing, options.rate))
            finally:
                cluster.stop()
    finally:
        if options.keep_log:
            shutil.copy(folder / "cluster.log", options.keep_log)
        shutil.rmtree(folder, ignore_errors=True)
    title = (
        f"{options.nodes} nodes, 3 replicas, {options.rate:.0f} requests/s (40% get, 30% put, "
        f"20% miss, 10% delete), fault for {timing.during_s:.0f} s, {os.cpu_count()} cores for all"
    )
    print(as_text(results, title))
    return 0 if all(map(is_kept, results)) else 1


async def _measure(
    place: Place, faults: Sequence[Fault], timing: Timing, rate: float
) -> list[Result]:
    load = Load(PORT, rate)
    await load.prepare(_BLOBS)
    results = []
    try:
        await load.run(3.0)  # so that connections are there
        for fault in faults:
            progress.say(f"{fault.key}: {fault.words}")
            results.append(await experiment(fault, place, timing, load))
            progress.say(as_text(results[-1:], "").splitlines()[-1])
    finally:
        await load.end()
    return results


def _options(argv: Sequence[str]) -> argparse.Namespace:
    keys = [fault.key for fault in FAULTS]
    parser = argparse.ArgumentParser(prog="python -m bench.trouble", description=__doc__)
    parser.add_argument("--nodes", type=int, default=5, help="at least 3 (default 5)")
    parser.add_argument("--rate", type=float, default=150.0, help="requests/s (default 150)")
    parser.add_argument(
        "--only", action="append", default=[], choices=keys, help="this fault; may be repeated"
    )
    parser.add_argument("--quick", action="store_true", help="half as long")
    parser.add_argument("--dir", type=Path, default=Path(os.environ.get("TMPDIR", _FOLDER)))
    parser.add_argument("--keep-log", help="copy what the processes logged to this file")
    return parser.parse_args(argv)


def _require_tools() -> None:
    if os.geteuid() != 0:
        raise ToolMissing("network namespaces and frozen disks need root")
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise ToolMissing(f"install {', '.join(missing)}")


def _terminate(_number: int, _frame: object) -> NoReturn:
    """SIGTERM unwinds like Ctrl-C, so that everything is cleared away."""
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
