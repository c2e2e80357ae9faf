"""kill -9 under load, again and again, on one directory; no root needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.powercut.history import History, Wrong, lines_of
from tests.powercut.recording import run_session
from tests.powercut.subjects import LOOK, LOOK_INSIDE, Subject


def kill_rounds(
    subject: Subject, place: Path, seed: int, rounds: int, tell: Callable[[int], None]
) -> int:
    """How many promises were acknowledged; raises Wrong, or what a start raises.

    place: an empty directory on the disk to use.
    """
    rng, history = Random(f"{subject.name} {seed}"), History()
    root, lines = place / "node", place / "lines"
    root.mkdir()
    for number in range(rounds):
        lines.unlink(missing_ok=True)
        run_session(subject, str(root), str(place), rng, kill=True, counted=False)
        before = len(history.acks)
        history.add(lines_of(str(lines)))
        if len(history.acks) == before:
            raise Wrong(f"round {number}: the process that writes did not get far")
        subject.judge(str(root), history.allowed, LOOK_INSIDE if number % 4 == 0 else LOOK)
        tell(number + 1)

    return len(history.acks)
