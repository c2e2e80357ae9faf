"""What nodes learn of digests from covers: the survey alone, and questions to a small cluster."""

from __future__ import annotations

from itertools import permutations

from msgspec.structs import replace

from node.cover_question import CoverFinding, CoverQuestion, Question, Survey
from node.heard_transport import HeardTransport
from ring.digest import Digest
from ring.life import Life, NodeId
from ring.messages import Answer, Request, StatRecords
from ring.quorum import Group, Placement
from ring.record import ABSENT, RecordKind, RecordState, dead, live
from tests.fakes.direct_transport import DirectTransport, receivers_answer
from tests.fakes.small_cluster import DIGEST, SmallCluster, SmallNode, next_layout, small_cluster
from tests.fakes.virtual_time import in_virtual_time

A, B, C, S, T = (NodeId(name) for name in "abcst")
LIFE = Life(1, 1, 7)
PLACEMENT = Placement((Group((A, B, C), (S, T)),))
LIVE = RecordState(RecordKind.DATA, 4, live(1), held=True)
DEAD = RecordState(root=dead(1))
TRASH = RecordState(RecordKind.DATA, 4, dead(1), held=True)


def asked(questions: list[Question]) -> list[NodeId]:
    return [node for node, _ in questions]


def surveyed(answers: dict[NodeId, RecordState | None]) -> CoverFinding:
    """What a survey of one digest finds when exactly these answer; None: as a receiver."""
    survey = Survey({DIGEST: PLACEMENT})
    questions = survey.next_questions()
    while questions:
        for node, digests in questions:
            if node in answers:
                survey.answered(node, LIFE, digests, [answers[node]])
            else:
                survey.failed(node, digests)
        questions = survey.next_questions()
    return survey.findings()[DIGEST]


def test_owners_that_know_nothing_are_a_cover() -> None:
    assert surveyed({A: ABSENT, B: ABSENT, C: ABSENT}).is_gone


def test_a_live_root_anywhere_is_found() -> None:
    for lives_at in (A, B, C):
        found = surveyed({node: LIVE if node is lives_at else DEAD for node in (A, B, C)})

        assert not found.is_live  # the tombstone is newer
        assert found.holders == (lives_at,)
        assert not found.is_gone

    assert surveyed({A: ABSENT, B: LIVE, C: ABSENT}).is_live


def test_what_is_in_somebodys_trash_is_not_gone() -> None:
    found = surveyed({A: DEAD, B: TRASH, C: DEAD})

    assert found.covered
    assert found.newest.root == dead(1)
    assert not found.is_gone


def test_a_silent_node_is_made_up_for_by_spares() -> None:
    assert surveyed({A: ABSENT, B: ABSENT, S: ABSENT, T: ABSENT}).is_gone


def test_too_few_answers_say_nothing_about_absence() -> None:
    for nodes in permutations((A, B, C, S, T), 3):
        if {*nodes} != {A, B, C}:
            found = surveyed(dict.fromkeys(nodes, ABSENT))

            assert not found.covered, nodes
            assert not found.is_gone, nodes


def test_a_receivers_answer_is_silence() -> None:
    assert not surveyed({A: ABSENT, B: None, C: None}).covered


def test_an_answer_of_a_life_that_is_over_is_taken_back() -> None:
    survey = Survey({DIGEST: PLACEMENT})
    for node, digests in survey.next_questions():
        survey.answered(node, LIFE, digests, [ABSENT])
    survey.superseded(B)

    assert not survey.findings()[DIGEST].covered
    assert asked(survey.next_questions()) == [S, T]


def test_answers_of_two_processes_of_one_node_are_not_added_up() -> None:
    other = Digest.of(b"other")
    survey = Survey({DIGEST: PLACEMENT, other: PLACEMENT})
    survey.next_questions()
    survey.answered(A, LIFE, [DIGEST], [ABSENT])
    survey.answered(A, Life(2, 1, 8), [other], [ABSENT])
    for node in (B, C):
        survey.answered(node, LIFE, [DIGEST, other], [ABSENT, ABSENT])

    assert survey.findings()[other].covered
    assert not survey.findings()[DIGEST].covered


def test_what_one_step_asks_of_a_node_travels_together() -> None:
    digests = [Digest.of(b"%d" % number) for number in range(50)]
    survey = Survey(dict.fromkeys(digests, PLACEMENT))

    assert survey.next_questions() == [(node, tuple(digests)) for node in (A, B, C)]


def question_of(cluster: SmallCluster, node: SmallNode) -> CoverQuestion:
    membership = node.service.membership
    direct = DirectTransport(cluster.network, node.node, is_peer=True)
    return CoverQuestion(membership, node.store, HeardTransport(direct, membership), timeout_s=1)


@in_virtual_time
async def test_nodes_learn_what_others_have() -> None:
    async with small_cluster(5) as cluster:
        here = await cluster.store(b"here", on=cluster.owners(Digest.of(b"here"))[:2])
        gone = await cluster.store(b"gone")
        await cluster.gateway().delete(gone)
        for node in cluster.nodes.values():
            found = await question_of(cluster, node).ask([here, gone, DIGEST, here])

            assert found[here].is_live
            assert len(found[here].holders) == 2
            assert not found[gone].is_live
            assert found[gone].newest.root == dead(1)
            assert found[DIGEST].is_gone


@in_virtual_time
async def test_two_silent_owners_leave_no_cover() -> None:
    async with small_cluster(3) as cluster:
        node, *others = cluster.owners(DIGEST)
        cluster.network.faults.down |= {other.node for other in others}

        assert not (await question_of(cluster, node).ask([DIGEST]))[DIGEST].covered


@in_virtual_time
async def test_one_silent_owner_of_three_leaves_a_cover_without_spares() -> None:
    async with small_cluster(3) as cluster:
        node, other, _ = cluster.owners(DIGEST)
        cluster.network.faults.frozen.add(other.node)

        assert (await question_of(cluster, node).ask([DIGEST]))[DIGEST].is_gone


@in_virtual_time
async def test_nodes_that_may_not_vote_are_no_cover() -> None:
    async with small_cluster(3) as cluster:
        node, *others = cluster.owners(DIGEST)
        for other in others:
            cluster.network.faults.rewrite[other.node] = receivers_answer

        assert not (await question_of(cluster, node).ask([DIGEST]))[DIGEST].covered


@in_virtual_time
async def test_a_life_that_is_known_to_be_over_does_not_count() -> None:
    def of_an_earlier_life(request: Request, answer: Answer) -> Answer:
        if isinstance(request, StatRecords):
            return replace(answer, life=Life(0, 0, 99))
        return answer

    async with small_cluster(3) as cluster:
        node, *others = cluster.owners(DIGEST)
        for other in others:
            cluster.network.faults.rewrite[other.node] = of_an_earlier_life

        assert not (await question_of(cluster, node).ask([DIGEST]))[DIGEST].covered


@in_virtual_time
async def test_a_life_that_another_answer_knows_to_be_over_does_not_count() -> None:
    def tells_of_a_later_life(request: Request, answer: Answer) -> Answer:
        return replace(answer, peers=((two.node, Life(9, 9, 9)),))

    async with small_cluster(3) as cluster:
        node, one, two = cluster.owners(DIGEST)
        cluster.network.faults.rewrite[one.node] = tells_of_a_later_life
        assert (await question_of(cluster, node).ask([DIGEST]))[DIGEST].covered
        assert not node.service.membership.knows_no_later(two.node, LIFE)


@in_virtual_time
async def test_a_node_that_knows_newer_layouts_is_no_answer() -> None:
    async with small_cluster(3) as cluster:
        node, *others = cluster.owners(DIGEST)
        newer = (cluster.layout, next_layout(cluster.layout))
        for other in others:
            await other.service.layouts.learn(newer, None)

        assert not (await question_of(cluster, node).ask([DIGEST]))[DIGEST].covered


@in_virtual_time
async def test_layouts_that_change_meanwhile_void_the_question() -> None:
    async with small_cluster(3) as cluster:
        node = cluster.owners(DIGEST)[0]
        newer = (cluster.layout, next_layout(cluster.layout))

        def teach(request: Request, answer: Answer) -> Answer:
            node.service.layouts.live = type(node.service.layouts.live)(newer)
            return answer

        for other in cluster.owners(DIGEST)[1:]:
            cluster.network.faults.rewrite[other.node] = teach

        assert not (await question_of(cluster, node).ask([DIGEST]))[DIGEST].covered


@in_virtual_time
async def test_a_node_that_does_not_vote_does_not_count_itself() -> None:
    async with small_cluster(3) as cluster:
        node, _, silent = cluster.owners(DIGEST)
        await node.service.membership.forgot()
        cluster.network.faults.down.add(silent.node)
        found = await question_of(cluster, node).ask([DIGEST])

        assert not found[DIGEST].covered
