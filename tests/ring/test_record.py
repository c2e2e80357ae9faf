"""Roots order puts and deletes; states merge alike in whatever order copies meet."""

from itertools import pairwise, product
from operator import itemgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ring.digest import Algorithm, Digest
from ring.errors import InvalidDigest, PeerProtocol
from ring.limits import DIGEST_KEY_BYTES_MAX
from ring.record import (
    ABSENT,
    NO_ROOT,
    RecordKey,
    RecordKind,
    RecordState,
    Root,
    dead,
    generation_of,
    is_live,
    live,
    merge,
    without_value,
)
from tests.ring.values import keys, states

ROOTS = [NO_ROOT, dead(0), live(1), dead(1), live(2), dead(2)]

# Closed under merge, so that a table of pairs says all about triples.
STATES = [
    RecordState(*parts)
    for parts in product(RecordKind, (0, 5), ROOTS, (False, True), (False, True), (0, 7))
]
_number = {state: index for index, state in enumerate(STATES)}
TABLE = [[_number[merge(one, other)] for other in STATES] for one in STATES]


def test_live_and_dead_take_turns() -> None:
    in_order = [NO_ROOT, dead(0), live(1), dead(1), live(2), dead(2), live(3)]

    for earlier, later in pairwise(in_order):
        assert earlier < later


def test_only_a_put_makes_a_root_live() -> None:
    assert [live(1), live(2)] == [root for root in ROOTS if is_live(root)]


@given(st.integers(1, 1 << 48))
def test_a_root_remembers_its_generation(generation: int) -> None:
    assert generation == generation_of(live(generation)) == generation_of(dead(generation))
    assert live(generation) < dead(generation) < live(generation + 1)
    assert is_live(live(generation))
    assert not is_live(dead(generation))


def test_generations_of_puts_start_at_one() -> None:
    assert generation_of(NO_ROOT) == generation_of(dead(0)) == 0
    with pytest.raises(AssertionError):
        live(0)
    with pytest.raises(AssertionError):
        dead(-1)


def test_merge_is_idempotent_in_every_state() -> None:
    for state in STATES:
        assert state == merge(state, state)


def test_merge_is_commutative_in_every_pair_of_states() -> None:
    for one, row in enumerate(TABLE):
        assert row == [TABLE[other][one] for other in range(len(STATES))], STATES[one]


def test_merge_is_associative_in_every_triple_of_states() -> None:
    rows = [tuple(row) for row in TABLE]
    with_all = [itemgetter(*row) for row in TABLE]
    for row in rows:
        for other, both in enumerate(row):
            assert rows[both] == with_all[other](row), (row, STATES[other])


def test_absence_changes_nothing() -> None:
    for state in STATES:
        assert state == merge(state, ABSENT) == merge(ABSENT, state)


def test_merge_forgets_nothing() -> None:
    for one, other in product(STATES, STATES):
        both = merge(one, other)

        assert max(one.root, other.root) == both.root
        assert (one.held or other.held) == both.held
        assert (one.claimed or other.claimed) == both.claimed
        assert both.visible == is_live(max(one.root, other.root))
        assert (both.kind, both.size_bytes) in {
            (one.kind, one.size_bytes),
            (other.kind, other.size_bytes),
        }


CLAIMANTS = [frozenset[str](), frozenset("a"), frozenset("b"), frozenset("ab")]


def test_floors_and_claims_merge_alike_in_any_order() -> None:
    """A replica is a state, a floor and rows of claims; the flag `claimed` follows the rows."""
    replicas = list(product(ROOTS, range(3), CLAIMANTS))

    def meet(
        one: tuple[Root, int, frozenset[str]], other: tuple[Root, int, frozenset[str]]
    ) -> tuple[Root, int, frozenset[str]]:
        left = RecordState(root=one[0], claimed=bool(one[2]))
        right = RecordState(root=other[0], claimed=bool(other[2]))
        state, claims = merge(left, right), one[2] | other[2]
        assert state.claimed == bool(claims)
        return (state.root, max(one[1], other[1]), claims)

    number = {replica: index for index, replica in enumerate(replicas)}
    table = [[number[meet(one, other)] for other in replicas] for one in replicas]
    everyone = range(len(replicas))
    for one, other in product(everyone, everyone):
        assert table[one][one] == one
        assert table[one][other] == table[other][one]
        assert table[table[one][other]] == [table[one][table[other][third]] for third in everyone]


@given(states, states)
def test_merging_large_numbers_is_no_different(one: RecordState, other: RecordState) -> None:
    both = merge(one, other)

    assert merge(other, one) == both == merge(both, one) == merge(both, other)
    assert both.root == max(one.root, other.root)


def test_what_exists() -> None:
    assert not ABSENT.exists
    assert RecordState(root=dead(0)).exists
    assert RecordState(held=True).exists
    assert RecordState(claimed=True).exists
    assert RecordState(kind=RecordKind.DATA).exists


def test_only_a_live_root_shows_a_record() -> None:
    for state in STATES:
        assert state.visible == (state.root in {live(1), live(2)})


def test_a_copy_that_went_to_quarantine_leaves_the_rest_of_its_state() -> None:
    for state in STATES:
        after = without_value(state)

        assert not after.held
        assert after.verified_at_s == 0
        assert (state.kind, state.size_bytes, state.root, state.claimed) == (
            after.kind,
            after.size_bytes,
            after.root,
            after.claimed,
        )


@given(keys)
def test_a_key_reads_back(key: RecordKey) -> None:
    assert key == RecordKey.from_raw(key.raw)
    assert b"\x00" + key.digest.key == key.raw
    assert len(key.raw) <= DIGEST_KEY_BYTES_MAX


def test_the_longest_key_is_as_long_as_the_limit_says() -> None:
    longest = max(len(RecordKey(Digest.of(b"", algorithm)).raw) for algorithm in Algorithm)

    assert DIGEST_KEY_BYTES_MAX == longest


@given(st.lists(keys, max_size=10))
def test_keys_sort_like_their_stored_forms(some: list[RecordKey]) -> None:
    assert sorted(key.raw for key in some) == [key.raw for key in sorted(some)]


@pytest.mark.parametrize("raw", [b"", b"\x01" + Digest.of(b"").key, b"\xff"])
def test_a_key_in_no_known_space_is_refused(raw: bytes) -> None:
    with pytest.raises(PeerProtocol):
        RecordKey.from_raw(raw)


@given(st.binary(max_size=70))
def test_any_bytes_are_a_key_or_refused(raw: bytes) -> None:
    try:
        key = RecordKey.from_raw(raw)
    except (PeerProtocol, InvalidDigest):
        return
    assert raw == key.raw


def test_the_numbers_of_kinds_never_change() -> None:
    assert {"NONE": 0, "DATA": 1, "RECIPE": 2} == {kind.name: kind.value for kind in RecordKind}
