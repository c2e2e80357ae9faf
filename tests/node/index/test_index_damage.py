"""What is wrong in an index is found: by reading the value, by the sums, or at the next start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random

import pytest

from node.index.index import IndexHome, IndexWriter
from node.index.index_keys import (
    CLAIMS,
    ROWS,
    ROWS_END,
    SUMMARY,
    partition_key,
    partition_of,
    partition_start,
)
from node.index.indexed_table import IndexedTable, IndexState, open_table
from node.index.sealed_value import seal
from node.index.summary import Summary
from node.memory_disk import MemoryDisk
from ring.digest import Algorithm, Digest
from ring.errors import Corrupt
from ring.record import RecordKey
from tests.fakes.file_index import FileIndex, FileIndexHome
from tests.node.index.index_homes import KINDS, index_home
from tests.node.index.table_walk import KEYS, TableWalk

Damage = Callable[[IndexWriter], None]


@pytest.fixture(params=KINDS)
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[IndexHome]:
    async with index_home(request.param, tmp_path) as home:
        yield home


async def damaged(home: IndexHome, damage: Damage) -> TableWalk:
    """A table of some rows and claims, whose index was then changed behind its back."""
    walk = TableWalk(Random(5), 100)
    table = await walk.open(home)
    for _ in range(30):
        walk.change(table)
    await table.checkpoint()
    await table.close()
    index = (await home.open()).index
    await index.write(damage)
    await index.close()
    return walk


def first(writer: IndexWriter, number: int = 0) -> tuple[bytes, bytes]:
    return writer.after(ROWS, 10, below=ROWS_END)[number]


def flip_a_row(writer: IndexWriter) -> None:
    key, value = first(writer)
    writer.put(key, bytes([value[0] ^ 1]) + value[1:])


def swap_two_rows(writer: IndexWriter) -> None:
    (one, its), (other, others) = first(writer), first(writer, 1)
    writer.put(one, others)
    writer.put(other, its)


def cut_a_row(writer: IndexWriter) -> None:
    writer.put(first(writer)[0], b"")


@pytest.mark.parametrize("damage", [flip_a_row, swap_two_rows, cut_a_row])
async def test_a_wrong_row_is_never_answered(home: IndexHome, damage: Damage) -> None:
    await damaged(home, damage)
    opened = await open_table(home)
    table = opened.table
    assert opened.state is IndexState.READY
    key = table.order.after(None, 1)[0]

    with pytest.raises(Corrupt):
        table.state(key)

    assert table.damage is not None
    await table.close()


def lose_a_row(writer: IndexWriter) -> None:
    writer.delete(first(writer)[0])


def lose_a_claim(writer: IndexWriter) -> None:
    writer.delete(writer.after(CLAIMS, 1, below=b"d")[0][0])


def bring_back_a_row(writer: IndexWriter) -> None:
    key = RecordKey(Digest.of(b"dropped long ago")).raw
    writer.put(ROWS + key, seal(ROWS + key, bytes(16)))


def lose_a_sum(writer: IndexWriter) -> None:
    writer.delete(partition_key(partition_of(first(writer)[0][1:])))


def summarise_wrongly(writer: IndexWriter) -> None:
    writer.put(SUMMARY, seal(SUMMARY, Summary().encode()))


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_row,
        swap_two_rows,
        lose_a_row,
        lose_a_claim,
        bring_back_a_row,
        lose_a_sum,
        summarise_wrongly,
    ],
)
async def test_a_walk_finds_what_does_not_add_up(home: IndexHome, damage: Damage) -> None:
    await damaged(home, damage)
    table = (await open_table(home)).table

    wrong = await table.verify()

    assert wrong is not None
    assert table.damage == wrong
    await table.close()


def flip_the_summary(writer: IndexWriter) -> None:
    value = writer.get(SUMMARY)
    assert value is not None
    writer.put(SUMMARY, value[:-1] + bytes([value[-1] ^ 1]))


def lose_the_summary(writer: IndexWriter) -> None:
    writer.delete(SUMMARY)


def write_another_format(writer: IndexWriter) -> None:
    body = Summary().encode()
    writer.put(SUMMARY, seal(SUMMARY, b"\x02" + body[1:]))


@pytest.mark.parametrize("damage", [flip_the_summary, lose_the_summary, write_another_format])
async def test_an_index_without_a_sound_summary_is_discarded(
    home: IndexHome, damage: Damage
) -> None:
    walk = await damaged(home, damage)

    opened = await open_table(home)

    assert opened.state is IndexState.DISCARDED
    assert opened.reason
    assert opened.table.order.after(None, 1) == []
    for entry in walk.log:
        opened.table.apply(*entry)
    await opened.table.checkpoint()
    walk.compare(opened.table)
    await opened.table.close()
    assert (await open_table(home)).state is IndexState.READY


async def test_a_change_of_a_damaged_row_changes_nothing(home: IndexHome) -> None:
    walk = await damaged(home, flip_a_row)
    table = (await open_table(home)).table
    key = table.order.after(None, 1)[0]
    change, located, position = walk.next_entry()
    change.rows[key] = 0
    before = table.records, table.live_bytes, table.pending

    with pytest.raises(Corrupt):
        table.apply(change, located, position)

    assert (table.records, table.live_bytes, table.pending) == before
    await table.close()


async def test_the_file_of_the_fake_can_be_broken() -> None:
    async with index_home("file", Path()) as home:
        assert isinstance(home, FileIndexHome)
        await damaged(home, lambda writer: None)
        home.broken = "two deaths"

        opened = await open_table(home)

        assert (opened.state, opened.reason) == (IndexState.DISCARDED, "two deaths")


def test_partitions_lie_between_their_bounds() -> None:
    for key in KEYS:
        partition = partition_of(key)
        assert partition == RecordKey.from_raw(key).digest.partition
        assert partition_start(0, key[1], partition) < key
        assert key < partition_start(0, key[1], partition + 1)
    for algorithm in Algorithm:
        last = RecordKey(Digest(algorithm, b"\xff" * algorithm.size_bytes)).raw
        assert partition_of(last) == 4095
        assert partition_start(0, algorithm, 4095) < last < partition_start(0, algorithm, 4096)


class MisledIndex(FileIndex):
    """An index that finds by itself that it is damaged."""

    def get(self, key: bytes) -> bytes | None:
        if key.startswith(ROWS):
            raise Corrupt("what leads there leads elsewhere")
        return super().get(key)

    def after(self, key: bytes, limit: int, *, below: bytes) -> list[tuple[bytes, bytes]]:
        raise Corrupt("what leads there leads elsewhere")


@pytest.mark.parametrize("ask", [0, 1, 2])
async def test_what_an_index_finds_by_itself_is_remembered_too(ask: int) -> None:
    disk = MemoryDisk(1 << 20)
    home = FileIndexHome(disk)
    table = IndexedTable(MisledIndex(disk, home, {}), Summary())
    key = KEYS[0]
    asks: list[Callable[[], object]] = [
        lambda: table.state(key),
        lambda: table.order.after(None, 1),
        lambda: table.claimants(key, None, 1),
    ]

    with pytest.raises(Corrupt):
        asks[ask]()

    assert table.damage == "what leads there leads elsewhere"
    assert await table.until_damaged() == table.damage
    assert home.broken is not None
    with pytest.raises(Corrupt):
        await table.checkpoint()
