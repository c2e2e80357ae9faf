"""Which life an answer comes from, and which answers count once more is known."""

from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ring.life import NO_PROCESS, Knowledge, Life, NodeId
from tests.ring.values import lives

NODE, PEER = NodeId("a"), NodeId("b")
OLD = Life(1, 9, 5)
NOW = Life(2, 1, 5)
TWIN = Life(2, 1, 6)
NEXT = Life(2, 2, 4)
LIVES = [Life(*parts) for parts in product((1, 2), (1, 2), (NO_PROCESS, 7, 8))]


@pytest.mark.parametrize(
    ("life", "known", "is_over"),
    [
        (OLD, NOW, True),  # the disk was wiped
        (NOW, NEXT, True),  # the process started again
        (NOW, OLD, False),
        (NEXT, NOW, False),
        (NOW, NOW, False),
        (NOW, TWIN, True),  # a copy of its disk runs elsewhere
        (TWIN, NOW, True),
        (Life(1, 9, 1), Life(2, 1, 1), True),  # incarnations come before boots
    ],
)
def test_a_life_is_over_when_a_later_one_is_known(life: Life, known: Life, is_over: bool) -> None:
    assert is_over == life.superseded_by(known)


def test_of_two_lives_one_is_over_unless_they_are_one() -> None:
    for one, other in product(LIVES, LIVES):
        over = [one.superseded_by(other), other.superseded_by(one)]
        if one == other:
            assert [False, False] == over
        elif one.pair == other.pair:
            assert [True, True] == over
        else:
            assert [one.pair < other.pair, other.pair < one.pair] == over


def test_everybody_counts_before_anything_is_known() -> None:
    knowledge = Knowledge()

    assert knowledge.counts(NODE, OLD)
    assert knowledge.latest(NODE) is None
    assert [] == knowledge.items()


def test_a_later_life_voids_the_earlier_ones_answers() -> None:
    knowledge = Knowledge()
    assert knowledge.learn(NODE, NOW)
    assert knowledge.counts(NODE, NOW)
    assert not knowledge.counts(NODE, OLD)
    assert knowledge.learn(NODE, NEXT)

    assert not knowledge.counts(NODE, NOW)
    assert knowledge.counts(NODE, NEXT)
    assert not knowledge.learn(NODE, NOW)
    assert NEXT == knowledge.latest(NODE)


def test_a_life_that_nobody_heard_of_yet_counts() -> None:
    knowledge = Knowledge({NODE: NOW})

    assert knowledge.counts(NODE, NEXT)
    assert knowledge.counts(PEER, OLD)


@pytest.mark.parametrize("order", [(NOW, TWIN), (TWIN, NOW)])
def test_two_processes_of_one_life_void_each_other(order: tuple[Life, Life]) -> None:
    knowledge = Knowledge()
    for life in order:
        knowledge.learn(NODE, life)

    assert not knowledge.counts(NODE, NOW)
    assert not knowledge.counts(NODE, TWIN)
    assert not knowledge.learn(NODE, NOW)
    assert not knowledge.learn(NODE, Life(2, 1, 9))
    assert knowledge.learn(NODE, NEXT)
    assert knowledge.counts(NODE, NEXT)


def test_knowledge_does_not_depend_on_the_order_of_news() -> None:
    for news in product(LIVES, repeat=3):
        ends = set()
        for order in permutations(news):
            knowledge = Knowledge()
            for life in order:
                before = knowledge.latest(NODE)
                assert knowledge.learn(NODE, life) == (knowledge.latest(NODE) != before)
            ends.add(knowledge.latest(NODE))
        assert 1 == len(ends), news


def test_what_counts_never_counts_again_once_it_does_not() -> None:
    for life, first, second in product(LIVES, repeat=3):
        if life.nonce == NO_PROCESS:
            continue  # nobody answers with it
        knowledge = Knowledge({NODE: first})
        before = knowledge.counts(NODE, life)
        knowledge.learn(NODE, second)

        assert before or not knowledge.counts(NODE, life)


@given(st.lists(st.tuples(st.sampled_from("abc").map(NodeId), lives), max_size=12))
def test_learning_all_is_learning_each(news: list[tuple[NodeId, Life]]) -> None:
    one, other = Knowledge(), Knowledge()
    learnt = [one.learn(node, life) for node, life in news]

    assert any(learnt) == other.learn_all(news)
    assert one.items() == other.items()
    assert [node for node, _ in one.items()] == sorted({node for node, _ in news})
    assert not other.learn_all(one.items())


def test_knowledge_is_a_copy_of_what_it_starts_from() -> None:
    start = {NODE: NOW}
    knowledge = Knowledge(start)
    knowledge.learn(NODE, NEXT)

    assert {NODE: NOW} == start
