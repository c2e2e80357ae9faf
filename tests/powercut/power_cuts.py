"""Crash states of a subject: recordings, positions to cut at, processes that judge, a tally.

A recording after the first begins on the disk that a power cut of the one before left, so that what
a start repairs is cut off too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Final

from msgspec import Struct, field

from tests.powercut.crash_image import CrashImage
from tests.powercut.history import History, Wrong
from tests.powercut.place import unmount_below
from tests.powercut.recording import Allowed, Recording, record, save_allowed
from tests.powercut.subjects import Subject
from tests.powercut.write_log import Flush, opened_log

STATES_PER_RECORDING: Final = 100
STATE_S_MAX: Final = 120.0
DEATHS_MAX: Final = 5
_WORDS_SHOWN: Final = 500

Tell = Callable[[str], None]


class Cut(Struct, frozen=True):
    """A state of a recording."""

    position: int
    seed: int
    number: int


class Tally(Struct):
    """What was tried.  wrong: a few words each.  given_up: why indexes were made anew."""

    states: int = 0
    entries: int = 0
    flushes: int = 0
    acks: int = 0
    recordings: int = 0
    record_s: float = 0.0
    judge_s: float = 0.0
    wrong: list[str] = field(default_factory=list)
    fates: Counter[str] = field(default_factory=Counter)
    given_up: Counter[str] = field(default_factory=Counter)


class Watch:
    """Kills a process that says nothing for long: a damaged index can have it turn for ever."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._timer = threading.Timer(STATE_S_MAX, process.kill)
        self._timer.start()

    def again(self) -> None:
        self.end()
        self._timer = threading.Timer(STATE_S_MAX, self._process.kill)
        self._timer.start()

    def end(self) -> None:
        self._timer.cancel()


class PowerCuts:
    """Everything about one subject; `run` does it."""

    def __init__(
        self, subject: Subject, place: Path, seed: int, jobs: int, tell: Tell, *, kept_in: str
    ) -> None:
        self.tally = Tally()
        self._subject = subject
        self._place = place
        self._rng = Random(f"{subject.name} {seed}")
        self._jobs = jobs
        self._kept_in = kept_in
        self._tell = tell
        self._next_number = 0
        self._stopped = False

    def run(self, states: int) -> Tally:
        """Judge so many states."""
        base: Path | None = None
        before: Allowed = {}
        while self.tally.states < states and not self.tally.wrong:
            share = min(STATES_PER_RECORDING, states - self.tally.states)
            directory = self._place / f"{self._subject.name}-{self.tally.recordings}"
            try:
                recording, history = self._record(directory, base, before)
            except Wrong as error:
                self.tally.wrong.append(f"recording {directory.name}: {error}")
                break
            cuts = self._cuts(recording, history, share)
            self._judge_all(recording, cuts)
            if self.tally.wrong:
                self._keep(directory)
            base, before = self._next_disk(recording, history)
            unmount_below(str(directory))
            for path in sorted(directory.iterdir()):
                if path != base and path.is_file():
                    path.unlink()
        return self.tally

    def _keep(self, directory: Path) -> None:
        """So that a state can be judged again, see state_judge.py."""
        kept = tempfile.mkdtemp(prefix="holdfast-powercut-broken-", dir=self._kept_in)
        for name in ("base", "log", "lines", "before"):
            subprocess.run(("cp", "--sparse=always", directory / name, kept), check=True)
        self._tell(f"{self._subject.name}: the recording is kept in {kept}")

    def _record(
        self, directory: Path, base: Path | None, before: Allowed
    ) -> tuple[Recording, History]:
        self._tell(f"{self._subject.name}: recording")
        started_s = time.monotonic()
        seed = self._rng.randrange(1 << 30)
        recording = record(directory, self._subject, seed, base, before)
        save_allowed(f"{directory}/before", before)
        history = recording.history()
        self.tally.recordings += 1
        self.tally.record_s += time.monotonic() - started_s
        self.tally.acks += len(history.acks)
        return recording, history

    def _cuts(self, recording: Recording, history: History, count: int) -> list[Cut]:
        """Half of them the moment something was acknowledged, the others anywhere."""
        with opened_log(recording.log) as log:
            end = len(log.entries)
            self.tally.entries += end
            self.tally.flushes += sum(isinstance(entry, Flush) for entry in log.entries)
        rng, cuts = self._rng, []
        for number in range(count):
            position = rng.choice(history.acks) if number % 2 else rng.randrange(end + 1)
            cuts.append(Cut(position, rng.randrange(1 << 30), self._next_number + number))
        self._next_number += count
        return sorted(cuts, key=lambda cut: cut.position)

    def _judge_all(self, recording: Recording, cuts: Sequence[Cut]) -> None:
        started_s = time.monotonic()
        shares = [cuts[first :: self._jobs] for first in range(self._jobs)]
        with ThreadPoolExecutor(self._jobs) as pool:
            try:
                for _ in pool.map(self._judge_share, [recording] * len(shares), shares):
                    pass
            except BaseException:
                self._stopped = True
                raise
        self.tally.judge_s += time.monotonic() - started_s

    def _judge_share(self, recording: Recording, cuts: Sequence[Cut]) -> None:
        """With one process, and another one after each that died."""
        rest, deaths = list(cuts), 0
        while rest and deaths < DEATHS_MAX and not self._stopped:
            name = f"{rest[0].number}-{deaths}"
            done = self._judge_some(recording, name, rest)
            rest = rest[done:]
            if rest and not self._stopped:
                deaths += 1
                died = rest.pop(0)
                words = Path(f"{recording.directory}/judge.{name}").read_text()
                self._found_wrong(died, f"its judge died or never ended: {words[-_WORDS_SHOWN:]}")

    def _judge_some(self, recording: Recording, name: str, cuts: Sequence[Cut]) -> int:
        command = ("tests.powercut.state_judge", recording.directory, self._subject.name, name)
        with open(f"{recording.directory}/judge.{name}", "wb") as words:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, text=True,
            )
        assert process.stdin is not None
        assert process.stdout is not None
        done = 0
        try:
            for cut in cuts:
                process.stdin.write(f"{cut.position} {cut.seed} {cut.number}\n")
            process.stdin.close()
            watch = Watch(process)
            for line in process.stdout:
                watch.again()
                if line.startswith("["):
                    self._count(cuts[done], json.loads(line))
                    done += 1
            watch.end()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        return done

    def _count(self, cut: Cut, verdict: list[object]) -> None:
        _, _, fate, wrong, given_up = verdict
        assert isinstance(given_up, list)
        self.tally.states += 1
        self.tally.fates[str(fate)] += 1
        self.tally.given_up.update(map(str, given_up))
        for reason in given_up:
            self._tell(f"{self._subject.name}: index made anew at {cut}: {reason}")
        if wrong is not None:
            self._found_wrong(cut, f"({fate}) {wrong}")
        if self.tally.states % 50 == 0:
            self._tell(f"{self._subject.name}: {self.tally.states} states")

    def _found_wrong(self, cut: Cut, words: str) -> None:
        where = f"position {cut.position}, seed {cut.seed}, number {cut.number}"
        self.tally.wrong.append(f"{where}: {words}")
        self._tell(f"{self._subject.name}: WRONG at {self.tally.wrong[-1]}")

    def _next_disk(self, recording: Recording, history: History) -> tuple[Path, Allowed]:
        """What a power cut late in the recording left."""
        scratch, state = (f"{recording.directory}/{name}" for name in ("scratch", "next"))
        with opened_log(recording.log) as log:
            end = len(log.entries)
            position = self._rng.randrange(end // 2, end + 1)
            with closing(CrashImage(log, recording.base, scratch, state)) as image:
                image.make(position, self._rng.randrange(1 << 30))
        os.unlink(scratch)
        return Path(state), history.at(position)
