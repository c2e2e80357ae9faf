"""Facts: what changes a sum and what does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ring.digest import Digest
from ring.facts import EMPTY_FINGERPRINT, Facts, FactSum, needs_value, short
from ring.record import NO_ROOT, RecordKey, RecordKind, RecordState, dead, live
from tests.ring import values as v

FACTS = Facts("cluster")
KEY = RecordKey(Digest.of(b"blob")).raw
LIVE = RecordState(RecordKind.DATA, 4, live(1), held=True)


@given(st.lists(st.integers(0, (1 << 256) - 1), max_size=8), st.randoms())
def test_a_sum_does_not_depend_on_the_order(facts: list[int], rng: object) -> None:
    one, other = FactSum(), FactSum()
    for fact in facts:
        one.add(fact)
    for fact in reversed(facts):
        other.add(fact)
    assert one.fingerprint == other.fingerprint
    for fact in facts:
        one.add(fact, -1)
    assert one == FactSum()
    assert one.fingerprint == EMPTY_FINGERPRINT


def test_two_clusters_have_different_facts() -> None:
    assert FACTS.of_record(KEY, LIVE) != Facts("another").of_record(KEY, LIVE)


@given(v.states, v.states)
def test_equal_facts_mean_that_neither_has_what_the_other_needs(
    one: RecordState, other: RecordState
) -> None:
    if FACTS.of_record(KEY, one) == FACTS.of_record(KEY, other) is not None:
        assert one.root == other.root
        if needs_value(one) and needs_value(other):
            assert one.held == other.held
            assert not one.held or (one.kind, one.size_bytes) == (other.kind, other.size_bytes)


@given(v.states)
def test_when_a_copy_was_verified_changes_nothing(state: RecordState) -> None:
    later = replace(state, verified_at_s=state.verified_at_s + 1)
    assert FACTS.of_record(KEY, state) == FACTS.of_record(KEY, later)


def test_a_missing_copy_and_another_generation_change_the_fact() -> None:
    facts = [
        FACTS.of_record(KEY, state)
        for state in (
            LIVE,
            replace(LIVE, held=False),
            replace(LIVE, root=live(2)),
            replace(LIVE, root=dead(1)),
            replace(LIVE, kind=RecordKind.RECIPE),
            replace(LIVE, size_bytes=5),
            replace(LIVE, root=NO_ROOT, claimed=True),
        )
    ]
    assert None not in facts
    assert len(set(facts)) == len(facts)


def test_trash_settled_tombstones_and_unfinished_uploads_are_left_out() -> None:
    tombstone = RecordState(root=dead(3))
    trash = replace(LIVE, root=dead(3))
    assert FACTS.of_record(KEY, trash) == FACTS.of_record(KEY, tombstone)
    assert FACTS.of_record(KEY, replace(tombstone, settled=True)) is None
    assert FACTS.of_record(KEY, replace(LIVE, root=NO_ROOT)) is None


def test_claims_are_facts_of_chunk_and_blob() -> None:
    other = RecordKey(Digest.of(b"other")).raw
    blob, another = Digest.of(b"large").key, Digest.of(b"larger").key
    found = {
        FACTS.of_claim(KEY, blob), FACTS.of_claim(KEY, another), FACTS.of_claim(other, blob)
    }
    assert len(found) == 3


@given(st.integers(0, (1 << 256) - 1))
def test_a_short_fact_fits_the_wire(fact: int) -> None:
    assert 0 <= short(fact) < 1 << 63
