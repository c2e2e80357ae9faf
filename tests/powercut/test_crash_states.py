"""The harness itself: what it makes of a log, and what it allows afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.powercut.crash_image import CrashImage, Fate
from tests.powercut.history import FOUND, MAY, MUST, NOTHING, History, Line, Wrong
from tests.powercut.write_log import Counter, LogWriter, make_counter, opened_log

BLOCK = 4096
OLD, FIRST, SECOND = (bytes([letter]) * BLOCK for letter in b"oab")


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A disk of four blocks; blocks 0 and 1 are written, flushed, and all but 0 written again."""
    make_counter(str(tmp_path / "count"))
    (tmp_path / "base").write_bytes(OLD * 4)
    with LogWriter(str(tmp_path / "log"), str(tmp_path / "count")) as log:
        log.wrote(0, memoryview(FIRST * 2))
        log.wrote(3 * BLOCK, memoryview(FIRST))
        log.flushed(1)
        log.wrote(BLOCK, memoryview(SECOND * 2))
    return tmp_path


def states(recorded: Path, position: int, seeds: range) -> dict[Fate, set[bytes]]:
    found: dict[Fate, set[bytes]] = {fate: set() for fate in Fate}
    names = [str(recorded / name) for name in ("base", f"scratch-{position}", "state")]
    with opened_log(str(recorded / "log")) as log:
        image = CrashImage(log, *names)
        for seed in seeds:
            found[image.make(position, seed)].add((recorded / "state").read_bytes())
        image.close()
    return found


def test_what_a_flush_covers_is_there_and_only_that(recorded: Path) -> None:
    found = states(recorded, 3, range(40))

    assert found[Fate.DROPPED] == {FIRST * 2 + OLD * 2}
    assert found[Fate.KEPT] == {FIRST * 2 + OLD + FIRST}


def test_later_writes_are_dropped_kept_or_torn(recorded: Path) -> None:
    found = states(recorded, 4, range(400))

    assert found[Fate.KEPT] == {FIRST + SECOND * 2 + FIRST}
    assert found[Fate.SCATTERED] == {
        FIRST + middle + last for middle in (FIRST + OLD, SECOND * 2) for last in (OLD, FIRST)
    }
    assert found[Fate.TORN] == {
        FIRST + one + two + last
        for one in (FIRST, SECOND)
        for two in (OLD, SECOND)
        for last in (OLD, FIRST)
    }


def test_before_a_flush_nothing_is_certain(recorded: Path) -> None:
    assert states(recorded, 2, range(40))[Fate.DROPPED] == {OLD * 4}


def test_whoever_had_an_answer_finds_it_counted(recorded: Path) -> None:
    assert Counter(str(recorded / "count")).now() == 4


def test_an_ack_binds_from_where_the_log_was(tmp_path: Path) -> None:
    history = History()
    history.add(
        iter(
            [
                Line(MAY, 7, (1,), 3),
                Line(MUST, 7, (1,), 9),
                Line(MAY, 7, (2,), 9),
                Line(MUST, 7, (2,), 12),
            ]
        )
    )

    allowed = [history.at(position)[7] for position in (3, 4, 8, 9, 10, 12)]

    assert allowed == [
        {NOTHING}, {NOTHING, (1,)}, {NOTHING, (1,)}, {(1,)}, {(1,), (2,)}, {(2,)},
    ]


def test_a_start_that_finds_what_must_not_be_is_wrong() -> None:
    history = History({7: frozenset({(1,), (2,)})})

    history.add(iter([Line(FOUND, 7, (2,), 0)]))

    with pytest.raises(Wrong):
        history.add(iter([Line(FOUND, 7, (1,), 5)]))
