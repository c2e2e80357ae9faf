"""Guards: which deaths count, which end the count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from node.posix_guard import LOOP, THREAD, Guard
from ring.errors import StorageFault


def died(path: Path, *where: int) -> None:
    """An opening whose process dies with these marks set; the file stays mapped, as it would."""
    guard = Guard(str(path / "guard"))
    for which in where:
        guard.marks[which] = 1


@pytest.mark.parametrize(
    ("deaths", "counted"),
    [
        ([], 0),
        ([()], 0),
        ([(LOOP,)], 1),
        ([(THREAD,)], 1),
        ([(LOOP,), (LOOP,)], 2),
        ([(LOOP,), (THREAD,)], 2),
        ([(LOOP, THREAD)], 2),
        ([(LOOP,), ()], 0),
        ([(LOOP,), (), (LOOP,)], 1),
        ([(LOOP,)] * 300, 255),
    ],
)
def test_deaths_in_a_row_are_counted(
    tmp_path: Path, deaths: Sequence[Sequence[int]], counted: int
) -> None:
    for where in deaths:
        died(tmp_path, *where)

    assert Guard(str(tmp_path / "guard")).deaths == counted


def test_a_good_end_ends_the_count(tmp_path: Path) -> None:
    died(tmp_path, LOOP)
    Guard(str(tmp_path / "guard")).close()

    assert Guard(str(tmp_path / "guard")).deaths == 0


def test_what_the_thread_survived_was_chance(tmp_path: Path) -> None:
    died(tmp_path, LOOP, THREAD)
    guard = Guard(str(tmp_path / "guard"))
    guard.thread_survived()

    assert guard.deaths == 1


def test_another_file_begins_anew(tmp_path: Path) -> None:
    died(tmp_path, LOOP)
    guard = Guard(str(tmp_path / "guard"))
    guard.condemn()
    guard.replaced()
    assert not guard.condemned
    guard.marks[LOOP] = 1

    assert Guard(str(tmp_path / "guard")).deaths == 1


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_file_that_is_wrong_stays_so_whatever_becomes_of_the_process(
    tmp_path: Path, *, ends_well: bool
) -> None:
    guard = Guard(str(tmp_path / "guard"))
    assert not guard.condemned
    guard.condemn()
    if ends_well:
        guard.close()

    assert Guard(str(tmp_path / "guard")).condemned


def test_a_guard_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    (tmp_path / "guard").write_bytes(bytes((0, 1, 0, 1)))
    guard = Guard(str(tmp_path / "guard"))

    assert (guard.deaths, guard.condemned) == (2, False)


def test_a_guard_needs_its_directory(tmp_path: Path) -> None:
    with pytest.raises(StorageFault):
        Guard(str(tmp_path / "absent" / "guard"))
