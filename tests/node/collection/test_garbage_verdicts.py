"""What repair is told of chunks that nobody needs, for one question about each claimant."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from node.collection.garbage_verdicts import GarbageVerdicts, Reasons
from node.memory_store import MemoryRecordStore
from ring.digest import Digest
from ring.errors import StorageFault
from ring.record import RecordKey
from tests.fakes.manual_clock import ManualClock

GONE, NEEDED, SILENT = (Digest.of(word) for word in (b"gone", b"needed", b"silent"))
CHUNKS = [b"%d" % number for number in range(200)]


class Asked:
    """Answers after a turn of the loop, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[Digest] = []
        self.fails = False

    async def __call__(self, claimants: Sequence[Digest], reasons: Reasons) -> None:
        self.asked += claimants
        await asyncio.sleep(0)
        if self.fails:
            raise StorageFault("the disk is gone")
        known = {GONE: None, NEEDED: "needed", SILENT: "silent"}
        reasons.update({one: known[one] for one in claimants})


def verdicts(
    asked: Asked, store: MemoryRecordStore | None = None, collected: Sequence[RecordKey] = ()
) -> GarbageVerdicts:
    store = MemoryRecordStore(ManualClock()) if store is None else store
    return GarbageVerdicts(
        store, asked, lambda reason: reason == "needed", lambda key: key in collected
    )


def key_of(chunk: bytes) -> RecordKey:
    return RecordKey(Digest.of(chunk))


async def test_many_chunks_of_one_upload_cost_one_question() -> None:
    asked, store = Asked(), MemoryRecordStore(ManualClock())
    for chunk in CHUNKS:
        await store.put_chunk(key_of(chunk), GONE, chunk)
    said = verdicts(asked, store)
    here = [said.is_left_over(key_of(chunk)) for chunk in CHUNKS]
    elsewhere = [said.is_garbage(key_of(b"not here"), [GONE]) for _ in CHUNKS]
    assert all(await asyncio.gather(*here, *elsewhere))
    assert asked.asked == [GONE]
    assert await verdicts(asked, store).is_left_over(key_of(CHUNKS[0]))
    assert asked.asked == [GONE, GONE], "the next batch asks anew"


async def test_one_claim_that_counts_is_enough() -> None:
    store = MemoryRecordStore(ManualClock())
    one, other = key_of(CHUNKS[0]), key_of(CHUNKS[1])
    for claimant in (GONE, NEEDED):
        await store.put_chunk(one, claimant, CHUNKS[0])
    await store.put_chunk(other, SILENT, CHUNKS[1])
    said = verdicts(Asked(), store)
    assert not await said.is_left_over(one)
    assert not await said.is_left_over(other), "silence is no no"
    assert not await said.is_garbage(one, [GONE, NEEDED])
    assert not await said.is_garbage(one, [SILENT])


async def test_what_was_collected_here_is_not_fetched_while_others_are_silent() -> None:
    one = key_of(CHUNKS[0])
    said = verdicts(Asked(), collected=[one])
    assert await said.is_garbage(one, [SILENT])
    assert not await said.is_garbage(one, [SILENT, NEEDED])


async def test_all_claims_are_looked_at_however_many_there_are() -> None:
    store, one = MemoryRecordStore(ManualClock()), key_of(CHUNKS[0])
    for number in range(1_500):
        await store.put_chunk(one, Digest.of(b"gone %d" % number), CHUNKS[0])
    last = max((Digest.of(b"gone %d" % number) for number in range(1_500)), key=lambda d: d.key)

    async def ask(claimants: Sequence[Digest], reasons: Reasons) -> None:
        reasons.update({one: "needed" if one == last else None for one in claimants})

    said = GarbageVerdicts(store, ask, lambda _: True, lambda _: False)
    assert not await said.is_left_over(one)


async def test_a_question_that_failed_is_asked_again() -> None:
    asked = Asked()
    asked.fails = True
    said = verdicts(asked)
    calls = [said.is_garbage(key_of(chunk), [GONE]) for chunk in CHUNKS[:3]]
    failed = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in failed] == [StorageFault] * 3
    asked.fails = False
    assert await said.is_garbage(key_of(CHUNKS[0]), [GONE])
    with pytest.raises(StorageFault):
        asked.fails = True
        await said.is_garbage(key_of(CHUNKS[0]), [SILENT])


async def test_who_waits_for_two_answers_hears_of_the_one_that_failed() -> None:
    """However the other ends: the failed one is asked anew by others, not by who waited."""
    turns = {GONE: 5, NEEDED: 1}

    async def ask(claimants: Sequence[Digest], reasons: Reasons) -> None:
        for _ in range(turns[claimants[0]]):
            await asyncio.sleep(0)
        if claimants[0] == NEEDED:
            raise StorageFault("the disk is gone")
        reasons.update(dict.fromkeys(claimants))

    store = MemoryRecordStore(ManualClock())
    said = GarbageVerdicts(store, ask, lambda _: True, lambda _: False)
    asked = ([GONE], [NEEDED], [GONE, NEEDED])
    ends = await asyncio.gather(
        *(said.is_garbage(key_of(b"chunk"), one) for one in asked), return_exceptions=True
    )
    assert ends[0] is True
    assert [type(end) for end in ends[1:]] == [StorageFault, StorageFault]
