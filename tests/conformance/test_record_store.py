"""What every RecordStore does with clients' puts, deletes and reads (contract F7 to F21)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ring.digest import Algorithm, Digest
from ring.errors import BadRequest, Corrupt, DigestMismatch, HoldfastError, TooLarge
from ring.limits import CHUNK_BYTES
from ring.messages import CopyVerdict
from ring.recipe import Recipe
from ring.record import ABSENT, RecordEntry, RecordKey, RecordKind, dead, is_live, live
from tests.conformance.record_stores import STORES, Subject, every_entry, key_of, put

DATA = RecordKind.DATA


@pytest.fixture(params=STORES, ids=lambda make: make.__name__)
async def subject(request: pytest.FixtureRequest, tmp_path: object) -> AsyncIterator[Subject]:
    async with request.param(tmp_path) as subject:
        yield subject


async def value_of(subject: Subject, key: RecordKey) -> bytes | None:
    state, value = await subject.store.get(key)
    assert state.held == (value is not None)
    return None if value is None else bytes(value)


async def test_an_empty_store_has_nothing(subject: Subject) -> None:
    key = key_of(b"absent")

    assert await subject.store.get(key) == (ABSENT, None)
    assert await subject.store.stat([key, key]) == [ABSENT, ABSENT]
    assert await subject.store.stat([]) == []
    assert await subject.store.verify(key) is CopyVerdict.ABSENT
    assert await subject.store.page(None, 10, roots_only=False) == ([], True)
    assert await subject.store.claims(key, None, 10) == ([], True)
    assert await subject.store.floors() == {}


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("size_bytes", [0, 1, 1024, 65_536, 65_537, CHUNK_BYTES])
async def test_what_was_put_is_got(
    subject: Subject, algorithm: Algorithm, size_bytes: int
) -> None:
    value = bytes(number % 251 for number in range(1024)) * (size_bytes // 1024 + 1)
    value = value[:size_bytes]
    key = key_of(value, algorithm)

    answer = await subject.store.put_root(key, DATA, size_bytes, 1, memoryview(value))

    assert (answer.root, answer.floor, answer.had) == (live(1), 0, False)
    state, got = await subject.store.get(key)
    assert got is not None
    assert bytes(got) == value
    assert (state.kind, state.size_bytes, state.root) == (DATA, size_bytes, live(1))
    assert state.held
    assert not state.claimed
    assert state.verified_at_s == int(subject.clock.seconds)
    assert await subject.store.stat([key]) == [state]
    assert await subject.store.page(None, 10, roots_only=True) == ([RecordEntry(key, state)], True)


async def test_bytes_that_are_not_what_was_promised_leave_no_trace(subject: Subject) -> None:
    promised, delivered = key_of(b"promised"), key_of(b"deliver!")
    kept = await put(subject, b"kept")

    with pytest.raises(DigestMismatch) as mismatch:
        await subject.store.put_root(promised, DATA, 8, 1, b"deliver!")
    with pytest.raises(DigestMismatch):
        await subject.store.put_chunk(promised, kept.digest, b"deliver!")
    with pytest.raises(DigestMismatch):
        await subject.store.put_root(kept, DATA, 4, 2, b"lost")

    assert str(promised.digest) in mismatch.value.detail
    assert str(delivered.digest) in mismatch.value.detail
    states = await subject.store.stat([promised, delivered])
    assert states == [ABSENT, ABSENT]
    assert await value_of(subject, kept) == b"kept"
    assert (await subject.store.stat([kept]))[0].root == live(1)


async def test_a_record_has_at_most_one_chunk(subject: Subject) -> None:
    value = bytes(CHUNK_BYTES + 1)

    with pytest.raises(HoldfastError) as refusal:
        await subject.store.put_root(key_of(value), DATA, len(value), 1, value)

    assert isinstance(refusal.value, TooLarge | BadRequest)
    assert await subject.store.stat([key_of(value)]) == [ABSENT]


async def test_a_size_that_is_not_the_values_is_refused(subject: Subject) -> None:
    with pytest.raises(HoldfastError):
        await subject.store.put_root(key_of(b"four"), DATA, 5, 1, b"four")

    assert await subject.store.stat([key_of(b"four")]) == [ABSENT]


async def test_putting_again_is_no_error_and_says_so(subject: Subject) -> None:
    key = await put(subject, b"twice")
    subject.clock.seconds += 100

    again = await subject.store.put_root(key, DATA, 5, 1, b"twice")

    assert (again.root, again.had) == (live(1), True)
    entries = await every_entry(subject, roots_only=True)
    assert [entry.key for entry in entries] == [key]
    assert entries[0].state.verified_at_s == int(subject.clock.seconds)


async def test_parallel_puts_of_one_digest_all_succeed(subject: Subject) -> None:
    value = b"parallel" * 10_000
    key = key_of(value)

    answers = await asyncio.gather(
        *(subject.store.put_root(key, DATA, len(value), 1, value) for _ in range(8))
    )

    assert {answer.root for answer in answers} == {live(1)}
    assert [answer.had for answer in answers].count(False) == 1
    assert await value_of(subject, key) == value
    assert len(await every_entry(subject, roots_only=False)) == 1


async def test_parallel_puts_of_many_digests_all_succeed(subject: Subject) -> None:
    values = [b"value %d" % number for number in range(64)]

    keys = await asyncio.gather(*(put(subject, value) for value in values))

    assert [await value_of(subject, key) for key in keys] == values


async def test_a_reader_sees_nothing_or_the_whole(subject: Subject) -> None:
    value = b"0123456789abcdef" * (CHUNK_BYTES // 16)
    key = key_of(value)
    seen = set()
    writing = asyncio.ensure_future(subject.store.put_root(key, DATA, len(value), 1, value))
    while not writing.done():
        seen.add(await value_of(subject, key))
        await asyncio.sleep(0)
    await writing
    seen.add(await value_of(subject, key))

    assert value in seen
    assert seen <= {None, value}


async def test_a_buried_record_is_gone_and_others_stay(subject: Subject) -> None:
    key, other = await put(subject, b"buried"), await put(subject, b"other")

    state = await subject.store.bury(key, 1)

    assert state.root == dead(1)
    assert not state.held
    assert await subject.store.get(key) == (state, None)
    assert await subject.store.bury(key, 1) == state
    assert await value_of(subject, other) == b"other"
    entries = await every_entry(subject, roots_only=True)
    assert {entry.key: entry.state.root for entry in entries} == {key: dead(1), other: live(1)}


async def test_a_tombstone_needs_no_record(subject: Subject) -> None:
    key = key_of(b"never put")

    assert (await subject.store.bury(key, 3)).root == dead(3)
    assert (await subject.store.stat([key]))[0].root == dead(3)


async def test_a_tombstone_never_lowers_a_root(subject: Subject) -> None:
    key = await put(subject, b"high", 5)

    assert (await subject.store.bury(key, 4)).root == live(5)
    assert await value_of(subject, key) == b"high"
    assert (await subject.store.bury(key, 7)).root == dead(7)
    assert (await subject.store.bury(key, 6)).root == dead(7)


async def test_a_put_at_or_below_a_tombstone_is_refused(subject: Subject) -> None:
    key = await put(subject, b"again", 2)
    await subject.store.bury(key, 2)

    for generation in (1, 2):
        refused = await subject.store.put_root(key, DATA, 5, generation, b"again")
        assert (refused.root, refused.had) == (dead(2), False)
    assert await value_of(subject, key) is None

    accepted = await subject.store.put_root(key, DATA, 5, 3, b"again")
    assert (accepted.root, accepted.had) == (live(3), False)
    assert await value_of(subject, key) == b"again"


async def test_a_put_below_a_live_generation_changes_nothing(subject: Subject) -> None:
    key = await put(subject, b"higher", 4)

    answer = await subject.store.put_root(key, DATA, 6, 2, b"higher")

    assert answer.root == live(4)
    assert (await subject.store.stat([key]))[0].root == live(4)


async def test_a_put_above_a_live_generation_raises_it(subject: Subject) -> None:
    key = await put(subject, b"lower", 1)

    answer = await subject.store.put_root(key, DATA, 5, 3, b"lower")

    assert (answer.root, answer.had) == (live(3), True)


@pytest.mark.parametrize("generation", [0, -1, 1 << 49])
async def test_a_generation_out_of_bounds_is_refused(subject: Subject, generation: int) -> None:
    with pytest.raises(HoldfastError):
        await subject.local.put_root(key_of(b"x"), DATA, 1, generation, b"x")

    assert await subject.store.stat([key_of(b"x")]) == [ABSENT]


async def test_one_content_under_two_algorithms_is_two_records(subject: Subject) -> None:
    keys = [key_of(b"same", algorithm) for algorithm in Algorithm]
    for key in keys:
        await subject.store.put_root(key, DATA, 4, 1, b"same")

    await subject.store.bury(keys[1], 1)

    assert [await value_of(subject, key) for key in keys] == [b"same", None, b"same"]


async def test_racing_puts_and_deletes_end_in_the_highest(subject: Subject) -> None:
    for number in range(20):
        value = b"race %d" % number
        key = key_of(value)
        await asyncio.gather(
            subject.store.put_root(key, DATA, len(value), 1, value),
            subject.store.bury(key, 1),
            subject.store.put_root(key, DATA, len(value), 2, value),
            subject.store.bury(key, 1),
        )
        state, got = await subject.store.get(key)
        assert state.root == live(2)
        assert got is not None
        assert bytes(got) == value


async def test_a_rotten_copy_is_quarantined_and_put_again(subject: Subject) -> None:
    key = await put(subject, b"rotten")
    await subject.damage(key, DATA, b"rottem")

    assert await subject.store.verify(key) is CopyVerdict.QUARANTINED
    state, value = await subject.store.get(key)
    assert (state.root, state.held, value) == (live(1), False, None)
    assert await subject.store.verify(key) is CopyVerdict.ABSENT
    assert subject.local.usage().quarantined_total == 1

    answer = await subject.store.put_root(key, DATA, 6, 1, b"rotten")
    assert (answer.root, answer.had) == (live(1), False)
    assert await value_of(subject, key) == b"rotten"
    assert await subject.store.verify(key) is CopyVerdict.GOOD


@pytest.mark.parametrize("damaged", [b"", b"x", b"rottem", b"rotten and more"])
async def test_putting_over_a_rotten_copy_heals_it(subject: Subject, damaged: bytes) -> None:
    key = await put(subject, b"rotten")
    await subject.damage(key, DATA, damaged)

    answer = await subject.store.put_root(key, DATA, 6, 1, b"rotten")

    assert (answer.root, answer.had) == (live(1), False)
    assert await value_of(subject, key) == b"rotten"
    assert subject.local.usage().quarantined_total == 1


async def test_a_copy_of_a_wrong_length_is_never_served(subject: Subject) -> None:
    key = await put(subject, b"complete")
    await subject.damage(key, DATA, b"comple")

    state, value = await subject.store.get(key)

    assert (state.root, state.held, value) == (live(1), False, None)
    assert subject.local.usage().quarantined_total == 1


async def test_verifying_a_good_copy_remembers_when(subject: Subject) -> None:
    key = await put(subject, b"good")
    subject.clock.seconds += 1000

    assert await subject.store.verify(key) is CopyVerdict.GOOD

    assert (await subject.store.stat([key]))[0].verified_at_s == int(subject.clock.seconds)


def recipe_of(size_bytes: int, content: bytes = b"c") -> Recipe:
    count = -(-size_bytes // CHUNK_BYTES)
    chunks = tuple(Digest.of(content + b"%d" % number) for number in range(count))
    return Recipe(size_bytes, chunks)


async def test_a_recipe_is_kept_under_its_blob(subject: Subject) -> None:
    key = key_of(b"stands for a large blob", Algorithm.SHA512)
    recipe = recipe_of(3 * CHUNK_BYTES + 1)
    value = recipe.encode(key.digest)

    answer = await subject.store.put_root(key, RecordKind.RECIPE, recipe.size_bytes, 1, value)

    assert answer.root == live(1)
    state, got = await subject.store.get(key)
    assert (state.kind, state.size_bytes) == (RecordKind.RECIPE, recipe.size_bytes)
    assert got is not None
    assert Recipe.decode(key.digest, got) == recipe
    assert await subject.store.verify(key) is CopyVerdict.GOOD
    await subject.store.bury(key, 1)
    assert await value_of(subject, key) is None


async def test_a_recipe_under_another_digest_is_refused(subject: Subject) -> None:
    key, other = key_of(b"one"), key_of(b"two")
    recipe = recipe_of(CHUNK_BYTES + 1)
    value = recipe.encode(other.digest)

    for size_bytes, claimed in ((recipe.size_bytes, value), (1, recipe.encode(key.digest))):
        with pytest.raises(Corrupt):
            await subject.store.put_root(key, RecordKind.RECIPE, size_bytes, 1, claimed)

    assert await subject.store.stat([key]) == [ABSENT]


async def test_a_rotten_recipe_is_quarantined(subject: Subject) -> None:
    key = key_of(b"large")
    recipe = recipe_of(CHUNK_BYTES + 1)
    value = recipe.encode(key.digest)
    await subject.store.put_root(key, RecordKind.RECIPE, recipe.size_bytes, 1, value)
    await subject.damage(key, RecordKind.RECIPE, value[:-1] + bytes((value[-1] ^ 1,)))

    assert await subject.store.verify(key) is CopyVerdict.QUARANTINED
    answer = await subject.store.put_root(key, RecordKind.RECIPE, recipe.size_bytes, 1, value)
    assert answer.root == live(1)
    assert await value_of(subject, key) == value


async def test_of_two_recipes_for_one_digest_the_second_is_refused(subject: Subject) -> None:
    key = key_of(b"large")
    one, other = recipe_of(CHUNK_BYTES + 1), recipe_of(CHUNK_BYTES + 1, b"other")
    kind, size_bytes = RecordKind.RECIPE, one.size_bytes
    await subject.store.put_root(key, kind, size_bytes, 1, one.encode(key.digest))

    with pytest.raises(Corrupt):
        await subject.store.put_root(key, kind, size_bytes, 1, other.encode(key.digest))

    assert await value_of(subject, key) == one.encode(key.digest)


async def test_data_proves_itself_against_a_recipe(subject: Subject) -> None:
    key = key_of(b"data")
    recipe = recipe_of(CHUNK_BYTES + 1)
    value = recipe.encode(key.digest)
    await subject.store.put_root(key, RecordKind.RECIPE, recipe.size_bytes, 1, value)

    answer = await subject.store.put_root(key, DATA, 4, 1, b"data")

    assert answer.root == live(1)
    assert await value_of(subject, key) == b"data"
    with pytest.raises(Corrupt):
        await subject.store.put_root(key, RecordKind.RECIPE, recipe.size_bytes, 1, value)
    assert await value_of(subject, key) == b"data"


async def test_a_kind_without_value_cannot_be_put(subject: Subject) -> None:
    with pytest.raises(HoldfastError):
        await subject.local.put_root(key_of(b""), RecordKind.NONE, 0, 1, b"")

    assert await subject.store.stat([key_of(b"")]) == [ABSENT]


async def test_writers_see_each_others_records_at_once(subject: Subject) -> None:
    async def write_and_read(number: int) -> bool:
        value = b"mine %d" % number
        key = await put(subject, value)
        state = (await subject.store.stat([key]))[0]
        return is_live(state.root) and await value_of(subject, key) == value

    assert all(await asyncio.gather(*map(write_and_read, range(32))))
