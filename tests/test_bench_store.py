"""The store's bench counts, compares and prints right.  No test here times anything."""

import asyncio
import json
import math
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.pairs import Pair
from bench.plan import MIB, SMALL_BYTES
from bench.store import bodies, load, run
from bench.store.amplification import stored_in_a_round
from bench.store.counting import (
    CountingDisk,
    Written,
    is_zero_fill,
    parse_write_bytes,
    parse_written_bytes,
)
from bench.store.figure import Figure, as_json, as_text, of_pairs
from bench.store.opened import Kind, folder_bytes, opened
from bench.store.scale import QUICK, Scale
from bench.store.setting import Setting
from bench.store.start import said_value
from node.recordlog.page_store import PageRecordStore, PageSettings
from node.recordlog.upkeep import UpkeepSettings

IO = "rchar: 1\nwchar: 77\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 8192\n"


def figure(
    value: float | None, *, budget: float | None = 2.5, full_scale: bool = True
) -> Figure:
    return Figure("key", "a name", "bytes", value, 1.0, "once", budget, full_scale, "a note")


# --- figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "met"),
    [
        (figure(2.5), True),
        (figure(2.51), False),
        (figure(2.5, full_scale=False), None),
        (figure(9.0, full_scale=False), False),
        (figure(None), False),
        (figure(9.0, budget=None), None),
    ],
)
def test_a_budget_is_met_only_by_a_figure_at_full_scale(shown: Figure, met: bool | None) -> None:
    assert shown.met is met


def test_json_is_a_list_with_the_limit_and_what_it_is() -> None:
    rows = json.loads(as_json([figure(2.123456), Figure("k", "n", "", None, failure="no disk")]))

    assert rows[0]["value"] == 2.123
    assert (rows[0]["limit"], rows[0]["limit_of"], rows[0]["met"]) == (1.0, "once", True)
    assert (rows[1]["value"], rows[1]["limit"], rows[1]["note"]) == (None, None, "no disk")


def test_the_table_shows_the_share_the_limit_in_words_and_a_failure() -> None:
    text = as_text([figure(2.0), Figure("k", "another", "", None, failure="no disk")])

    assert "2.000" in text
    assert "limit: once; a note" in text
    assert "not measured" in text
    assert "    no disk" in text


def test_a_figure_without_a_budget_is_not_said_to_be_unjudged() -> None:
    assert "not judged" not in as_text([figure(1.0, budget=None)])
    assert "not judged" in as_text([figure(1.0, full_scale=False)])


def test_of_pairs_the_one_with_the_median_ratio_is_shown_whole() -> None:
    pairs = [Pair(10, 100), Pair(30, 100), Pair(20, 80)]

    shown = of_pairs(("key", "name"), "/s", pairs, "raw", "few")

    assert (shown.value, shown.limit) == (20, 80)
    assert shown.note == "few; median of 3 pairs, ratios 0.100 to 0.300"


# --- counting -------------------------------------------------------------------------------------


def test_the_kernels_counts_are_read() -> None:
    assert parse_write_bytes(IO) == 8192
    assert parse_written_bytes(IO) == 77


def test_a_kernel_that_does_not_count_is_no_zero() -> None:
    with pytest.raises(ValueError, match="does not count"):
        parse_write_bytes("rchar: 1\n")


@pytest.mark.parametrize(
    ("piece", "is_zeros"),
    [
        (bytes(4096), True),
        (memoryview(bytes(8192)), True),
        (bytes(4095), False),
        (b"", False),
        (bytes(4095) + b"\1", False),
        (b"\1" + bytes(4095), False),
    ],
)
def test_only_whole_blocks_of_zeros_are_filling(
    piece: bytes | memoryview, is_zeros: bool
) -> None:
    assert is_zero_fill(piece) is is_zeros


def test_what_was_written_since_is_told_apart() -> None:
    wrote = Written(passed=900, zeros=300, others=500, device=2_000).since(
        Written(passed=100, zeros=100, others=200, device=1_000)
    )

    assert wrote == Written(passed=800, zeros=200, others=300, device=1_000)
    assert wrote.index == 300
    assert wrote.without_zeros == 600


async def test_a_store_on_the_counting_disk_keeps_what_it_is_given(tmp_path: Path) -> None:
    disk = CountingDisk(str(tmp_path))
    made = bodies.make(20, 1024)
    async with opened(Kind.PAGES, tmp_path, disk=disk) as store:
        await load.puts(store, iter(made), 4)
        found = [await store.get(body.key) for body in made]

        assert [value for _, value in found] == [body.value for body in made]
        assert disk.others >= 20 * 1024
        assert disk.zeros > 0
        assert isinstance(store, PageRecordStore)
    assert folder_bytes(tmp_path) >= disk.zeros


async def test_a_round_goes_from_one_checkpoint_of_the_store_to_the_next(tmp_path: Path) -> None:
    disk = CountingDisk(str(tmp_path))
    upkeep = UpkeepSettings(interval_s=0.01, checkpoint_bytes=MIB // 8)
    async with opened(Kind.PAGES, tmp_path, PageSettings(upkeep=upkeep), disk) as store:
        wrote, count = await stored_in_a_round(store, disk, 16, 100_000)

        assert count > 0
        assert wrote.without_zeros >= count * SMALL_BYTES
        assert wrote.index > 0
        with pytest.raises(RowFailed, match="no two checkpoints"):
            await stored_in_a_round(store, disk, 16, 0)


# --- loads ----------------------------------------------------------------------------------------


async def test_a_load_takes_each_body_once_and_counts_it() -> None:
    left = iter(range(10))
    taken = []

    async def one() -> bool:
        number = next(left, None)
        if number is None:
            return False
        await asyncio.sleep(0)
        taken.append(number)
        return True

    done = await load.together(one, 3)

    assert sorted(taken) == list(range(10))
    assert (done.count, len(done.latencies_s)) == (10, 10)


async def test_a_load_that_fails_fails_with_the_first_reason() -> None:
    async def one() -> bool:
        raise RowFailed("no")

    with pytest.raises(RowFailed, match="no"):
        await load.together(one, 2)


def test_a_load_that_did_nothing_has_no_rate() -> None:
    with pytest.raises(RowFailed, match="nothing"):
        _ = load.Done().per_s


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([5.0], 0.99, 5.0), ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0), ([3.0, 1.0, 2.0], 1.0, 3.0)],
)
def test_a_percentile_is_one_of_the_values(
    values: list[float], share: float, expected: float
) -> None:
    assert load.percentile(values, share) == expected


def test_bodies_are_unlike_and_have_their_own_keys() -> None:
    made = [*bodies.make(5, 64), bodies.tiny(1), bodies.tiny(2)]

    assert len({body.key.raw for body in made}) == 7
    assert all(body.key.digest.matches(body.value) for body in made)
    assert bodies.tiny(3) == bodies.tiny(3)


# --- the run --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("ready 0.5\nfilled 2\n", "filled", 2.0),
        ("ready 0.5\nfilled 2", "filled", None),
        ("already 1\n", "ready", None),
        ("", "ready", None),
    ],
)
def test_only_a_whole_line_of_a_child_counts(text: str, name: str, value: float | None) -> None:
    assert said_value(text, name) == value


def test_what_fails_has_a_reason_and_leaves_no_folder(tmp_path: Path) -> None:
    def fails(setting: Setting) -> list[Figure]:
        (setting.folder / "data").write_text("x")
        raise RowFailed("no disk")

    [shown] = run.measured("puts", fails, tmp_path / "puts", QUICK, Deadline(60))

    assert (shown.value, shown.failure) == (None, "no disk")
    assert not list(tmp_path.iterdir())


def test_nothing_begins_after_the_deadline(tmp_path: Path) -> None:
    def never(_setting: Setting) -> list[Figure]:
        raise AssertionError

    [shown] = run.measured("puts", never, tmp_path / "puts", QUICK, Deadline(0))

    assert "no time left" in shown.failure


def test_the_command_line_names_the_measurements(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["store", "--only", "nonsense"])

    assert ", ".join(run.KEYS) in capsys.readouterr().err


def test_a_quick_run_is_nowhere_larger_than_a_full_one() -> None:
    full = Scale()

    assert full.records == 1_000_000
    assert full.segment_bytes == 64 * MIB
    for name in Scale.__slots__:
        assert 0 < getattr(QUICK, name) <= getattr(full, name) < math.inf
