"""The sums of both tables, told twice of the same and in any order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from node.fact_reader import FactReader
from node.fact_sums import CLAIMS_MANY, NO_CLUSTER, FactSums
from node.index.indexed_table import open_table
from node.index.location import Position
from node.memory_disk import MemoryDisk
from node.record_change import RecordChange
from node.record_row import pack_row
from node.record_table import RecordTable
from node.table import Table
from ring.comparing import Description
from ring.digest import Digest
from ring.facts import Facts, FactSum
from ring.record import NO_ROOT, RecordKey, RecordKind, RecordState
from tests.conformance.test_record_facts import EVERYTHING
from tests.fakes.file_index import FileIndexHome

CHUNK = RecordKey(Digest.of(b"chunk")).raw
ROW = pack_row(RecordState(RecordKind.DATA, 5, NO_ROOT, held=True, claimed=True))
BLOBS = [Digest.of(b"large %d" % number).key for number in range(3)]

Apply = Callable[[RecordChange], None]


@pytest.fixture(params=["in memory", "indexed"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Table, Apply]]:
    """A table and how it is changed."""
    if request.param == "in memory":
        table = RecordTable(FactSums())
        yield table, table.apply
        return
    indexed = (await open_table(FileIndexHome(MemoryDisk(1 << 30)), sums=FactSums())).table
    applied = 0

    def apply(change: RecordChange) -> None:
        nonlocal applied
        applied += 1
        indexed.apply(change, {}, Position(1, applied))

    yield indexed, apply
    await indexed.close()


async def total(table: Table) -> FactSum:
    """Over everything."""
    (found,) = await FactReader(table, table.sums).sums([""], EVERYTHING)
    return found


async def test_a_claim_that_comes_twice_counts_once(subject: tuple[Table, Apply]) -> None:
    table, apply = subject
    assert await total(table) == FactSum()
    apply(RecordChange(rows={CHUNK: ROW}, claims=[(CHUNK, BLOBS[0]), (CHUNK, BLOBS[1])]))
    once = await total(table)
    assert once.count == 3
    apply(RecordChange(rows={CHUNK: ROW}, claims=[(CHUNK, BLOBS[1]), (CHUNK, BLOBS[0])]))
    assert await total(table) == once
    apply(RecordChange(claims=[(CHUNK, BLOBS[2]), (CHUNK, BLOBS[2])]))
    assert (await total(table)).count == 4


async def test_a_chunk_that_is_dropped_takes_its_claims_along(
    subject: tuple[Table, Apply]
) -> None:
    table, apply = subject
    assert await total(table) == FactSum()
    apply(RecordChange(rows={CHUNK: ROW}, claims=[(CHUNK, blob) for blob in BLOBS]))
    apply(RecordChange(dropped=[CHUNK]))
    assert await total(table) == FactSum()


async def test_a_chunk_that_is_moved_keeps_its_claims(subject: tuple[Table, Apply]) -> None:
    table, apply = subject
    await total(table)
    claims = [(CHUNK, blob) for blob in BLOBS]
    apply(RecordChange(rows={CHUNK: ROW}, claims=claims))
    before = await total(table)
    apply(RecordChange(rows={CHUNK: ROW}, dropped=[CHUNK], claims=claims))
    assert await total(table) == before
    assert before.count == 1 + len(BLOBS)


async def test_kept_is_the_number_of_records_that_must_have_their_bytes(
    subject: tuple[Table, Apply]
) -> None:
    table, apply = subject
    await total(table)
    apply(RecordChange(rows={CHUNK: ROW}, claims=[(CHUNK, BLOBS[0])]))
    partition = RecordKey.from_raw(CHUNK).digest.partition
    assert table.sums.partition(partition).kept == 1
    apply(RecordChange(dropped=[CHUNK]))
    assert table.sums.partition(partition).kept == 0


class CountingFacts(Facts):
    """Remembers for which claims a fact was made."""

    def __init__(self) -> None:
        super().__init__(NO_CLUSTER)
        self.claims: list[bytes] = []

    def of_claim(self, key: bytes, claimant: bytes) -> int:
        self.claims.append(claimant)
        return super().of_claim(key, claimant)


async def test_the_claims_of_a_popular_chunk_are_added_up_once() -> None:
    facts, key = CountingFacts(), RecordKey.from_raw(CHUNK)
    table = RecordTable(FactSums(facts))
    reader, made = FactReader(table, table.sums), facts.claims
    await total(table)
    blobs = [Digest.of(b"sharing %d" % number).key for number in range(CLAIMS_MANY + 2)]
    table.apply(RecordChange(rows={CHUNK: ROW}, claims=[(CHUNK, blob) for blob in blobs[:-1]]))
    reader.describe(key)
    made.clear()
    few = reader.describe(key)
    assert made == []

    table.apply(RecordChange(claims=[(CHUNK, blobs[-1])]))
    assert made == [blobs[-1]]
    more = reader.describe(key)
    assert made == [blobs[-1]]
    assert more != few


@pytest.mark.parametrize("looked", [False, True], ids=["before", "at once and after"])
async def test_the_claims_of_a_popular_chunk_are_those_it_has(
    subject: tuple[Table, Apply], *, looked: bool
) -> None:
    table, apply = subject
    reader, key = FactReader(table, table.sums), RecordKey.from_raw(CHUNK)
    await total(table)

    def described(count: int) -> Description:
        anew = RecordTable(FactSums())
        anew.apply(RecordChange(rows={CHUNK: ROW}, claims=claims[:count]))
        return FactReader(anew, anew.sums).describe(key)

    claims = [(CHUNK, Digest.of(b"sharing %d" % n).key) for n in range(CLAIMS_MANY + 9)]
    apply(RecordChange(rows={CHUNK: ROW}, claims=claims[: CLAIMS_MANY + 5]))
    assert not looked or reader.describe(key) == described(CLAIMS_MANY + 5)
    apply(RecordChange(claims=claims))
    assert reader.describe(key) == described(len(claims))
    assert (await total(table)).count == 1 + len(claims)
    apply(RecordChange(rows={CHUNK: ROW}, dropped=[CHUNK], claims=claims[:2]))
    assert reader.describe(key) == described(2)
    apply(RecordChange(dropped=[CHUNK]))
    apply(RecordChange(rows={CHUNK: ROW}, claims=claims[:1]))
    assert reader.describe(key) == described(1)
    assert (await total(table)).count == 2
