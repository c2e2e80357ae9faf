"""One suite for every index: order, transactions, what stays after closing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from node.index.index import Index, IndexHome, IndexReader, IndexWriter
from ring.errors import DiskFull, StorageFault
from tests.node.index.index_homes import KINDS, index_home


@pytest.fixture(params=KINDS)
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[IndexHome]:
    async with index_home(request.param, tmp_path) as home:
        yield home


@pytest.fixture
async def index(home: IndexHome) -> AsyncIterator[Index]:
    index = (await home.open()).index
    yield index
    await index.close()


def numbers(writer: IndexWriter, count: int, value: bytes = b"value") -> None:
    for number in range(count):
        writer.put(b"%05d" % number, value)


async def test_a_new_index_is_empty(home: IndexHome) -> None:
    opened = await home.open()

    assert opened.discarded is None
    assert opened.index.get(b"key") is None
    assert opened.index.after(b"", 10, below=b"\xff") == []
    await opened.index.close()


async def test_a_transaction_stays(home: IndexHome) -> None:
    first = (await home.open()).index
    await first.write(lambda writer: numbers(writer, 3))
    await first.close()

    opened = await home.open()
    assert opened.discarded is None
    found = opened.index.after(b"", 10, below=b"\xff")
    assert found == [(b"%05d" % number, b"value") for number in range(3)]
    await opened.index.close()


async def test_values_are_replaced_and_forgotten(index: Index) -> None:
    def work(writer: IndexWriter) -> None:
        numbers(writer, 4)
        writer.put(b"00001", b"other")
        writer.put(b"00003", b"")
        writer.delete(b"00002")
        writer.delete(b"absent")

    await index.write(work)

    assert index.get(b"00001") == b"other"
    assert index.get(b"00002") is None
    assert index.get(b"00003") == b""
    assert [key for key, _ in index.after(b"", 9, below=b"9")] == [b"00000", b"00001", b"00003"]


@pytest.mark.parametrize(
    ("after", "limit", "below", "found"),
    [
        (b"", 3, b"9", [0, 1, 2]),
        (b"00001", 3, b"9", [2, 3, 4]),
        (b"000011", 2, b"9", [2, 3]),
        (b"00001", 9, b"00004", [2, 3]),
        (b"00009", 9, b"9", []),
        (b"00005", 9, b"00005", []),
    ],
)
async def test_a_scan_is_in_order_and_within_its_bounds(
    index: Index, after: bytes, limit: int, below: bytes, found: list[int]
) -> None:
    await index.write(lambda writer: numbers(writer, 10))
    keys = [b"%05d" % number for number in found]

    assert [key for key, _ in index.after(after, limit, below=below)] == keys
    assert [
        key
        for key, _ in await index.read(lambda reader: reader.after(after, limit, below=below))
    ] == keys


async def test_a_transaction_sees_what_it_changed(index: Index) -> None:
    def work(writer: IndexWriter) -> tuple[bytes | None, bytes | None, int]:
        numbers(writer, 3)
        writer.delete(b"00001")
        return writer.get(b"00000"), writer.get(b"00001"), len(writer.after(b"", 9, below=b"9"))

    assert await index.write(work) == (b"value", None, 2)


async def test_a_transaction_that_raises_changes_nothing(index: Index) -> None:
    await index.write(lambda writer: numbers(writer, 2))

    def work(writer: IndexWriter) -> None:
        writer.put(b"00000", b"wrong")
        writer.put(b"new", b"wrong")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await index.write(work)

    assert index.get(b"00000") == b"value"
    assert index.get(b"new") is None
    await index.write(lambda writer: writer.put(b"new", b"right"))
    assert index.get(b"new") == b"right"


async def test_reads_go_on_while_a_transaction_runs_and_see_it_whole(index: Index) -> None:
    await index.write(lambda writer: numbers(writer, 200))

    async def change() -> None:
        for value in (b"1", b"2", b"3"):
            await index.write(partial(numbers, count=200, value=value))

    async with asyncio.TaskGroup() as group:
        changing = group.create_task(change())
        while not changing.done():
            assert len({value for _, value in index.after(b"", 999, below=b"9")}) == 1
            await asyncio.sleep(0)

    assert index.get(b"00000") == b"3"


async def test_transactions_at_the_same_time_follow_each_other(index: Index) -> None:
    def add(writer: IndexWriter) -> None:
        writer.put(b"sum", b"+" + (writer.get(b"sum") or b""))

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(index.write(add))

    assert index.get(b"sum") == b"+" * 20


async def test_a_closed_index_says_so(home: IndexHome) -> None:
    index = (await home.open()).index
    await index.close()
    await index.close()

    with pytest.raises(StorageFault):
        index.get(b"key")
    with pytest.raises(StorageFault):
        index.after(b"", 1, below=b"9")
    with pytest.raises(StorageFault):
        await index.write(lambda writer: numbers(writer, 1))
    with pytest.raises(StorageFault):
        await index.read(lambda reader: reader.get(b"key"))


async def test_a_discarded_index_begins_empty(home: IndexHome) -> None:
    for _ in range(2):  # the second takes the place of the first
        index = (await home.open()).index
        assert index.get(b"00000") is None
        await index.write(lambda writer: numbers(writer, 5))
        await index.close()
        await home.discard()


async def test_keys_have_up_to_511_bytes(index: Index) -> None:
    await index.write(lambda writer: writer.put(b"k" * 511, b"v"))

    assert index.get(b"k" * 511) == b"v"


async def test_the_map_grows_under_reads_until_its_bound(tmp_path: Path) -> None:
    async with index_home("lmdb", tmp_path, map_bytes_first=1 << 20, map_bytes_max=1 << 24) as home:
        index = (await home.open()).index
        written = 0
        with pytest.raises(DiskFull):
            for batch in range(100):
                def work(writer: IndexWriter, batch: int = batch) -> None:
                    for number in range(100):
                        writer.put(b"%03d %d" % (batch, number), bytes(3000))

                await index.write(work)
                written = batch + 1
                assert index.get(b"000 0") == bytes(3000)
        assert written >= 30  # some 300 kB each; the bound is 16 MiB, the beginning 1 MiB
        assert len(index.after(b"", 10**6, below=b"\xff")) == written * 100
        await index.write(lambda writer: writer.delete(b"000 0"))
        assert index.get(b"000 0") is None
        await index.close()


async def test_reading_off_the_loop_sees_one_state(index: Index) -> None:
    await index.write(lambda writer: numbers(writer, 300))

    def look(reader: IndexReader) -> set[bytes]:
        return {value for _ in range(20) for _, value in reader.after(b"", 999, below=b"9")}

    async with asyncio.TaskGroup() as group:
        looking = [group.create_task(index.read(look)) for _ in range(3)]
        group.create_task(index.write(lambda writer: numbers(writer, 300, b"new")))

    assert [len(task.result()) for task in looking] == [1, 1, 1]
