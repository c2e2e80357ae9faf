"""How records leave a store: trash, purge, condemned chunks; on every local store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ring.digest import Digest
from ring.errors import BadRequest
from ring.limits import CHUNK_BYTES
from ring.purge import Tombstone
from ring.recipe import Recipe
from ring.record import ABSENT, RecordEntry, RecordKey, RecordKind, RecordState, Root, dead, live
from tests.conformance.record_stores import STORES, Subject, every_entry, key_of, put

LOCAL = STORES[:5]
DATA = RecordKind.DATA
BLOB, OTHER = Digest.of(b"large"), Digest.of(b"another")


@pytest.fixture(params=LOCAL, ids=lambda make: make.__name__)
async def subject(request: pytest.FixtureRequest, tmp_path: object) -> AsyncIterator[Subject]:
    async with request.param(tmp_path) as subject:
        yield subject


def yes() -> bool:
    return True


def no() -> bool:
    return False


async def state_of(subject: Subject, key: RecordKey) -> RecordState:
    return (await subject.store.stat([key]))[0]


async def trashed(subject: Subject, value: bytes) -> RecordKey:
    """What was put, and deleted at the second that the clock shows."""
    key = await put(subject, value)
    await subject.store.bury(key, 1, keep_value=True)
    return key


async def settled(subject: Subject, value: bytes, generation: int = 1) -> Tombstone:
    tombstone = Tombstone(key_of(value), dead(generation))
    await subject.store.bury(tombstone.key, generation)
    assert await subject.local.disposal.settle([tombstone], yes) == [tombstone.key]
    return tombstone


@pytest.mark.parametrize("size_bytes", [1, 70_000])
async def test_what_is_in_the_trash_is_not_visible_and_can_be_put_again(
    subject: Subject, size_bytes: int
) -> None:
    value = b"t" * size_bytes
    key = await trashed(subject, value)
    subject.clock.seconds += 5

    state, kept = await subject.store.get(key)
    assert (state.root, state.visible, state.in_trash) == (dead(1), False, True)
    assert state.verified_at_s == subject.clock.seconds - 5
    assert kept == value
    answer = await subject.store.put_root(key, DATA, size_bytes, 2, value)
    assert (answer.root, answer.had) == (live(2), False)
    assert (await subject.store.get(key))[1] == value


async def test_what_is_in_the_trash_has_no_say_against_a_recipe(subject: Subject) -> None:
    """Of two recipes for one blob nobody can tell which is right; the deleted one gives way."""
    key = key_of(b"stands for something large")
    first, second = (
        Recipe(CHUNK_BYTES + 1, (Digest.of(chunk), Digest.of(b"end"))) for chunk in (b"1", b"2")
    )
    for generation, recipe in enumerate((first, second), start=1):
        value = recipe.encode(key.digest)
        answer = await subject.store.put_root(
            key, RecordKind.RECIPE, recipe.size_bytes, generation, value
        )
        assert answer.root == live(generation)
        assert (await subject.store.get(key))[1] == value
        await subject.store.bury(key, generation, keep_value=True)


@pytest.mark.parametrize("size_bytes", [1, 70_000])
async def test_trash_that_is_discarded_leaves_its_tombstone(
    subject: Subject, size_bytes: int
) -> None:
    key = await trashed(subject, b"t" * size_bytes)
    kept = await put(subject, b"k" * size_bytes)

    assert await subject.local.disposal.discard([key, kept, key_of(b"absent")]) == size_bytes
    state, value = await subject.store.get(key)
    assert (state.root, state.is_tombstone, value) == (dead(1), True, None)
    assert (await state_of(subject, kept)).held
    assert await subject.local.disposal.discard([key]) == 0


async def test_a_delete_may_skip_the_trash_also_later(subject: Subject) -> None:
    key = await trashed(subject, b"wanted gone")

    await subject.store.bury(key, 1)

    assert await subject.store.get(key) == (RecordState(root=dead(1)), None)


async def test_a_delete_leaves_the_chunk_of_an_upload_under_way(subject: Subject) -> None:
    key = key_of(b"chunk")
    await subject.store.put_chunk(key, None, b"chunk")
    await subject.store.bury(key, 1)

    assert await subject.store.confirm(BLOB, [key.digest]) == [True]
    state, value = await subject.store.get(key)
    assert (state.root, state.claimed, value) == (dead(1), True, b"chunk")


async def test_tombstones_are_held_together(subject: Subject) -> None:
    here, newer = await put(subject, b"here"), await put(subject, b"newer", 3)
    absent = key_of(b"absent")
    asked = [Tombstone(here, dead(2)), Tombstone(newer, dead(2)), Tombstone(absent, dead(7))]

    states = await subject.local.disposal.hold(asked)

    assert [state.root for state in states] == [dead(2), live(3), dead(7)]
    assert states == await subject.store.stat([here, newer, absent])
    assert states[0].in_trash
    for root in (live(1), Root(1 << 60)):
        with pytest.raises(BadRequest):
            await subject.local.disposal.hold([Tombstone(absent, Root(root))])


async def test_a_settled_tombstone_says_so_and_leaves_lists_of_roots(subject: Subject) -> None:
    tombstone = await settled(subject, b"gone")

    assert await state_of(subject, tombstone.key) == RecordState(root=dead(1), settled=True)
    assert await every_entry(subject, roots_only=True) == []
    assert len(await every_entry(subject, roots_only=False)) == 1


async def test_only_what_is_still_the_same_tombstone_is_settled(subject: Subject) -> None:
    disposal = subject.local.disposal
    live_key, trash = await put(subject, b"live"), await trashed(subject, b"trash")
    chunk, gone = key_of(b"chunk"), key_of(b"gone")
    await subject.store.put_chunk(chunk, BLOB, b"chunk")
    await subject.store.bury(chunk, 1)
    await subject.store.bury(gone, 2)
    asked = [Tombstone(key, dead(1)) for key in (live_key, trash, chunk, gone, key_of(b"absent"))]

    assert await disposal.settle(asked, yes) == []
    assert await disposal.settle([Tombstone(gone, dead(2))], no) == []
    assert await disposal.settle([Tombstone(gone, dead(2))], yes) == [gone]


async def test_whatever_brings_a_settled_record_back_clears_it(subject: Subject) -> None:
    put_again, buried = await settled(subject, b"put"), await settled(subject, b"buried")
    chunk, heard = await settled(subject, b"chunk"), await settled(subject, b"heard")

    await put(subject, b"put", 2)
    await subject.store.bury(buried.key, 2)
    await subject.store.put_chunk(chunk.key, None, b"chunk")
    await subject.local.absorb(heard.key, RecordState(root=dead(3)), [], None)

    for one in (put_again, buried, chunk, heard):
        assert not (await state_of(subject, one.key)).settled
        assert await subject.local.disposal.purge([one], yes) == []


async def test_a_purge_raises_the_floor_and_forgets_in_one(subject: Subject) -> None:
    disposal = subject.local.disposal
    tombstone = await settled(subject, b"gone", 4)
    partition = tombstone.key.digest.partition
    before = subject.local.facts.dropped(partition)

    assert await disposal.purge([tombstone], no) == []
    assert await disposal.purge([tombstone, tombstone], yes) == [tombstone.key] * 2
    assert await state_of(subject, tombstone.key) == ABSENT
    assert (await subject.store.floors())[partition] == 4
    assert subject.local.facts.dropped(partition) > before
    answer = await subject.store.put_root(tombstone.key, DATA, 4, 4, b"gone")
    assert (answer.root, answer.floor) == (0, 4)
    await put(subject, b"gone", 5)


async def test_a_purge_never_lowers_a_floor(subject: Subject) -> None:
    tombstone = await settled(subject, b"gone", 2)
    partition = tombstone.key.digest.partition
    await subject.local.raise_floor(partition, 9)
    before = subject.local.facts.dropped(partition)

    await subject.local.disposal.purge([tombstone], yes)

    assert await subject.store.floors() == {partition: 9}
    assert subject.local.facts.dropped(partition) > before, "a pull may be under way"


async def test_only_settled_tombstones_are_purged(subject: Subject) -> None:
    disposal = subject.local.disposal
    await subject.store.bury(key_of(b"fresh"), 1)
    one = await settled(subject, b"settled")

    assert await disposal.purge([Tombstone(key_of(b"fresh"), dead(1))], yes) == []
    assert await disposal.purge([Tombstone(one.key, dead(2))], yes) == []
    assert await subject.store.floors() == {}


async def test_a_condemned_chunk_is_read_and_not_confirmed(subject: Subject) -> None:
    key = key_of(b"chunk")
    await subject.store.put_chunk(key, BLOB, b"chunk")

    assert await subject.local.disposal.condemn(key) is not None
    assert await subject.store.confirm(OTHER, [key.digest]) == [False]
    assert (await subject.store.get(key))[1] == b"chunk"
    assert await subject.store.claims(key, None, 10) == ([BLOB], True)


async def test_a_condemned_chunk_goes_with_its_claims(subject: Subject) -> None:
    disposal = subject.local.disposal
    for value in (b"small", b"l" * 70_000):
        key = key_of(value)
        await subject.store.put_chunk(key, BLOB, value)
        await subject.store.put_chunk(key, OTHER, value)
        number = await disposal.condemn(key)
        assert number is not None

        assert await disposal.collect(key, number)
        assert await subject.store.get(key) == (ABSENT, None)
        assert await subject.store.claims(key, None, 10) == ([], True)
        assert not disposal.condemned.has(key.raw)
        assert not await disposal.collect(key, number)
    assert subject.local.usage().bytes_stored == 0


async def test_a_collected_chunk_leaves_its_tombstone(subject: Subject) -> None:
    disposal, key = subject.local.disposal, key_of(b"chunk")
    await subject.store.put_chunk(key, BLOB, b"chunk")
    await subject.store.bury(key, 3)
    number = await disposal.condemn(key)
    assert number is not None

    assert await disposal.collect(key, number)
    state, value = await subject.store.get(key)
    assert (state.root, state.is_tombstone, value) == (dead(3), True, None)
    assert await subject.store.claims(key, None, 10) == ([], True)
    await put(subject, b"chunk", 4)


async def test_what_brings_a_condemned_chunk_again_pardons_it(subject: Subject) -> None:
    disposal, value = subject.local.disposal, b"chunk"
    key = key_of(value)
    state = RecordState(DATA, 5, held=True, claimed=True)
    await subject.store.put_chunk(key, None, value)

    async def condemned() -> int:
        number = await disposal.condemn(key)
        assert number is not None
        return number

    number = await condemned()
    await subject.store.put_chunk(key, BLOB, value)
    assert not await disposal.collect(key, number)
    assert await subject.store.confirm(BLOB, [key.digest]) == [True]

    number = await condemned()
    await subject.local.absorb(key, state, [OTHER], None)
    assert not await disposal.collect(key, number)

    number, later = await condemned(), await condemned()
    assert not await disposal.collect(key, number)
    await put(subject, value)
    assert not await disposal.collect(key, later)
    assert await disposal.condemn(key) is None
    assert await subject.store.claims(key, None, 10) == (sorted([BLOB, OTHER]), True)


async def test_whatever_has_no_live_root_is_leaving(subject: Subject) -> None:
    for number in range(20):
        await put(subject, b"live %d" % number)
    chunk, gone = key_of(b"chunk"), await trashed(subject, b"gone")
    await subject.store.put_chunk(chunk, None, b"chunk")
    left = await settled(subject, b"settled")

    found = await subject.local.disposal.leaving(None, 1_000)

    assert found.upto is None
    wanted = sorted([chunk, gone, left.key])
    assert found.entries == [
        RecordEntry(key, state)
        for key, state in zip(wanted, await subject.store.stat(wanted), strict=True)
    ]


async def test_a_walk_along_what_leaves_comes_to_an_end(subject: Subject) -> None:
    for number in range(600):
        await subject.store.bury(key_of(b"%d" % number), 1)
    found, after, turns = [], None, 0
    while True:
        some = await subject.local.disposal.leaving(after, 100)
        found += some.entries
        turns += 1
        if some.upto is None:
            break
        after = some.upto

    assert len({entry.key for entry in found}) == len(found) == 600
    assert turns > 1


async def test_a_put_that_races_a_purge_finds_the_tombstone_or_the_floor(subject: Subject) -> None:
    tombstone = await settled(subject, b"gone")
    purge = asyncio.ensure_future(subject.local.disposal.purge([tombstone], yes))
    answer = await subject.store.put_root(tombstone.key, DATA, 4, 1, b"gone")

    assert answer.root != live(1)
    await purge
    assert await state_of(subject, tombstone.key) == ABSENT


async def test_how_long_a_chunk_was_not_needed_is_forgotten_with_it(subject: Subject) -> None:
    key = key_of(b"chunk")
    condemned = subject.local.disposal.condemned
    await subject.store.put_chunk(key, BLOB, b"chunk")
    assert condemned.idle_since_s(key.raw, 5.0) == 5.0
    await subject.local.drop(key)
    assert condemned.idle_since_s(key.raw, 9.0) == 9.0
