"""What stands on disk in a page record store: heads, batches, extents, and how batches are read."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from node.index.location import Location, Position
from node.record_change import RecordChange
from node.recordlog.batch import Batch, StoredBatch, batch_bytes, opened, seal
from node.recordlog.batch_reader import BatchReader
from node.recordlog.extent import Extent, extent_at, extent_bytes, padding_bytes
from node.recordlog.segment_head import CUTS_MAX, LogEnd, SegmentHead, SegmentKind
from ring.errors import Corrupt
from ring.seams import BLOCK_BYTES
from tests.node.recordlog.load import KEYS
from tests.sim.disk import SimDisk
from tests.sim.loop import run

STORE = bytes(range(16))
FIRST = LogEnd(segment=3, offset=BLOCK_BYTES)
RAW = [key.raw for key in KEYS]


def batch_of(number: int, size_bytes: int = 100) -> bytes:
    batch = Batch(RecordChange(rows={RAW[number]: number}), {RAW[number]: b"v" * size_bytes})
    return batch.encode()


def written(*bodies: bytes, end: LogEnd = FIRST, store: bytes = STORE) -> tuple[bytes, LogEnd]:
    """The blocks of batches in a row."""
    blocks = b""
    for body in bodies:
        data, stored = seal(store, end, body)
        blocks, end = blocks + data, stored.end
    return blocks, end


def read(content: bytes, start: LogEnd = FIRST) -> tuple[list[StoredBatch], bool]:
    """What a reader finds in a segment of this content, and whether more follows its end."""

    async def main() -> tuple[list[StoredBatch], bool]:
        disk = SimDisk(Random(0), latency_s=0)
        file = await disk.open("segment", create=True)
        await file.write(0, content)
        reader = BatchReader(STORE, file, len(content), start)
        found = []
        while (batch := await reader.next()) is not None:
            found.append(batch)
        return found, await reader.is_followed()

    return run(main())


def segment(blocks: bytes) -> bytes:
    return bytes(BLOCK_BYTES) + blocks + bytes(3 * BLOCK_BYTES)


def test_a_head_is_read_back() -> None:
    cuts = tuple(Position(number, number * BLOCK_BYTES) for number in range(CUTS_MAX))
    end = LogEnd(7, 8 * BLOCK_BYTES, 1 << 40, b"c" * 16)
    for head in (
        SegmentHead(STORE, SegmentKind.LOG, 8, end, cuts),
        SegmentHead(STORE, SegmentKind.BULK, 1 << 50),
    ):
        block = head.encode()
        assert len(block) == BLOCK_BYTES
        assert SegmentHead.decode("it", block) == head


def test_a_damaged_head_is_refused() -> None:
    block = SegmentHead(STORE, SegmentKind.LOG, 8).encode()
    for at in (0, 5, 30, 100, BLOCK_BYTES - 1):
        damaged = bytearray(block)
        damaged[at] ^= 1
        with pytest.raises(Corrupt, match="damaged"):
            SegmentHead.decode("it", bytes(damaged))
    with pytest.raises(Corrupt):
        SegmentHead.decode("it", block[:-1])


def test_the_bytes_of_a_head_a_batch_and_an_extent() -> None:
    """Vectors for docs/STORAGE.md."""
    head = SegmentHead(STORE, SegmentKind.LOG, 3, LogEnd(2, 8192, 5, b"\xaa" * 16)).encode()
    assert head[:72].hex() == (
        "4846736701000100"
        "000102030405060708090a0b0c0d0e0f"
        "0300000000000000"
        "02000000000000000020000000000000"
        "0500000000000000" + "aa" * 16
    )
    key = bytes((0, 1)) + b"k" * 32
    batch = Batch(RecordChange(rows={key: 5}), {key: b"abc"})
    data, stored = seal(STORE, LogEnd(3, 4096, 5, b"\xaa" * 16), batch.encode())
    body_bytes = 8 + 24 + 34 + 16 + 32 + 34 + 3
    begins = "48466c62" + f"{body_bytes:02x}000000" + "0600000000000000"
    assert data[:32].hex() == begins + "aa" * 16
    assert data[48:56].hex() == f"{24 + 34 + 16:02x}000000" + "01000000"
    assert data[48 + body_bytes - 3 : 48 + body_bytes + 1] == b"abc\0"
    assert stored.end.position == Position(3, 8192)
    extent = Extent(key, 1, Location(4, 8192, 70_000))
    assert extent.head(STORE)[:18].hex() == "48466c7822010000" + "7011010000000000" + "0001"


@given(
    st.dictionaries(st.sampled_from(RAW), st.binary(max_size=300), max_size=5),
    st.dictionaries(
        st.sampled_from(RAW),
        st.none() | st.builds(Location, *[st.integers(0, 1 << 60)] * 3),
        max_size=5,
    ),
)
def test_a_batch_says_where_its_values_lie(
    values: dict[bytes, bytes], places: dict[bytes, Location | None]
) -> None:
    change = RecordChange(dropped=[RAW[0]], floors={3: 9}, claims=[(RAW[1], b"who")])
    apart = {key: at for key, at in places.items() if key not in values}
    data, stored = seal(STORE, FIRST, Batch(change, {**values}, apart).encode())

    again = opened(STORE, FIRST.segment, FIRST.offset, data[: 48 + len(stored.body)])

    assert again == stored
    change_read, located = stored.contents()
    assert change_read == change
    assert len(data) == batch_bytes(len(stored.body))
    content = segment(data)
    for key, value in values.items():
        at = located.pop(key)
        assert at is not None
        assert at.segment == FIRST.segment
        assert content[at.offset : at.offset + at.size_bytes] == value
    assert located == apart


def test_batches_are_read_in_a_row_and_end_where_one_does_not_check() -> None:
    bodies = [batch_of(0), batch_of(1, 9000), batch_of(2)]
    blocks, end = written(*bodies)
    found, followed = read(segment(blocks))
    assert [batch.body for batch in found] == bodies
    assert found[-1].end == end
    assert not followed
    for lost in range(len(blocks) // BLOCK_BYTES):
        at = lost * BLOCK_BYTES
        torn = blocks[:at] + bytes(BLOCK_BYTES) + blocks[at + BLOCK_BYTES :]
        found, followed = read(segment(torn))
        whole = [0, 1, 1, 1, 2][lost]
        assert len(found) == whole, lost
        assert followed == (whole < 2), "a batch that was written later is damage before it"


def test_every_flipped_bit_is_seen() -> None:
    blocks, _ = written(batch_of(0))
    used = 48 + len(batch_of(0))
    for bit in range(0, 8 * used, 7):
        damaged = bytearray(segment(blocks))
        damaged[BLOCK_BYTES + bit // 8] ^= 1 << bit % 8
        assert read(bytes(damaged)) == ([], False), bit


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(FIRST, segment=4),
        replace(FIRST, offset=2 * BLOCK_BYTES),
        replace(FIRST, sequence=1),
        replace(FIRST, checksum=b"x" * 16),
    ],
    ids=["segment", "offset", "sequence", "batch before"],
)
def test_a_batch_written_for_another_place_or_turn_is_none(elsewhere: LogEnd) -> None:
    blocks, _ = written(batch_of(0), end=elsewhere)
    assert read(segment(blocks))[0] == []


def test_a_batch_of_another_store_is_none() -> None:
    blocks, _ = written(batch_of(0), store=bytes(16))
    assert read(segment(blocks)) == ([], False)


def test_a_stale_batch_behind_a_new_one_is_none() -> None:
    """What a reused place may hold: batches of another turn that are right by themselves."""
    old, _ = written(batch_of(0), batch_of(1))
    new, _ = written(batch_of(2))
    found, _ = read(segment(new + old[len(new) :]))
    assert [batch.body for batch in found] == [batch_of(2)]


def test_an_extent_says_whose_value_it_is_only_where_it_was_written() -> None:
    extent = Extent(RAW[0], 1, Location(4, 3 * BLOCK_BYTES, 70_000))
    block = extent.head(STORE)
    assert len(block) == BLOCK_BYTES
    assert extent_at(STORE, 4, 2 * BLOCK_BYTES, block) == extent
    assert extent.end == 3 * BLOCK_BYTES + 70_000 + padding_bytes(70_000)
    assert extent_bytes(70_000) == extent.end - 2 * BLOCK_BYTES
    assert extent_at(STORE, 5, 2 * BLOCK_BYTES, block) is None
    assert extent_at(STORE, 4, 3 * BLOCK_BYTES, block) is None
    assert extent_at(bytes(16), 4, 2 * BLOCK_BYTES, block) is None
    assert extent_at(STORE, 4, 2 * BLOCK_BYTES, bytes(BLOCK_BYTES)) is None
