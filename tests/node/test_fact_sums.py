"""The sums of both tables, told twice of the same and in any order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from node.fact_reader import FactReader
from node.fact_sums import CLAIMS_MANY, FactSums
from node.index.indexed_table import open_table
from node.index.location import Position
from node.memory_disk import MemoryDisk
from node.record_change import RecordChange
from node.record_row import pack_row
from node.record_table import RecordTable
from node.table import Table
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


async def test_the_claims_of_a_popular_chunk_are_added_up_once(
    subject: tuple[Table, Apply], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, apply = subject
    reader, key = FactReader(table, table.sums), RecordKey.from_raw(CHUNK)
    await total(table)
    made: list[bytes] = []
    of_claim = Facts.of_claim

    def counted(facts: Facts, chunk: bytes, claimant: bytes) -> int:
        made.append(claimant)
        return of_claim(facts, chunk, claimant)

    monkeypatch.setattr(Facts, "of_claim", counted)
    blobs = [Digest.of(b"sharing %d" % number).key for number in range(CLAIMS_MANY + 2)]
    apply(RecordChange(rows={CHUNK: ROW}, claims=[(CHUNK, blob) for blob in blobs[:-1]]))
    reader.describe(key)
    made.clear()
    few = reader.describe(key)
    assert made == []

    apply(RecordChange(claims=[(CHUNK, blobs[-1])]))
    assert made == [blobs[-1]]
    more = reader.describe(key)
    assert made == [blobs[-1]]
    assert more != few

    anew = RecordTable(FactSums())
    anew.apply(RecordChange(rows={CHUNK: ROW}, claims=[(CHUNK, blob) for blob in blobs]))
    assert FactReader(anew, anew.sums).describe(key) == more
    assert await total(anew) == await total(table)

    apply(RecordChange(dropped=[CHUNK]))
    apply(RecordChange(rows={CHUNK: ROW}, claims=[(CHUNK, blobs[0])]))
    alone = RecordTable(FactSums())
    alone.apply(RecordChange(rows={CHUNK: ROW}, claims=[(CHUNK, blobs[0])]))
    assert reader.describe(key) == FactReader(alone, alone.sums).describe(key)
