"""Record tables against plain models, and their parts: rows, changes, claims, order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.record_change import RecordChange
from node.record_claims import RecordClaims
from node.record_order import RecordOrder
from node.record_row import bytes_held, pack_row, unpack_row
from node.record_table import RecordTable
from node.value_check import value_bytes
from ring.digest import Algorithm, Digest
from ring.errors import Corrupt
from ring.limits import BLOB_BYTES_MAX, CHUNK_BYTES, GENERATION_MAX
from ring.recipe import Recipe
from ring.record import ABSENT, RecordKey, RecordKind, RecordState, Root, dead

STATES = st.builds(
    RecordState,
    kind=st.sampled_from(RecordKind),
    size_bytes=st.integers(0, BLOB_BYTES_MAX),
    root=st.integers(0, dead(GENERATION_MAX)).map(Root),
    held=st.booleans(),
    claimed=st.booleans(),
    verified_at_s=st.integers(0, (1 << 34) - 1),
)
KEYS = [
    RecordKey(Digest.of(b"%d" % number, algorithm)).raw
    for number in range(6)
    for algorithm in Algorithm
]
CLAIMANTS = [Digest.of(b"%d" % number, list(Algorithm)[number % 3]) for number in range(6)]
CHANGES = st.builds(
    RecordChange,
    rows=st.dictionaries(st.sampled_from(KEYS[:12]), STATES.map(pack_row)),
    dropped=st.sets(st.sampled_from(KEYS[12:])).map(lambda keys: sorted(sorted(keys), key=len)),
    claims=st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from([c.key for c in CLAIMANTS]))),
    floors=st.dictionaries(st.integers(0, 4095), st.integers(1, GENERATION_MAX)),
)  # fmt: skip


@given(STATES)
def test_a_row_is_the_state(state: RecordState) -> None:
    row = pack_row(state)

    assert unpack_row(row) == state
    assert row < 1 << 128
    expected = value_bytes(state.kind, state.size_bytes) if state.held else None
    assert bytes_held(row) == expected


def test_a_clock_before_1970_or_far_ahead_fits_into_a_row() -> None:
    for second, kept in ((-5, 0), (1 << 40, (1 << 34) - 1)):
        assert unpack_row(pack_row(RecordState(verified_at_s=second))).verified_at_s == kept


@pytest.mark.parametrize("chunks", [2, 3, 1000])
def test_the_length_of_a_recipe_follows_from_its_blob(chunks: int) -> None:
    blob = Digest.of(b"blob")
    for size_bytes in ((chunks - 1) * CHUNK_BYTES + 1, chunks * CHUNK_BYTES):
        recipe = Recipe(size_bytes, (Digest.of(b"chunk"),) * chunks)
        assert value_bytes(RecordKind.RECIPE, size_bytes) == len(recipe.encode(blob))


@given(CHANGES)
def test_a_change_survives_its_encoding(change: RecordChange) -> None:
    assert RecordChange.decode(change.encode()) == change


@given(CHANGES, st.data())
def test_a_cut_or_extended_change_is_corrupt(change: RecordChange, data: st.DataObject) -> None:
    body = change.encode()
    cut = data.draw(st.integers(0, len(body) - 1))
    for wrong in (body[:cut], body + b"\0"):
        with pytest.raises(Corrupt):
            RecordChange.decode(wrong)


@settings(max_examples=30)
@given(st.lists(CHANGES, max_size=8))
def test_a_table_is_what_was_applied(changes: Sequence[RecordChange]) -> None:
    table = RecordTable()
    rows: dict[bytes, int] = {}
    claims: set[tuple[bytes, bytes]] = set()
    floors: dict[int, int] = {}
    for change in changes:
        table.apply(change)
        rows = {key: row for key, row in rows.items() if key not in change.dropped}
        rows.update(change.rows)
        claims = {claim for claim in claims if claim[0] not in change.dropped}
        claims.update(change.claims)
        for partition, generation in change.floors.items():
            floors[partition] = max(generation, floors.get(partition, 0))

    held = [size for row in rows.values() if (size := bytes_held(row)) is not None]
    assert (table.records, table.held, table.bytes_stored) == (len(rows), len(held), sum(held))
    assert table.order.after(None, 1000) == sorted(rows)
    assert table.floors() == dict(sorted(floors.items()))
    for key in KEYS:
        assert table.state(key) == (unpack_row(rows[key]) if key in rows else ABSENT)
        expected = sorted(Digest.from_key(who) for chunk, who in claims if chunk == key)
        assert table.claimants(key, None, 100) == (expected, True)
        for claimant in CLAIMANTS:
            assert table.is_claimed_by(key, claimant) == (claimant in expected)


@settings(max_examples=30)
@given(st.lists(CHANGES, max_size=8), st.integers(1, 20))
def test_the_slices_of_a_table_make_it_anew(changes: Sequence[RecordChange], most: int) -> None:
    table, again = RecordTable(), RecordTable()
    for change in changes:
        table.apply(change)
    for chunk in KEYS:  # claims stand only on rows
        if table.state(chunk) == ABSENT:
            table.apply(RecordChange(dropped=[chunk]))

    slices = list(table.slices(most))
    for change in slices:
        assert len(change.rows) <= most
        again.apply(RecordChange.decode(change.encode()))
        again.apply(change)

    for key in KEYS:
        assert again.state(key) == table.state(key)
        assert again.claimants(key, None, 100) == table.claimants(key, None, 100)
    assert again.floors() == table.floors()
    assert again.bytes_stored == table.bytes_stored


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(KEYS))),
    st.sampled_from([None, *KEYS, b"", b"\xff"]),
    st.integers(1, 20),
)
def test_an_order_is_a_sorted_set(
    steps: list[tuple[bool, bytes]], after: bytes | None, limit: int
) -> None:
    order = RecordOrder()
    model: set[bytes] = set()
    for adds, key in steps:
        if adds and key not in model:
            order.add(key)
            model.add(key)
        elif not adds and key in model:
            order.remove(key)
            model.discard(key)
        if len(model) % 3 == 0:  # looking sorts, and must not change what is there
            order.after(None, 2)

    expected = sorted(key for key in model if after is None or key > after)
    assert order.after(after, limit) == expected[:limit]
    assert order.prefixes() == sorted({key[:3] for key in model})


@given(st.lists(st.tuples(st.sampled_from(KEYS[:3]), st.sampled_from(CLAIMANTS))), st.data())
def test_claims_are_sorted_sets(
    steps: list[tuple[bytes, Digest]], data: st.DataObject
) -> None:
    claims = RecordClaims()
    model: dict[bytes, set[bytes]] = {key: set() for key in KEYS[:3]}
    for chunk, claimant in steps:
        claims.add(chunk, claimant.key)
        model[chunk].add(claimant.key)
    claims.drop(KEYS[0])
    model[KEYS[0]].clear()
    after = data.draw(st.sampled_from([None, *(claimant.key for claimant in CLAIMANTS)]))
    limit = data.draw(st.integers(1, 7))

    for chunk, claimants in model.items():
        expected = sorted(who for who in claimants if after is None or who > after)
        assert claims.after(chunk, after, limit) == expected[:limit]
        assert list(claims.rows(chunk)) == [(chunk, who) for who in sorted(claimants)]
