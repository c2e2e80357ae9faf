"""A real process with a page record store on a real disk, killed while it works (F20)."""

from __future__ import annotations

import os
from pathlib import Path

from tests.powercut.kills import kill_rounds
from tests.powercut.subjects import SUBJECTS

ROUNDS = int(os.environ.get("HOLDFAST_KILL_ROUNDS", "4"))


def test_a_killed_process_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    done: list[int] = []

    acks = kill_rounds(SUBJECTS["records"], tmp_path, 1, ROUNDS, done.append)

    assert len(done) == ROUNDS
    assert acks > 20 * ROUNDS
