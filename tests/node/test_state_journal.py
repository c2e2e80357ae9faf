"""The journal of a store's state: what it recovers, what it refuses, how it goes on."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from node.record_change import RecordChange
from node.record_row import pack_row
from node.record_table import RecordTable
from node.state_files import StateDirectory
from node.state_frames import FILE_ID_BYTES, FileHead, FileKind, FrameReader, frame
from node.state_journal import StateJournal
from ring.digest import Algorithm, Digest
from ring.errors import Corrupt, DiskFull, StorageFault
from ring.limits import MIB
from ring.record import RecordKey, RecordKind, RecordState, dead, live
from tests.fakes.faulty_disk import FaultyDisk
from tests.sim.disk import SimDisk
from tests.sim.host import SimRandomness
from tests.sim.loop import run
from tests.sim.platter import Weather

JOURNAL = ".state/journal-1"
SNAPSHOT = ".state/snapshot-1"

Journals = tuple[StateJournal, RecordTable]


def key_of(number: int) -> bytes:
    return RecordKey(Digest.of(b"%d" % number, list(Algorithm)[number % 3])).raw


def row(number: int) -> RecordChange:
    state = RecordState(RecordKind.DATA, number, live(1), held=True)
    return RecordChange(rows={key_of(number): pack_row(state)})


def everything(table: RecordTable) -> bytes:
    return b"".join(change.encode() for change in table.slices(7))


async def open_on(disk: SimDisk | FaultyDisk, *, compact_bytes_min: int = 1 << 20) -> Journals:
    table = RecordTable()
    directory = StateDirectory(disk, ".state", SimRandomness(Random(0)))
    journal = StateJournal(directory, table, compact_bytes_min=compact_bytes_min)
    if not await journal.recover():
        await journal.begin()
    return journal, table


def copy_of(files: dict[str, bytes]) -> SimDisk:
    """A disk with these files."""
    disk = SimDisk(Random(0), latency_s=0)

    async def fill() -> None:
        await disk.make_directories(".state")
        for path, content in files.items():
            await disk.publish(".state/t", path, content)

    run(fill())
    return disk


def files_of(disk: SimDisk) -> dict[str, bytes]:
    return {path: bytes(node.content) for path, node in disk.files()}


async def recovered(disk: SimDisk) -> bytes:
    journal, table = await open_on(disk)
    await journal.close()
    return everything(table)


def journal_of(count: int) -> tuple[dict[str, bytes], list[bytes], list[int]]:
    """Files with a journal of some changes, the states after each, and where each frame ends."""
    disk = SimDisk(Random(0), latency_s=0)
    states: list[bytes] = []
    ends: list[int] = []

    async def write() -> None:
        journal, table = await open_on(disk)
        for number in range(count):
            states.append(everything(table))
            await journal.commit(row(number))
        states.append(everything(table))
        await journal.close()
        file = await disk.open(JOURNAL)
        reader = FrameReader(JOURNAL, file, await file.size_bytes())
        await reader.head()
        ends.append(reader.offset)
        while await reader.next() is not None:
            ends.append(reader.offset)

    run(write())
    return files_of(disk), states, ends


@pytest.mark.parametrize("rest", ["cut", "zeros", "noise"])
def test_a_torn_tail_is_cut_off_wherever_it_tears(rest: str) -> None:
    files, states, ends = journal_of(3)
    journal = files[JOURNAL]
    for at in range(ends[0], ends[-1]):
        tail = {"cut": b"", "zeros": bytes(len(journal) - at), "noise": b"\xa5" * 100}[rest]
        content = journal[:at] + tail
        torn = copy_of({**files, JOURNAL: content})

        whole = [index for index, end in enumerate(ends) if content[:end] == journal[:end]]
        assert run(recovered(torn)) == states[max(whole)], at
        if at % 10 == 0:
            assert run(recovered(torn)) == states[max(whole)], at


def test_what_is_written_after_a_torn_tail_stays() -> None:
    files, states, ends = journal_of(3)
    torn = copy_of({**files, JOURNAL: files[JOURNAL][: ends[-1] - 3]})

    async def go_on() -> None:
        journal, table = await open_on(torn)
        assert everything(table) == states[2]
        await journal.commit(row(10))
        await journal.close()
        _, again = await open_on(torn)
        assert again.state(key_of(10)).held
        assert not again.state(key_of(2)).held

    run(go_on())


def test_a_damaged_journal_is_refused_unless_the_damage_is_a_torn_tail() -> None:
    files, states, ends = journal_of(3)
    for at in range(ends[-1]):
        damaged = bytearray(files[JOURNAL])
        damaged[at] ^= 4
        disk = copy_of({**files, JOURNAL: bytes(damaged)})
        if at >= ends[2]:
            assert run(recovered(disk)) == states[2], at
        else:
            with pytest.raises(Corrupt, match="damaged at"):
                run(recovered(disk))


def test_a_hole_in_a_journal_is_refused() -> None:
    files, _, ends = journal_of(3)
    journal = files[JOURNAL]
    holed = journal[: ends[1]] + bytes(ends[2] - ends[1]) + journal[ends[2] :]

    with pytest.raises(Corrupt, match="damaged at"):
        run(recovered(copy_of({**files, JOURNAL: holed})))


@pytest.mark.parametrize("shift", range(-6, 3))
def test_what_was_written_after_damage_is_found_wherever_it_lies(shift: int) -> None:
    """Also where the search reads on in the middle of a frame's first bytes."""
    files, _, _ = journal_of(0)
    head = FileHead(b"i" * FILE_ID_BYTES, FileKind.JOURNAL, 1, 0)
    overhead_bytes = len(frame(head.file_id, 1, b""))
    bad = bytearray(frame(head.file_id, 1, bytes(MIB - overhead_bytes + shift)))
    bad[-1] ^= 1
    content = head.encode() + bytes(bad) + frame(head.file_id, 2, row(2).encode())

    with pytest.raises(Corrupt, match="frames follow"):
        run(recovered(copy_of({**files, JOURNAL: content})))


def test_a_damaged_snapshot_is_refused() -> None:
    files, _, _ = journal_of(1)
    snapshot = files[SNAPSHOT]
    for at in range(len(snapshot)):
        damaged = bytearray(snapshot)
        damaged[at] ^= 1
        for content in (bytes(damaged), snapshot[:at]):
            with pytest.raises(Corrupt):
                run(recovered(copy_of({**files, SNAPSHOT: content})))


def test_a_missing_part_is_refused() -> None:
    files, _, _ = journal_of(2)
    for missing in (SNAPSHOT, JOURNAL):
        rest = {path: content for path, content in files.items() if path != missing}
        with pytest.raises(Corrupt, match=r"missing|no journal"):
            run(recovered(copy_of(rest)))


def test_a_journal_of_another_store_is_refused() -> None:
    files, _, _ = journal_of(2)
    with pytest.raises(Corrupt, match="calls itself"):
        run(recovered(copy_of({**files, ".state/journal-7": files[JOURNAL]})))


def test_strangers_in_the_directory_do_no_harm() -> None:
    files, states, _ = journal_of(2)
    strangers = {".state/journal-": b"x", ".state/journal-x": b"x", ".state/notes": b"x"}
    disk = copy_of({**files, **strangers, ".state/.journal-9.tmp": b"half"})

    assert run(recovered(disk)) == states[2]
    left = files_of(disk)
    assert strangers.keys() <= left.keys()
    assert ".state/.journal-9.tmp" not in left


def test_commits_that_arrive_together_share_a_sync() -> None:
    async def main() -> None:
        disk = FaultyDisk(SimDisk(Random(0)))
        journal, table = await open_on(disk)
        disk.trouble.calls.clear()

        await asyncio.gather(*(journal.commit(row(number)) for number in range(100)))

        assert table.records == 100
        assert disk.trouble.calls.count("sync") <= 2
        disk.trouble.calls.clear()
        await journal.commit(row(100))
        assert disk.trouble.calls == ["write", "sync"]
        await journal.close()

    run(main())


def test_a_change_is_seen_when_it_is_durable_and_not_before() -> None:
    async def main() -> None:
        disk = SimDisk(Random(0))
        journal, table = await open_on(disk)
        committing = asyncio.ensure_future(journal.commit(row(1)))
        while not committing.done():
            seen = table.state(key_of(1)).held
            _, after_power_cut = await open_on(copy_durable(disk))
            assert after_power_cut.state(key_of(1)).held >= seen
            await asyncio.sleep(0.0001)
        assert table.state(key_of(1)).held
        await journal.close()

    run(main())


def copy_durable(disk: SimDisk) -> SimDisk:
    """Another disk with what a power cut would certainly leave."""
    copy = SimDisk(Random(0), latency_s=0)
    copy.root = disk.root.after(Weather(0.0, 0.0, Random(0)), {})
    return copy


def test_the_state_is_compacted_while_commits_go_on() -> None:
    async def main() -> None:
        disk = SimDisk(Random(0))
        journal, table = await open_on(disk, compact_bytes_min=2000)
        for number in range(300):
            await journal.commit(row(number))
            if number % 3 == 0:
                await journal.commit(RecordChange(dropped=[key_of(number)]))
        await journal.commit(RecordChange(claims=[(key_of(1), Digest.of(b"x").key)]))
        await journal.commit(RecordChange(floors={9: 9}))
        expected = everything(table)
        await journal.close()

        files = files_of(disk)
        assert sum(map(len, files.values())) < 500_000
        assert max(int(path.rpartition("-")[2]) for path in files if "snapshot" in path) > 3
        for _ in range(2):
            journal, table = await open_on(disk, compact_bytes_min=2000)
            assert everything(table) == expected
            await journal.close()

    run(main())


def test_the_state_is_compacted_once_for_so_many_bytes() -> None:
    async def main() -> None:
        disk = FaultyDisk(SimDisk(Random(0), latency_s=0))
        journal, _ = await open_on(disk, compact_bytes_min=2000)
        disk.trouble.calls.clear()
        for number in range(300):
            await journal.commit(row(number % 10))
            await asyncio.sleep(0.1)  # a compaction that was begun is over by now
        await journal.close()

        written_bytes = 300 * (len(frame(b"", 1, row(9).encode())) + 10)
        compactions = disk.trouble.calls.count("rename") / 2  # a journal and a snapshot each
        assert 3 < compactions < written_bytes / 2000 + 2

    run(main())


def test_a_compaction_that_cannot_begin_is_not_tried_with_every_change() -> None:
    async def main() -> None:
        disk = FaultyDisk(SimDisk(Random(0), latency_s=0))
        journal, table = await open_on(disk, compact_bytes_min=2000)
        disk.trouble.calls.clear()
        disk.trouble.refused = ("rename",)
        for number in range(300):
            await journal.commit(row(number))
        assert table.records == 300
        assert 3 < disk.trouble.calls.count("rename") < 30
        await journal.close()

    run(main())


def test_after_a_failed_sync_nothing_is_committed_until_the_state_is_rewritten() -> None:
    async def main() -> None:
        medium = SimDisk(Random(0))
        disk = FaultyDisk(medium)
        journal, table = await open_on(disk)
        await journal.commit(row(0))
        began = len(disk.trouble.calls)
        disk.trouble.fails = range(began + 1, began + 3)  # the sync, and the first rewriting

        for number in (1, 2, 3):
            with pytest.raises(StorageFault):
                await journal.commit(row(number))
        assert table.records == 1
        await asyncio.sleep(2)
        await journal.commit(row(4))
        await journal.close()

        _, table = await open_on(medium.crash())
        assert [table.state(key_of(number)).held for number in range(5)] == [
            True, False, False, False, True,
        ]  # fmt: skip

    run(main())


def test_on_a_full_disk_only_what_is_essential_is_committed() -> None:
    async def main() -> None:
        medium = SimDisk(Random(0), latency_s=0)
        disk = FaultyDisk(medium)
        journal, table = await open_on(disk)
        disk.trouble.room_bytes = 0
        accepted = 0
        with pytest.raises(DiskFull):
            while True:
                await journal.commit(row(accepted))
                accepted += 1

        for number in range(accepted):
            tombstone = {key_of(number): pack_row(RecordState(root=dead(1)))}
            essential, ordinary = await asyncio.gather(
                journal.commit(RecordChange(rows=tombstone), essential=True),
                journal.commit(row(1_000_000)),
                return_exceptions=True,
            )
            assert essential is None
            assert isinstance(ordinary, DiskFull)
            if number == 200:
                break
        await journal.close()
        assert accepted > 200
        expected = everything(table)
        _, table = await open_on(medium.crash())
        assert everything(table) == expected

    run(main())


def test_a_closed_journal_refuses() -> None:
    async def main() -> None:
        journal, _ = await open_on(SimDisk(Random(0)))
        await journal.close()
        with pytest.raises(StorageFault):
            await journal.commit(row(1))

    run(main())
