"""The plan of a repair, in every small situation."""

from __future__ import annotations

from itertools import product

from ring.comparing import Description
from ring.facts import EMPTY_FINGERPRINT, needs_value
from ring.life import NodeId
from ring.record import NO_ROOT, RecordKind, RecordState, Root, dead, is_live, live
from ring.repair_plan import NOTHING, Need, has_all_of, plan_repair

A, B = NodeId("a"), NodeId("b")
ROOTS = (NO_ROOT, live(1), dead(1), live(2))
CLAIMS = (EMPTY_FINGERPRINT, b"\1" * 16, b"\2" * 16)


def described(
    root: Root = NO_ROOT, *, held: bool = False, claims: bytes = EMPTY_FINGERPRINT,
    settled: bool = False,
) -> Description:
    """What a node says."""
    claimed = claims != EMPTY_FINGERPRINT
    kind = RecordKind.DATA if held else RecordKind.NONE
    state = RecordState(kind, 4 * held, root, held, claimed, 9 * held, settled)
    return Description(state, claims)


EVERY = [
    described(root, held=held, claims=claims)
    for root, held, claims in product(ROOTS, (False, True), CLAIMS)
]


def test_nothing_is_done_exactly_when_nobody_has_more() -> None:
    for own, other in product(EVERY, EVERY):
        plan = plan_repair(own, {A: other}, (A,), keeps=True)
        newest = max(own.state.root, other.state.root)
        claimed = own.state.claimed or other.state.claimed
        wanted = is_live(Root(newest)) or claimed
        assert plan.root == newest
        if wanted and not own.state.held:
            assert plan.need is (Need.VALUE if other.state.held else Need.LOST)
        elif own.state.root < newest or (other.state.claimed and other.claims != own.claims):
            assert plan.need is Need.STATE
        else:
            assert plan.need is Need.NOTHING


def test_who_lacks_something_is_told_only_when_somebody_has_it() -> None:
    for own, other in product(EVERY, EVERY):
        plan = plan_repair(own, {A: other}, (A,), keeps=True)
        after = plan_repair(other, {B: own}, (B,), keeps=True)
        if A in plan.lacking:
            newest = max(own.state.root, other.state.root)
            could_fetch = own.state.held and not other.state.held
            more_claims = own.state.claimed and own.claims != other.claims
            assert other.state.root < newest or could_fetch or more_claims
        if after.need in {Need.STATE, Need.VALUE}:
            assert A in plan.lacking


def test_a_node_that_does_not_keep_the_record_takes_nothing_and_still_tells() -> None:
    plan = plan_repair(described(live(1), held=True), {A: NOTHING}, (A,), keeps=False)
    assert (plan.need, plan.lacking) == (Need.NOTHING, (A,))
    assert plan_repair(NOTHING, {A: described(live(1), held=True)}, (A,), keeps=False).need is (
        Need.NOTHING
    )


def test_a_spare_that_lacks_is_not_told() -> None:
    plan = plan_repair(described(live(1), held=True), {A: NOTHING, B: NOTHING}, (A,), keeps=True)
    assert plan.lacking == (A,)


def test_a_settled_tombstone_is_not_spread_again() -> None:
    settled = described(dead(1), settled=True)
    assert plan_repair(NOTHING, {A: settled}, (A,), keeps=True).need is Need.NOTHING
    assert plan_repair(settled, {A: NOTHING}, (A,), keeps=True).lacking == ()


def test_who_has_settled_a_tombstone_neither_lacks_nor_needs_it() -> None:
    settled, tombstone = described(dead(1), settled=True), described(dead(1))
    for own, answers in ((settled, {A: tombstone, B: settled}), (tombstone, {A: settled})):
        plan = plan_repair(own, answers, (A, B), keeps=True)
        assert (plan.need, plan.lacking) == (Need.NOTHING, ())
    assert has_all_of(settled, tombstone)


def test_any_good_copy_is_a_source_whatever_its_generation() -> None:
    plan = plan_repair(
        described(live(2)), {A: described(live(2)), B: described(dead(1), held=True)}, (A, B),
        keeps=True,
    )
    assert (plan.need, plan.sources) == (Need.VALUE, (B,))


def test_silence_is_neither_source_nor_lack() -> None:
    plan = plan_repair(described(live(1)), {}, (A, B), keeps=True)
    assert (plan.need, plan.sources, plan.lacking) == (Need.LOST, (), ())


def test_somebody_has_all_that_is_here_only_with_root_claims_and_verified_bytes() -> None:
    for own, other in product(EVERY, EVERY):
        said = has_all_of(other, own)
        if said:
            assert other.state.root >= own.state.root
            assert not own.state.claimed or other.claims == own.claims
            if needs_value(own.state) and other.state.root == own.state.root:
                assert other.state.held
    unverified = described(live(1), held=True)
    never = Description(
        RecordState(RecordKind.DATA, 4, live(1), held=True), EMPTY_FINGERPRINT
    )
    assert has_all_of(unverified, unverified)
    assert not has_all_of(never, unverified)
