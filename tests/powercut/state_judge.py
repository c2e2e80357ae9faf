"""A process that makes crash states of a recording, one after the other, and starts the store.

    python -m tests.powercut.state_judge DIRECTORY SUBJECT NUMBER

Reads lines "position seed number" from standard input, in order of their positions, and prints a
JSON object for each.  A process of its own: a damaged index can end it by a signal.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from msgspec import Struct

from tests.powercut import kernel
from tests.powercut.crash_image import CrashImage
from tests.powercut.history import History, Wrong
from tests.powercut.recording import NODE, Recording, load_allowed
from tests.powercut.subjects import SUBJECTS, Judgement, Subject
from tests.powercut.write_log import opened_log


class Verdict(Struct):
    """wrong: what promise was broken; None for a good state."""

    position: int
    seed: int
    fate: str
    wrong: str | None
    given_up: list[str]


class Bench:
    """One loop device over an image that is made anew for every state."""

    def __init__(self, image: CrashImage, device: str, mount_point: str) -> None:
        self._image = image
        self._device = device
        self._mount_point = mount_point

    def judge(
        self, subject: Subject, history: History, position: int, seed: int, number: int
    ) -> Verdict:
        """Make the state and start the store on it."""
        fate = self._image.make(position, seed).value
        kernel.forget_cached(self._device)
        judgement, wrong = Judgement([]), None
        try:
            kernel.mount(self._device, self._mount_point, "ext4", kernel.MS_NOATIME)
        except OSError as error:
            return Verdict(position, seed, fate, f"ext4 itself: {error}", [])
        try:
            root = f"{self._mount_point}/{NODE}"
            os.makedirs(root, exist_ok=True)
            judgement = subject.judge(root, history.at(position), number)
        except Wrong as error:
            wrong = str(error)
        except Exception:  # noqa: BLE001 - whatever a start raises is a finding
            wrong = traceback.format_exc()
        # If that fails this process has to end: the next state would be judged by what is cached.
        kernel.unmount(self._mount_point)
        return Verdict(position, seed, fate, wrong, judgement.given_up)


@contextmanager
def bench_for(recording: Recording, name: str) -> Iterator[Bench]:
    """With files of its own, called by `name`."""
    scratch, state, mount_point = (
        f"{recording.directory}/{part}.{name}" for part in ("scratch", "state", "mount")
    )
    Path(mount_point).mkdir()
    with opened_log(recording.log) as log:
        image = CrashImage(log, recording.base, scratch, state)
        with kernel.looped(state) as device:
            yield Bench(image, device, mount_point)
        image.close()


def main(directory: str, subject_name: str, name: str) -> None:
    """See the module."""
    kernel.die_with_parent()
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=quiet)
    recording = Recording(directory, load_allowed(f"{directory}/before"))
    history, subject = recording.history(), SUBJECTS[subject_name]
    with bench_for(recording, name) as bench:
        for line in sys.stdin:
            position, seed, number = map(int, line.split())
            print(f"begin {line}", end="", flush=True)
            verdict = bench.judge(subject, history, position, seed, number)
            print(json.dumps([getattr(verdict, field) for field in verdict.__struct_fields__]),
                  flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
