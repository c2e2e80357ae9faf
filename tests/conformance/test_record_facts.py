"""What every store tells repair of its records: sums that changes keep up to date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from node.recordlog.page_store import PageRecordStore
from ring.comparing import FACTS_MAX
from ring.digest import Algorithm, Digest
from ring.errors import HoldfastError
from ring.facts import EMPTY_FINGERPRINT, FactSum, short
from ring.keepers import Shared
from ring.layout import LiveLayouts, Member
from ring.life import NodeId
from ring.placement import first_layout
from ring.record import RecordKey, RecordKind, RecordState, live
from tests.conformance.record_stores import (
    STORES,
    Subject,
    every_entry,
    key_of,
    over_sockets,
    over_the_simulated_network,
)

LOCAL = [make for make in STORES if make not in {over_sockets, over_the_simulated_network}]
NODE = NodeId("n0")
EVERYTHING = Shared(LiveLayouts((first_layout([Member(NODE, "n0:1")], 1, "alone"),)), NODE, NODE)
VALUES = [b"value %d" % number for number in range(12)]
BLOBS = [Digest.of(b"large %d" % number) for number in range(4)]


@pytest.fixture(params=LOCAL, ids=lambda make: make.__name__)
async def subject(request: pytest.FixtureRequest, tmp_path: object) -> AsyncIterator[Subject]:
    async with request.param(tmp_path) as subject:
        yield subject


async def counted_anew(subject: Subject) -> FactSum:
    """What the records and claims of a store add up to, from its pages alone."""
    total, facts = FactSum(), subject.local.facts.facts
    for entry in await every_entry(subject, roots_only=False):
        fact = facts.of_record(entry.key.raw, entry.state)
        if fact is not None:
            total.add(fact)
        claims, done = await subject.local.claims(entry.key, None, 100)
        assert done
        for claimant in claims:
            total.add(facts.of_claim(entry.key.raw, claimant.key))
    return total


async def change_something(subject: Subject, rng: Random) -> None:
    """One operation on one of few records; refusals are fine."""
    local, value = subject.local, rng.choice(VALUES)
    key = key_of(value, rng.choice(list(Algorithm)[:2]))
    if key.digest.algorithm is not Algorithm.BLAKE3:
        value = rng.choice(VALUES[:3])
        key = key_of(value, Algorithm.SHA256)
    state = RecordState(RecordKind.DATA, len(value), live(rng.randrange(1, 4)), held=True)
    try:
        match rng.randrange(9):
            case 0 | 1:
                generation = rng.randrange(1, 4)
                await local.put_root(key, RecordKind.DATA, len(value), generation, value)
            case 2:
                await local.put_chunk(key, rng.choice([None, *BLOBS]), value)
            case 3:
                await local.confirm(rng.choice(BLOBS), [key.digest])
            case 4:
                await local.bury(key, rng.randrange(1, 4))
            case 5:
                await local.drop(key)
            case 6:
                await local.absorb(key, state, rng.sample(BLOBS, rng.randrange(3)), value)
            case 7 if local.facts.describe(key).state.held:
                await subject.damage(key, RecordKind.DATA, b"?" * len(value))
                await local.verify(key)
            case _ if isinstance(local, PageRecordStore):
                await local.upkeep.checkpoint()
    except HoldfastError:
        return  # a put at a generation that is over, say


@pytest.mark.parametrize("seed", range(3))
async def test_sums_follow_every_change(subject: Subject, seed: int) -> None:
    rng = Random(seed)
    for _ in range(30):
        await change_something(subject, rng)
    for _ in range(25):
        await change_something(subject, rng)
        (total,) = await subject.local.facts.sums([""], EVERYTHING)
        assert total == await counted_anew(subject)


async def test_counting_goes_on_while_records_change(subject: Subject) -> None:
    rng = Random(7)
    for number in range(600):
        value = b"many %d" % number
        await subject.local.put_root(key_of(value), RecordKind.DATA, len(value), 1, value)
    counting = asyncio.ensure_future(subject.local.facts.sums([""], EVERYTHING))
    for _ in range(40):
        await change_something(subject, rng)
    await counting
    (total,) = await subject.local.facts.sums([""], EVERYTHING)
    assert total == await counted_anew(subject)


async def test_a_sum_is_that_of_its_branches_at_every_depth(subject: Subject) -> None:
    for value in VALUES:
        await subject.local.put_root(key_of(value), RecordKind.DATA, len(value), 1, value)
    facts = subject.local.facts
    pending = [""]
    while pending and len(pending[0]) < 6:
        children = [prefix + digit for prefix in pending for digit in "0123456789abcdef"]
        whole = await facts.sums(pending, EVERYTHING)
        parts = await facts.sums(children, EVERYTHING)
        for number, total in enumerate(whole):
            added = FactSum()
            for part in parts[16 * number : 16 * number + 16]:
                added.add_all(part)
            assert added == total
        pending = [p for p, part in zip(children, parts, strict=True) if part.count]
    assert len(pending) == len(VALUES)


async def test_a_list_has_every_record_below_its_prefixes_with_its_fact(subject: Subject) -> None:
    for value in VALUES:
        await subject.local.put_root(key_of(value), RecordKind.DATA, len(value), 1, value)
    facts = subject.local.facts
    everything = await facts.listed([""], EVERYTHING)
    assert everything is not None
    assert {key for key, _ in everything} == {key_of(value) for value in VALUES}
    digits = key_of(VALUES[0]).digest.raw.hex()
    for length in (1, 3, 5, 64):
        listed = await facts.listed([digits[:length]], EVERYTHING)
        assert listed is not None
        assert dict(listed).keys() == {
            key for key, _ in everything if key.digest.raw.hex().startswith(digits[:length])
        }
    key = key_of(VALUES[0])
    (state,) = await subject.local.stat([key])
    fact = facts.facts.of_record(key.raw, state)
    assert fact is not None
    assert dict(everything)[key] == short(fact)
    assert len(everything) < FACTS_MAX


async def test_a_description_tells_claims_apart(subject: Subject) -> None:
    key, facts = key_of(VALUES[0]), subject.local.facts
    assert facts.describe(key).claims == EMPTY_FINGERPRINT
    await subject.local.put_chunk(key, BLOBS[0], VALUES[0])
    one = facts.describe(key).claims
    await subject.local.confirm(BLOBS[1], [key.digest])
    two = facts.describe(key).claims
    assert len({one, two, EMPTY_FINGERPRINT}) == 3
    await subject.local.drop(key)
    await subject.local.put_chunk(key, BLOBS[1], VALUES[0])
    await subject.local.confirm(BLOBS[0], [key.digest])
    assert facts.describe(key).claims == two


async def test_what_nobody_needs_is_left_out(subject: Subject) -> None:
    await subject.local.put_chunk(key_of(b"unfinished"), None, b"unfinished")
    (total,) = await subject.local.facts.sums([""], EVERYTHING)
    assert total == FactSum()


async def test_a_dropped_record_is_counted_as_dropped(subject: Subject) -> None:
    key = RecordKey(Digest.of(VALUES[0]))
    await subject.local.put_root(key, RecordKind.DATA, len(VALUES[0]), 1, VALUES[0])
    before = subject.local.facts.dropped(key.digest.partition)
    assert not await subject.local.drop(key, still=lambda: False)
    assert subject.local.facts.dropped(key.digest.partition) == before
    assert await subject.local.drop(key, still=lambda: True)
    assert subject.local.facts.dropped(key.digest.partition) == before + 1


async def test_a_value_is_not_taken_in_when_the_guard_says_no(subject: Subject) -> None:
    key, value = key_of(VALUES[0]), VALUES[0]
    state = RecordState(RecordKind.DATA, len(value), live(1), held=True)
    assert not await subject.local.absorb(key, state, (), value, still=lambda: False)
    assert not subject.local.facts.describe(key).state.exists
    assert await subject.local.absorb(key, state, (), value, still=lambda: True)
    assert subject.local.facts.describe(key).state.held


async def test_whoever_watches_is_told_of_lost_copies(subject: Subject) -> None:
    lost: list[RecordKey] = []
    subject.local.watch_losses(lost.append)
    key, value = key_of(VALUES[0]), VALUES[0]
    await subject.local.put_root(key, RecordKind.DATA, len(value), 1, value)
    await subject.damage(key, RecordKind.DATA, b"?" * len(value))
    await subject.local.verify(key)
    assert lost == [key]
