"""Cuts the power under real stores on real ext4, kills them, and breaks their disk.

    python -m tests.powercut [--states N] [--rounds N] [--seed S] [--subject NAME ...]

Exit status 0 when every promise was kept, 1 when one was broken, 2 when it cannot run here.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog
from msgspec import Struct

from tests.powercut.cluster_cuts import cut_rounds
from tests.powercut.disk_faults import SCENARIOS, Scenario
from tests.powercut.history import Wrong
from tests.powercut.kills import kill_rounds
from tests.powercut.place import clear_leftovers, own_place
from tests.powercut.power_cuts import PowerCuts, Tally
from tests.powercut.requirements import enter_own_mounts, missing
from tests.powercut.subjects import SUBJECTS, Subject

_SHOWN = 5
CANNOT_RUN = 2


class Row(Struct, frozen=True):
    """A line of the summary; wrong: what was broken."""

    what: str
    done: str
    wrong: list[str]
    took_s: float


class Run:
    """What was asked for, step by step."""

    def __init__(self, options: argparse.Namespace, place: Path) -> None:
        self.rows: list[Row] = []
        self._options = options
        self._place = place
        self._started_s = time.monotonic()

    def everything(self) -> None:
        options = self._options
        subjects = [SUBJECTS[name] for name in options.subject or SUBJECTS]
        for subject in subjects:
            if options.states:
                self._row(f"power cut, {subject.name}", partial(self._power_cuts, subject))
        for subject in subjects:
            if options.rounds:
                self._row(f"kill -9, {subject.name}", partial(self._kills, subject))
        if options.clusters:
            self._row("power cut, cluster", self._cluster_cuts)
        if options.faults:
            for name, scenario in SCENARIOS.items():
                self._row(name, partial(self._fault, scenario, name))

    def tell(self, words: str) -> None:
        at_s = time.monotonic() - self._started_s
        print(f"[{at_s:6.1f} s] {words}", flush=True)

    def _row(self, what: str, step: Callable[[], tuple[str, list[str]]]) -> None:
        self.tell(what)
        started_s = time.monotonic()
        try:
            done, wrong = step()
        except Wrong as error:
            done, wrong = "a promise was broken", [str(error)]
        except Exception:  # noqa: BLE001 - the other steps go on
            done, wrong = "it did not get to the end", [traceback.format_exc()]
        self.rows.append(Row(what, done, wrong, time.monotonic() - started_s))

    def _power_cuts(self, subject: Subject) -> tuple[str, list[str]]:
        options = self._options
        cuts = PowerCuts(
            subject, self._place, options.seed, options.jobs, self.tell, kept_in=options.directory
        )
        tally = cuts.run(max(1, int(options.states * subject.share)))
        return in_words(tally), tally.wrong

    def _cluster_cuts(self) -> tuple[str, list[str]]:
        def tell(done: int) -> None:
            if done % 10 == 0:
                self.tell(f"power cut, cluster: {done} of {self._options.clusters} rounds")

        place = self._place / "cluster"
        place.mkdir()
        tally = cut_rounds(place, self._options.seed, self._options.clusters, tell)
        return f"{tally.rounds} rounds, {tally.acks} acks, {tally.reads} blobs looked at", []

    def _fault(self, scenario: Scenario, name: str) -> tuple[str, list[str]]:
        return scenario(self._place / name), []

    def _kills(self, subject: Subject) -> tuple[str, list[str]]:
        options = self._options
        rounds = max(1, int(options.rounds * subject.share))

        def tell(done: int) -> None:
            if done % 20 == 0:
                self.tell(f"kill -9, {subject.name}: {done} of {rounds} rounds")

        with tempfile.TemporaryDirectory(prefix="holdfast-kill-", dir=options.directory) as place:
            acks = kill_rounds(subject, Path(place), options.seed, rounds, tell)
        return f"{rounds} rounds, {acks} acks", []


def in_words(tally: Tally) -> str:
    """What was tried, and how fast."""
    rate = tally.states / max(tally.judge_s, 0.001)
    fates = ", ".join(f"{count} {name}" for name, count in sorted(tally.fates.items()))
    words = [
        f"{tally.states} states ({fates}), {rate:.0f} a second",
        (
            f"from {tally.recordings} recordings of {tally.entries} writes and flushes "
            f"({tally.flushes} of them flushes) with {tally.acks} acks in {tally.record_s:.0f} s"
        ),
    ]
    words += [f"index made anew {n} times: {why}" for why, n in sorted(tally.given_up.items())]
    return "; ".join(words)


def summary(rows: list[Row], seed: int) -> str:
    """A table, and below it what was broken."""
    wide = max(len(row.what) for row in rows)
    lines = [f"{row.what:{wide}}  {'BROKEN' if row.wrong else 'kept':6}  {row.took_s:6.1f} s  "
             f"{row.done}" for row in rows]
    for row in rows:
        for wrong in row.wrong[:_SHOWN]:
            lines += ["", f"{row.what}: {wrong}"]
        if len(row.wrong) > _SHOWN:
            lines.append(f"... and {len(row.wrong) - _SHOWN} more of {row.what}")
    broken = sum(len(row.wrong) for row in rows)
    return "\n".join([*lines, "", f"{broken} promises broken (seed {seed})"])


def parsed(arguments: list[str]) -> argparse.Namespace:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.powercut", description=__doc__)
    parser.add_argument("--states", type=int, default=1000, help="crash states of `records`")
    parser.add_argument("--rounds", type=int, default=200, help="rounds of kill -9 of `records`")
    parser.add_argument("--clusters", type=int, default=10,
                        help="power cuts of a whole cluster under load")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--subject", action="append", choices=list(SUBJECTS))
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--no-faults", dest="faults", action="store_false",
                        help="leave out read-only, full, frozen and failing disks")
    parser.add_argument("--directory", default="/var/tmp",
                        help="where kill -9 runs and the recording of a broken promise is kept")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Exit status."""
    options = parsed(arguments)
    lacks = list(missing())
    if not lacks:
        refused = enter_own_mounts()
        lacks = [] if refused is None else [refused]
    if lacks:
        print("The power cut tests on a real file system cannot run here:", *lacks, sep="\n  ")
        return CANNOT_RUN
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=quiet)
    for removed in clear_leftovers():
        print(f"removed what an earlier run left: {removed}")
    with own_place() as place:
        run = Run(options, place)
        try:
            run.everything()
        except KeyboardInterrupt:
            run.tell("interrupted; cleaning up")
            return 130
    print(f"\n{summary(run.rows, options.seed)}")
    return int(any(row.wrong for row in run.rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
