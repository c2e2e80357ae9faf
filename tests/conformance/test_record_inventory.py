"""What every RecordStore does with chunks, claims, floors, pages, and what its own node does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from ring.digest import Algorithm, Digest
from ring.errors import Corrupt, DigestMismatch, HoldfastError
from ring.limits import CHUNK_BYTES
from ring.recipe import Recipe
from ring.record import ABSENT, NO_ROOT, RecordEntry, RecordKey, RecordKind, RecordState, dead, live
from tests.conformance.record_stores import STORES, Subject, every_entry, key_of, put

DATA = RecordKind.DATA


@pytest.fixture(params=STORES, ids=lambda make: make.__name__)
async def subject(request: pytest.FixtureRequest, tmp_path: object) -> AsyncIterator[Subject]:
    async with request.param(tmp_path) as subject:
        yield subject


def blob(number: int) -> Digest:
    return Digest.of(b"large blob %d" % number, list(Algorithm)[number % 3])


async def claims_of(subject: Subject, key: RecordKey, limit: int = 1000) -> list[Digest]:
    claims: list[Digest] = []
    done = False
    while not done:
        page, done = await subject.store.claims(key, claims[-1] if claims else None, limit)
        assert page or done
        claims += page
    return claims


# --- chunks and claims ----------------------------------------------------------------------------


async def test_a_chunk_has_no_root(subject: Subject) -> None:
    key = key_of(b"chunk")

    answer = await subject.store.put_chunk(key, blob(0), b"chunk")

    assert (answer.root, answer.had) == (NO_ROOT, False)
    state, value = await subject.store.get(key)
    assert value is not None
    assert bytes(value) == b"chunk"
    assert (state.kind, state.size_bytes, state.root) == (DATA, 5, NO_ROOT)
    assert (state.held, state.claimed) == (True, True)
    assert await claims_of(subject, key) == [blob(0)]
    assert await every_entry(subject, roots_only=True) == []
    assert await every_entry(subject, roots_only=False) == [RecordEntry(key, state)]


async def test_a_chunk_may_come_before_its_claim(subject: Subject) -> None:
    key = key_of(b"chunk")
    await subject.store.put_chunk(key, None, b"chunk")
    assert not (await subject.store.stat([key]))[0].claimed
    assert await claims_of(subject, key) == []

    assert await subject.store.confirm(blob(1), [key.digest]) == [True]

    assert (await subject.store.stat([key]))[0].claimed
    assert await claims_of(subject, key) == [blob(1)]


async def test_claims_are_confirmed_only_for_chunks_that_are_here(subject: Subject) -> None:
    here, gone, rotten = key_of(b"here"), key_of(b"gone"), key_of(b"rotten")
    await subject.store.put_chunk(here, None, b"here")
    await subject.store.put_chunk(rotten, blob(9), b"rotten")
    await subject.damage(rotten, DATA, b"rottem")
    await subject.store.verify(rotten)

    asked = [gone.digest, here.digest, rotten.digest, here.digest]
    assert await subject.store.confirm(blob(0), asked) == [False, True, False, True]
    assert await subject.store.confirm(blob(0), asked) == [False, True, False, True]
    assert await subject.store.confirm(blob(0), []) == []

    assert await claims_of(subject, here) == [blob(0)]
    assert await claims_of(subject, gone) == []
    assert await subject.store.stat([gone]) == [ABSENT]


async def test_claims_come_in_pages_and_in_order(subject: Subject) -> None:
    key = key_of(b"zeros of everybody")
    claimants = [blob(number) for number in range(20)]
    for claimant in claimants:
        await subject.store.put_chunk(key, claimant, b"zeros of everybody")
    await subject.store.confirm(claimants[3], [key.digest])

    for limit in (1, 7, 20, 100):
        assert await claims_of(subject, key, limit) == sorted(claimants)


async def test_a_tombstone_leaves_the_bytes_of_a_claimed_chunk(subject: Subject) -> None:
    key = await put(subject, b"shared")
    await subject.store.confirm(blob(0), [key.digest])

    state = await subject.store.bury(key, 1)

    assert (state.root, state.held, state.claimed) == (dead(1), True, True)
    _, value = await subject.store.get(key)
    assert value is not None
    assert bytes(value) == b"shared"
    assert await subject.store.confirm(blob(1), [key.digest]) == [True]


async def test_a_chunk_under_a_tombstone_is_kept_and_stays_dead(subject: Subject) -> None:
    key = await put(subject, b"deleted, then a chunk")
    await subject.store.bury(key, 1)

    answer = await subject.store.put_chunk(key, blob(0), b"deleted, then a chunk")

    assert answer.root == dead(1)
    state = (await subject.store.stat([key]))[0]
    assert (state.root, state.held, state.claimed, state.size_bytes) == (dead(1), True, True, 21)


async def test_a_chunk_that_somebody_put_has_both(subject: Subject) -> None:
    key = key_of(b"both")
    await subject.store.put_chunk(key, blob(0), b"both")

    answer = await subject.store.put_root(key, DATA, 4, 1, b"both")

    assert (answer.root, answer.had) == (live(1), False)
    again = await subject.store.put_chunk(key, blob(0), b"both")
    assert (again.root, again.had) == (live(1), True)
    state = (await subject.store.stat([key]))[0]
    assert (state.root, state.claimed) == (live(1), True)


async def test_parallel_puts_of_one_chunk_keep_all_claims(subject: Subject) -> None:
    key = key_of(b"chunk")
    claimants = [blob(number) for number in range(8)]

    await asyncio.gather(
        *(subject.store.put_chunk(key, claimant, b"chunk") for claimant in claimants),
        *(subject.store.confirm(blob(number), [key.digest]) for number in range(3)),
    )

    assert await claims_of(subject, key) == sorted(claimants)


# --- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
async def test_pages_together_are_everything_in_order(subject: Subject, limit: int) -> None:
    keys = [
        key_of(b"%d" % number, list(Algorithm)[number % 3]) for number in range(30)
    ]
    for number, key in enumerate(keys):
        await subject.store.put_root(key, DATA, len(b"%d" % number), 1, b"%d" % number)
    await subject.store.bury(keys[4], 1)
    await subject.store.put_chunk(key_of(b"a chunk"), None, b"a chunk")

    rooted = await every_entry(subject, roots_only=True, limit=limit)
    everything = await every_entry(subject, roots_only=False, limit=limit)

    assert [entry.key for entry in rooted] == sorted(keys)
    assert [entry.key for entry in everything] == sorted([*keys, key_of(b"a chunk")])
    assert [entry.state for entry in rooted] == await subject.store.stat(sorted(keys))


async def test_a_page_may_begin_after_a_key_that_is_not_there(subject: Subject) -> None:
    keys = sorted([await put(subject, b"%d" % number) for number in range(10)])
    for absent in (key_of(b"elsewhere %d" % number) for number in range(10)):
        entries, done = await subject.store.page(absent, 100, roots_only=True)
        assert [entry.key for entry in entries] == [key for key in keys if key > absent]
        assert done


async def test_paging_goes_on_while_records_come_and_go(subject: Subject) -> None:
    stays = sorted([await put(subject, b"stays %d" % number) for number in range(20)])
    seen: list[RecordKey] = []
    done = False
    number = 0
    while not done:
        page, done = await subject.store.page(seen[-1] if seen else None, 3, roots_only=True)
        seen += [entry.key for entry in page]
        number += 1
        key = await put(subject, b"comes %d" % number)
        if number % 2:
            await subject.local.drop(key)

    assert len(seen) == len({*seen})
    assert seen == sorted(seen)
    assert [key for key in seen if key in stays] == stays


# --- floors ---------------------------------------------------------------------------------------


async def test_a_put_at_or_below_the_floor_is_refused(subject: Subject) -> None:
    key = key_of(b"purged")
    await subject.local.raise_floor(key.digest.partition, 3)

    for generation in (1, 3):
        refused = await subject.store.put_root(key, DATA, 6, generation, b"purged")
        assert (refused.root, refused.floor, refused.had) == (NO_ROOT, 3, False)
    assert await subject.store.stat([key]) == [ABSENT]
    accepted = await subject.store.put_root(key, DATA, 6, 4, b"purged")
    assert (accepted.root, accepted.floor) == (live(4), 3)


async def test_a_floor_does_not_refuse_what_is_live_here(subject: Subject) -> None:
    key = await put(subject, b"older than the floor", 2)
    await subject.local.raise_floor(key.digest.partition, 5)

    answer = await subject.store.put_root(key, DATA, 20, 2, b"older than the floor")

    assert (answer.root, answer.floor, answer.had) == (live(2), 5, True)


async def test_floors_only_rise_and_are_told(subject: Subject) -> None:
    for partition, generation in ((7, 2), (4095, 1), (7, 1), (0, 9), (7, 3)):
        await subject.local.raise_floor(partition, generation)

    floors = await subject.store.floors()

    assert floors == {0: 9, 7: 3, 4095: 1}


async def test_floors_do_not_concern_chunks_or_tombstones(subject: Subject) -> None:
    key = key_of(b"chunk")
    await subject.local.raise_floor(key.digest.partition, 3)

    assert (await subject.store.put_chunk(key, None, b"chunk")).floor == 3
    assert (await subject.store.stat([key]))[0].held
    assert (await subject.store.bury(key, 1)).root == dead(1)


# --- what only the node itself does ---------------------------------------------------------------


async def test_a_peers_record_is_absorbed(subject: Subject) -> None:
    key = key_of(b"pulled")
    theirs = RecordState(DATA, 6, live(3), held=True, verified_at_s=5)
    await subject.local.raise_floor(key.digest.partition, 9)

    await subject.local.absorb(key, theirs, [blob(1), blob(0)], b"pulled")

    now_s = int(subject.clock.seconds)
    expected = RecordState(DATA, 6, live(3), held=True, claimed=True, verified_at_s=now_s)
    assert await subject.store.get(key) == (expected, b"pulled")
    assert await claims_of(subject, key) == sorted([blob(0), blob(1)])


async def test_a_peers_state_without_value_is_only_remembered(subject: Subject) -> None:
    key = key_of(b"known")
    theirs = RecordState(DATA, 5, live(1), held=True, claimed=True)

    await subject.local.absorb(key, theirs, [], None)

    state, value = await subject.store.get(key)
    assert (state, value) == (RecordState(DATA, 5, live(1)), None)
    await subject.local.absorb(key, theirs, [], b"known")
    assert (await subject.store.get(key))[1] == b"known"


async def test_a_peers_tombstone_wins_over_an_older_put(subject: Subject) -> None:
    key = await put(subject, b"deleted elsewhere")

    await subject.local.absorb(key, RecordState(root=dead(1)), [], None)

    (state,) = await subject.store.stat([key])
    assert state.root == dead(1)
    assert state.in_trash
    assert state.verified_at_s == subject.clock.now_s()


async def test_a_peers_older_state_changes_nothing(subject: Subject) -> None:
    key = await put(subject, b"newer", 3)
    before = await subject.store.get(key)

    await subject.local.absorb(key, RecordState(root=dead(2)), [], None)
    await subject.local.absorb(key, RecordState(DATA, 5, live(1), held=True), [], None)

    assert await subject.store.get(key) == before


async def test_a_peers_tombstone_leaves_claimed_bytes(subject: Subject) -> None:
    key = key_of(b"chunk")
    await subject.store.put_chunk(key, blob(0), b"chunk")

    await subject.local.absorb(key, RecordState(root=dead(4)), [], None)

    state, value = await subject.store.get(key)
    assert (state.root, state.held, state.claimed, value) == (dead(4), True, True, b"chunk")


async def test_a_dead_record_is_absorbed_without_bytes_that_nobody_claims(
    subject: Subject,
) -> None:
    one, other = key_of(b"one"), key_of(b"other")
    theirs = RecordState(DATA, 3, dead(1), held=True)

    await subject.local.absorb(one, theirs, [], b"one")
    await subject.local.absorb(other, replace(theirs, size_bytes=5), [blob(0)], b"other")

    state, value = await subject.store.get(one)
    assert (state.root, state.is_tombstone, value) == (dead(1), True, None)
    assert (await subject.store.get(other))[1] == b"other"


async def test_a_bad_value_from_a_peer_changes_nothing(subject: Subject) -> None:
    key = key_of(b"promised")
    theirs = RecordState(DATA, 8, live(1), held=True)

    with pytest.raises(DigestMismatch):
        await subject.local.absorb(key, theirs, [blob(0)], b"deliver!")
    with pytest.raises(HoldfastError):
        await subject.local.absorb(key, replace(theirs, size_bytes=1 << 60), [], None)

    assert await subject.store.stat([key]) == [ABSENT]
    assert await claims_of(subject, key) == []


async def test_a_recipe_from_a_peer_does_not_replace_data(subject: Subject) -> None:
    key = await put(subject, b"data")
    recipe = Recipe(CHUNK_BYTES + 1, (Digest.of(b"1"), Digest.of(b"2")))
    theirs = RecordState(RecordKind.RECIPE, recipe.size_bytes, live(2), held=True)

    await subject.local.absorb(key, theirs, [], None)
    with pytest.raises(Corrupt):
        await subject.local.absorb(key, theirs, [], recipe.encode(key.digest))

    state, value = await subject.store.get(key)
    assert (state.kind, state.size_bytes, state.root, value) == (DATA, 4, live(2), b"data")


async def test_a_dropped_record_is_forgotten_wholly(subject: Subject) -> None:
    key, other = await put(subject, b"dropped", 4), await put(subject, b"other")
    await subject.store.confirm(blob(0), [key.digest])

    await subject.local.drop(key)
    await subject.local.drop(key)

    assert await subject.store.get(key) == (ABSENT, None)
    assert await claims_of(subject, key) == []
    assert [entry.key for entry in await every_entry(subject, roots_only=False)] == [other]
    assert (await subject.store.put_root(key, DATA, 7, 1, b"dropped")).root == live(1)


async def test_answers_without_waiting_are_the_same_answers(subject: Subject) -> None:
    keys = [await put(subject, b"small"), await put(subject, bytes(CHUNK_BYTES))]
    keys += [key_of(b"absent"), key_of(b"buried")]
    await subject.store.bury(keys[3], 2)
    await subject.damage(keys[0], DATA, b"smal")

    for key in keys:
        now = subject.local.get_now(key)
        assert now is None or now == await subject.local.get(key)
    now_states = subject.local.stat_now(keys)
    assert now_states is None or now_states == await subject.local.stat(keys)


async def test_usage_counts_what_is_here(subject: Subject) -> None:
    assert subject.local.usage().records == 0
    keys = [await put(subject, bytes(size_bytes)) for size_bytes in (0, 10, 200)]
    await subject.store.put_chunk(key_of(b"chunk"), blob(0), b"chunk")
    await subject.store.bury(keys[1], 1)
    await subject.store.put_root(keys[2], DATA, 200, 2, bytes(200))

    usage = subject.local.usage()

    assert (usage.records, usage.held, usage.bytes_stored) == (4, 3, 205)
    assert (usage.quarantined_total, usage.lost_total) == (0, 0)
    assert await subject.local.bytes_free() > 0
    await subject.local.drop(keys[2])
    assert subject.local.usage().bytes_stored == 5


async def test_a_large_value_may_be_sent_as_a_file(subject: Subject) -> None:
    large, small = await put(subject, bytes(CHUNK_BYTES)), await put(subject, b"small")

    assert await subject.local.open_span(small) is None
    assert await subject.local.open_span(key_of(b"absent")) is None
    opened = await subject.local.open_span(large)
    if opened is not None:
        state, span = opened
        assert state == (await subject.store.stat([large]))[0]
        assert span.size_bytes == CHUNK_BYTES
        span.close()
        span.close()
