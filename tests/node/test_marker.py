"""What a data directory says of itself, also when it has rotted or is somebody else's."""

from __future__ import annotations

import pytest

from node.marker import ALL_PARTITIONS, DIRECTORY, MARKER_PATH, Marker, NodeFiles
from node.memory_disk import MemoryDisk
from node.room_reserve import RESERVE_BYTES
from node.sealed_file import write_sealed
from ring.errors import Corrupt, DiskFull, NotAdmitted, StorageFault
from ring.layout import Member
from ring.life import Life, NodeId
from ring.limits import MIB, PARTITIONS
from ring.placement import first_layout
from tests.fakes.faulty_disk import FaultyDisk, Trouble
from tests.fakes.numbered_randomness import NumberedRandomness

A = NodeId("a")
MARKER = Marker("cluster", A, 2, 7, ALL_PARTITIONS)


def files_on(disk: MemoryDisk | FaultyDisk) -> NodeFiles:
    return NodeFiles(disk, NumberedRandomness())


async def test_a_blank_directory_has_no_marker_no_peers_and_no_layouts() -> None:
    files = files_on(MemoryDisk(MIB))

    assert await files.marker("cluster", A) is None
    assert await files.peers() == ()
    assert await files.layouts() == ()
    assert not await files.has_marker()


async def test_what_was_written_is_read() -> None:
    files = files_on(MemoryDisk(MIB))
    lives = ((NodeId("b"), Life(1, 2, 3)), (NodeId("c"), Life(4, 5, (1 << 64) - 1)))
    layout = first_layout([Member(A, "host:1"), Member(NodeId("b"), "host:2")], 2, "seed")

    await files.write_marker(MARKER)
    await files.write_peers(lives)
    await files.write_layouts((layout,))

    assert await files.marker("cluster", A) == MARKER
    assert await files.peers() == lives
    assert await files.layouts() == (layout,)
    assert await files.has_marker()


def test_a_marker_votes_on_exactly_the_partitions_whose_bits_are_set() -> None:
    voting = bytearray(PARTITIONS // 8)
    for partition in (0, 7, 8, 4095):
        voting[partition >> 3] |= 1 << (partition & 7)
    marker = Marker("cluster", A, 1, 1, bytes(voting))

    assert [p for p in range(PARTITIONS) if marker.votes(p)] == [0, 7, 8, 4095]
    assert marker.receiver
    assert not marker.is_newborn


@pytest.mark.parametrize(("cluster_id", "node"), [("other", "a"), ("cluster", "b")])
async def test_somebody_elses_directory_is_refused_in_words(cluster_id: str, node: str) -> None:
    files = files_on(MemoryDisk(MIB))
    await files.write_marker(MARKER)

    with pytest.raises(NotAdmitted, match="belongs to node a of cluster cluster"):
        await files.marker(cluster_id, NodeId(node))


async def test_a_format_of_another_release_is_refused() -> None:
    disk = MemoryDisk(MIB)
    await disk.make_directories(DIRECTORY)
    fields = (2, "cluster", "a", 1, 1, ALL_PARTITIONS)
    await write_sealed(disk, DIRECTORY, "marker", fields, NumberedRandomness())

    with pytest.raises(NotAdmitted, match="format 2"):
        await files_on(disk).marker("cluster", A)


async def test_partitions_of_the_wrong_length_are_corrupt() -> None:
    disk = MemoryDisk(MIB)
    await disk.make_directories(DIRECTORY)
    fields = (1, "cluster", "a", 1, 1, b"\xff")
    await write_sealed(disk, DIRECTORY, "marker", fields, NumberedRandomness())

    with pytest.raises(Corrupt):
        await files_on(disk).marker("cluster", A)


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
async def test_a_rotten_marker_is_told_from_an_absent_one(damage: str) -> None:
    disk = MemoryDisk(MIB)
    files = files_on(disk)
    await files.write_marker(MARKER)
    good = await disk.read(MARKER_PATH)
    bad = {"flipped": bytes([good[0] ^ 1]) + good[1:], "cut": good[:-1], "empty": b""}[damage]
    await disk.publish(f"{MARKER_PATH}.new", MARKER_PATH, bad)

    with pytest.raises(Corrupt):
        await files.marker("cluster", A)


@pytest.mark.parametrize("error", [DiskFull, StorageFault])
async def test_a_marker_that_cannot_be_written_leaves_the_old_one(error: type[Exception]) -> None:
    inner = MemoryDisk(MIB)
    await files_on(inner).write_marker(MARKER)
    await inner.unlink(f"{DIRECTORY}/reserve")
    trouble = Trouble(room_bytes=0) if error is DiskFull else Trouble(fails=range(100))

    with pytest.raises(error):
        await files_on(FaultyDisk(inner, trouble)).write_marker(
            Marker("cluster", A, 3, 1, ALL_PARTITIONS)
        )

    assert await files_on(inner).marker("cluster", A) == MARKER


async def test_a_marker_is_written_on_a_full_disk_as_long_as_there_is_a_reserve() -> None:
    inner, trouble = MemoryDisk(MIB), Trouble()
    files = files_on(FaultyDisk(inner, trouble))
    await files.write_marker(MARKER)
    trouble.room_bytes = 0
    next_life = Marker("cluster", A, 3, 1, ALL_PARTITIONS)
    await files.write_marker(next_life)
    assert await files.marker("cluster", A) == next_life
    trouble.room_bytes = None
    await files.write_marker(MARKER)
    assert await inner.info(f"{DIRECTORY}/reserve") is not None


async def test_a_reserve_that_found_no_room_is_kept_once_there_is_some() -> None:
    inner, trouble = MemoryDisk(MIB), Trouble()
    files = files_on(FaultyDisk(inner, trouble))
    trouble.room_bytes = RESERVE_BYTES // 2
    await files.write_marker(MARKER)
    trouble.room_bytes = None
    await files.write_marker(MARKER)

    trouble.room_bytes = 0
    next_life = Marker("cluster", A, 3, 1, ALL_PARTITIONS)
    await files.write_marker(next_life)
    assert await files.marker("cluster", A) == next_life
