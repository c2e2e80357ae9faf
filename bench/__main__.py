"""`python -m bench`: what this machine makes of Holdfast, beside what it makes of nothing.

Standard output has the report and nothing else; progress goes to standard error. Exit status: 0
when every row has a figure (whether or not its budget is met), 1 when one could not be measured,
2 when a tool is missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final, NoReturn

from bench import progress
from bench.budgets import Experiment, experiments
from bench.curl import require_curl
from bench.deadline import Deadline
from bench.failure import RowFailed, ToolMissing
from bench.peers.compare import KEYS, run_peers
from bench.peers.scale import QUICK, Scale
from bench.plan import MIB, Plan, quick
from bench.proc import file_system
from bench.profile import LOADS, run_profile
from bench.repair import run as repair
from bench.rows import Row, as_json, as_text
from bench.scratch import scratch_folder
from bench.store import run as store
from bench.wrk import require_wrk

_TOTAL_S: Final = 570.0  # `make bench-json` promises 10 minutes, clearing up included
_FOLDER: Final = "/var/tmp"  # noqa: S108 - a folder of our own is made in it; /tmp may be memory


def main(argv: Sequence[str]) -> int:
    """Run as told by the command line; returns the exit status."""
    options = _options(argv)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        if options.what not in {"store", "repair"}:
            require_wrk()
            require_curl()
        with scratch_folder(options.dir) as folder:
            if options.what == "repair":
                progress.say(_machine(Plan(folder)))
                return repair.run_repair(
                    folder, options.only, is_quick=options.quick, records=options.records
                )
            if options.what == "store":
                return _report_store(options, folder)
            return _report(options, _plan(options, folder))
    except ToolMissing as error:
        progress.say(f"cannot measure: {error}")
        return 2
    except KeyboardInterrupt:
        progress.say("interrupted; the clusters are stopped and their data is removed")
        return 130


def _report(options: argparse.Namespace, plan: Plan) -> int:
    if options.what == "peers":
        return run_peers(
            plan, options.only, QUICK if options.quick else Scale(), json=options.json
        )
    deadline = Deadline(_TOTAL_S)
    progress.say(_machine(plan))
    if options.what == "profile":
        loads = options.only or LOADS
        try:
            print(run_profile(plan, loads, options.seconds, deadline, native=options.native))
        except RowFailed as error:
            progress.say(f"no profile: {error}")
            return 1
        return 0
    chosen = [
        experiment
        for experiment in experiments(plan)
        if not options.only or experiment.key in options.only
    ]
    rows = [row for experiment in chosen for row in measure(experiment, plan, deadline)]
    print(as_json(rows) if options.json else as_text(rows))
    return 1 if any(row.measured is None for row in rows) else 0


def _report_store(options: argparse.Namespace, folder: Path) -> int:
    progress.say(_machine(Plan(folder)))
    return store.run_store(
        folder,
        options.only,
        is_quick=options.quick,
        records=options.records,
        json=options.json,
    )


def measure(experiment: Experiment, plan: Plan, deadline: Deadline) -> list[Row]:
    """Run one experiment; when it fails, its rows say why and have no figures."""
    progress.say(f"{experiment.key}: {experiment.specs[0].name}")
    try:
        deadline.share_s(1, f"the row {experiment.key}")
        figures = experiment.run(plan, deadline)
    except RowFailed as error:
        progress.say(f"{experiment.key} was not measured: {error}")
        return [Row(spec, None, failure=str(error)) for spec in experiment.specs]
    return [
        Row(spec, figure) for spec, figure in zip(experiment.specs, figures, strict=True)
    ]


def _plan(options: argparse.Namespace, folder: Path) -> Plan:
    serve: list[str] = []
    if options.store:
        serve += ["--store", options.store]
    if options.workers:
        serve += ["--workers", str(options.workers)]
    arguments = (*serve, *options.serve_argument)
    make = quick if options.quick else Plan
    plan = make(folder, serve_arguments=arguments)
    if options.start_blobs:
        plan = dataclasses.replace(plan, start_blobs=options.start_blobs)
    if options.upload_mib:
        plan = dataclasses.replace(plan, upload_bytes=options.upload_mib * MIB)
    return plan


def _options(argv: Sequence[str]) -> argparse.Namespace:
    keys = [experiment.key for experiment in experiments(Plan(Path()))]
    parser = _parser(keys)
    options = parser.parse_args(argv)
    known = {
        "profile": LOADS, "peers": KEYS, "store": store.KEYS, "repair": repair.KEYS
    }.get(options.what, keys)
    for name in options.only:
        if name not in known:
            parser.error(f"there is no {name!r} here; --only takes {', '.join(known)}")
    return options


def _parser(keys: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure Holdfast beside limits taken in the same run. See bench/README.md.",
    )
    parser.add_argument(
        "what",
        nargs="?",
        choices=("rows", "profile", "peers", "store", "repair"),
        default="rows",
        help="rows: the figures (default); profile: where the time goes, with py-spy; "
        "peers: the cluster beside what a user would pick instead; "
        "store: a node's storage engine without a cluster; "
        "repair: what comparing costs, and how soon a lost disk is whole",
    )
    parser.add_argument("--json", action="store_true", help="print the rows as a JSON list")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help=f"only this, may be repeated; rows: {', '.join(keys)}; profile: {', '.join(LOADS)}; "
        f"peers: {', '.join(KEYS)}; store: {', '.join(store.KEYS)}; "
        f"repair: {', '.join(repair.KEYS)}",
    )
    parser.add_argument("--quick", action="store_true", help="small and short: does it work?")
    parser.add_argument(
        "--dir", type=Path, default=Path(os.environ.get("TMPDIR", _FOLDER)),
        help=f"where the clusters keep their data ($TMPDIR or {_FOLDER}); must be on a disk",
    )
    parser.add_argument("--store", help="passed on to `holdfast serve`")
    parser.add_argument("--workers", type=int, help="passed on to `holdfast serve`")
    parser.add_argument(
        "--serve-argument", action="append", default=[], metavar="ARGUMENT",
        help="passed on to `holdfast serve` as it is, may be repeated (--serve-argument=--x)",
    )
    parser.add_argument("--start-blobs", type=int, help="blobs on the node that starts")
    parser.add_argument("--upload-mib", type=int, help="size of each of the 64 uploads")
    parser.add_argument("--records", type=int, help="store, repair: how many records")
    parser.add_argument("--seconds", type=int, default=5, help="profile: length of each load")
    parser.add_argument("--native", action="store_true", help="profile: show C frames too")
    return parser


def _machine(plan: Plan) -> str:
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, aiohttp {version('aiohttp')}, "
        f"uvloop {version('uvloop')}, data on {file_system(plan.folder)} in {plan.folder}"
    )


def _terminate(_number: int, _frame: object) -> NoReturn:
    """SIGTERM unwinds like Ctrl-C, so that clusters are stopped and their data removed."""
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
