"""What stands on disk in a page record store: heads, batches, extents, and how batches are read."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from node.index.location import Location, Position
from node.record_change import RecordChange
from node.recordlog.batch import HEADER_BYTES, Batch, Body, StoredBatch, opened, seal
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


def batch_of(number: int, size_bytes: int = 100) -> Body:
    batch = Batch(RecordChange(rows={RAW[number]: number}), {RAW[number]: b"v" * size_bytes})
    return batch.encode()


def written(*bodies: Body, end: LogEnd = FIRST, store: bytes = STORE) -> tuple[bytes, LogEnd]:
    """The blocks of batches in a row."""
    blocks = b""
    for body in bodies:
        data, stored = seal(store, end, body)
        blocks, end = blocks + data, stored.end
    return blocks, end


def read(
    content: bytes, start: LogEnd = FIRST, *, known_bytes: int = 0
) -> tuple[list[StoredBatch], bool]:
    """What a reader finds in a segment of this content, and whether more follows its end."""

    async def main() -> tuple[list[StoredBatch], bool]:
        disk = SimDisk(Random(0), latency_s=0)
        file = await disk.open("segment", create=True)
        await file.write(0, content)
        reader = BatchReader(STORE, file, len(content), start, known_bytes=known_bytes)
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
        "4846736702000100"
        "000102030405060708090a0b0c0d0e0f"
        "0300000000000000"
        "02000000000000000020000000000000"
        "0500000000000000" + "aa" * 16
    )
    key = bytes((0, 1)) + b"k" * 32
    batch = Batch(RecordChange(rows={key: 5}), {key: b"abc"})
    data, stored = seal(STORE, LogEnd(3, 4096, 5, b"\xaa" * 16), batch.encode())
    rows_bytes = 8 + 24 + 34 + 16 + 32 + 34
    begins = "48466c62" + f"{rows_bytes:02x}000000" + "0300000000000000" + "0600000000000000"
    assert data[:40].hex() == begins + "aa" * 16
    assert data[40:56].hex() == "6437b3ac38465133ffb63b75273a8db5"  # BLAKE3 of abc
    assert data[56:72] == stored.end.checksum
    assert data[72:80].hex() == f"{24 + 34 + 16:02x}000000" + "01000000"
    assert data[72 + rows_bytes : 72 + rows_bytes + 4] == b"abc\0"
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
    batch = Batch(change, {**values}, apart)
    data, stored = seal(STORE, FIRST, batch.encode())

    used_bytes = HEADER_BYTES + len(stored.body.rows) + len(stored.body.values)
    again = opened(STORE, FIRST.segment, FIRST.offset, data[:used_bytes])

    assert again == stored
    change_read, located = stored.contents()
    assert change_read == change
    assert located == batch.places_in(stored), "what is applied is what a start will read"
    assert len(data) == stored.body.batch_bytes
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
        # The third and the fourth block hold nothing but the value of the second batch.
        count = [0, 1, 3, 3, 2][lost]
        assert len(found) == count, lost
        assert all(batch.is_whole for batch in found) == (lost not in {2, 3})
        assert followed == (count < 2), "a batch that was written later is damage before it"


def flipped(content: bytes, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def test_every_flipped_bit_of_a_last_batch_is_seen() -> None:
    body = batch_of(0)
    content = segment(written(body)[0])
    for bit in range(0, 8 * (HEADER_BYTES + len(body.rows) + len(body.values)), 7):
        assert read(flipped(content, 8 * BLOCK_BYTES + bit)) == ([], False), bit


def test_a_flipped_bit_in_a_value_costs_nothing_else_once_the_log_went_on() -> None:
    bodies = [batch_of(0), batch_of(1)]
    blocks, end = written(*bodies)
    value_at = BLOCK_BYTES + HEADER_BYTES + len(bodies[0].rows)
    for at in (value_at, value_at + 99):
        found, followed = read(flipped(segment(blocks), 8 * at))
        assert [batch.body.rows for batch in found] == [body.rows for body in bodies]
        assert [batch.is_whole for batch in found] == [False, True]
        assert found[-1].end == end
        assert not followed


def test_a_flipped_bit_in_the_rows_is_damage_once_the_log_went_on() -> None:
    blocks, _ = written(batch_of(0), batch_of(1))
    for at in (0, 30, 60, HEADER_BYTES, HEADER_BYTES + len(batch_of(0).rows) - 1):
        assert read(flipped(segment(blocks), 8 * (BLOCK_BYTES + at))) == ([], True), at


def test_a_last_batch_with_rotten_values_counts_where_the_segment_is_known_to_go_on() -> None:
    body = batch_of(0)
    blocks, end = written(body)
    content = flipped(segment(blocks), 8 * (BLOCK_BYTES + HEADER_BYTES + len(body.rows)))
    assert read(content) == ([], False)
    found, _ = read(content, known_bytes=end.offset)
    assert [(batch.end, batch.is_whole) for batch in found] == [(end, False)]
    assert read(content, known_bytes=end.offset - 1) == ([], False)


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
