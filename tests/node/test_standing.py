"""What a starting node is, decided from its marker and what its peers remember."""

from __future__ import annotations

import pytest

from node.marker import ALL_PARTITIONS, NO_PARTITIONS, Marker
from node.standing import Admission, Step, admit_blank, fenced_by, next_boot
from ring.life import Life, NodeId

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


def admit(remembered: dict[NodeId, Life | None], *, accept_blank: bool = False) -> Admission:
    return admit_blank(
        cluster_id="cluster", node=A, others=(B, C), remembered=remembered,
        accept_blank=accept_blank,
    )


def test_a_node_that_every_other_member_never_heard_of_is_new_and_does_not_vote_yet() -> None:
    admission = admit({B: None, C: None})

    assert admission.step is Step.BEGIN
    assert admission.marker == Marker("cluster", A, 1, 1, NO_PARTITIONS)
    assert admission.marker.is_newborn


@pytest.mark.parametrize("accept_blank", [False, True])
def test_a_missing_member_could_be_the_one_that_remembers(accept_blank: bool) -> None:
    admission = admit({B: None}, accept_blank=accept_blank)

    assert (admission.step, admission.marker) == (Step.WAIT, None)
    assert "waiting for c" in admission.reason


def test_the_only_member_of_a_cluster_is_new_at_once() -> None:
    admission = admit_blank(
        cluster_id="cluster", node=A, others=(), remembered={}, accept_blank=False
    )

    assert admission.step is Step.BEGIN


@pytest.mark.parametrize("remembered", [{B: Life(1, 3, 9)}, {B: None, C: Life(1, 1, 1)}])
def test_a_blank_directory_of_a_remembered_node_is_the_operators_business(
    remembered: dict[NodeId, Life | None],
) -> None:
    admission = admit(remembered)

    assert (admission.step, admission.marker) == (Step.ASK_OPERATOR, None)
    assert "accept_blank" in admission.reason


def test_where_blank_is_accepted_a_lost_disk_is_a_receiver_beyond_every_remembered_life() -> None:
    admission = admit({B: Life(2, 7, 9), C: Life(4, 1, 9)}, accept_blank=True)

    assert admission.step is Step.BEGIN
    assert admission.marker == Marker("cluster", A, 5, 1, NO_PARTITIONS)
    assert admission.marker.receiver
    assert not admission.marker.is_newborn


def test_the_next_boot_keeps_everything_but_the_counter() -> None:
    before = Marker("cluster", A, 3, 8, ALL_PARTITIONS)

    assert next_boot(before) == Marker("cluster", A, 3, 9, ALL_PARTITIONS)


@pytest.mark.parametrize(("own", "remembered", "later"), [(3, 3, 4), (3, 7, 8), (3, 0, 4)])
def test_a_fenced_node_exceeds_both_its_own_and_the_remembered_incarnation(
    own: int, remembered: int, later: int
) -> None:
    marker = fenced_by(Marker("cluster", A, own, 8, ALL_PARTITIONS), remembered)

    assert marker == Marker("cluster", A, later, 1, NO_PARTITIONS)
