"""What operators are told of what nodes said: the newest, the worst, and whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.fanout import Outcome
from gateway.operating.care import care_view
from gateway.operating.ledger_sum import add_up
from gateway.operating.why import why_view
from node.repair.copy_ledger import bitmap
from ring.errors import Unreachable
from ring.life import Life, NodeId
from ring.limits import PARTITIONS
from ring.messages import Answer, Reply
from ring.operating import (
    CareReply,
    Incident,
    IncidentKind,
    LedgerCount,
    RecordStory,
    StartedReply,
)
from ring.record import RecordKind, RecordState, dead, live
from tests.fakes.small_cluster import DIGEST, small_layout

View = dict[str, Any]  # Any: JSON

LAYOUT = small_layout(5, 3)
GROUP = LAYOUT.group(DIGEST.partition)
FIRST, SECOND, THIRD = GROUP.owners
SPARE = GROUP.spares[0]
NOW_S = 100_000
GOOD = RecordStory(
    RecordState(RecordKind.DATA, 4, live(1), held=True, verified_at_s=NOW_S - 60),
    0, True, (), False, False, "", (), NOW_S,
)
LACKING = replace(GOOD, state=RecordState(RecordKind.DATA, 4, live(1)))


def said(node: NodeId, reply: Reply) -> Outcome:
    return Answer(node, Life(1, 1, 1), True, reply, None, None)


def view_of(stories: Mapping[NodeId, RecordStory]) -> View:
    outcomes = {node: said(node, story) for node, story in stories.items()}
    return why_view(DIGEST, LAYOUT, outcomes)


def words_of(stories: Mapping[NodeId, RecordStory]) -> str:
    return "\n".join(view_of(stories)["words"])


def everywhere(story: RecordStory) -> dict[NodeId, RecordStory]:
    return dict.fromkeys(LAYOUT.nodes, story)


def incident(kind: IncidentKind, ago_s: int, words: str) -> Incident:
    return Incident(NOW_S - ago_s, kind, words)


# --- the story of a digest ------------------------------------------------------------------------


def test_of_what_happened_to_a_copy_the_last_is_told() -> None:
    story = replace(GOOD, incidents=(
        incident(IncidentKind.MISSING, 90_000, "first"),
        incident(IncidentKind.FETCHED, 80_000, "from the second"),
        incident(IncidentKind.PUT_ASIDE, 7_300, "then"),
        incident(IncidentKind.FETCHED, 7_200, "from the third"),
    ))
    words = words_of({**everywhere(GOOD), FIRST: story})
    assert f"{FIRST}'s copy was bad and put aside 2 hours ago (then); from the third" in words
    assert "first" not in words
    assert "from the second" not in words


def test_a_copy_that_came_before_the_damage_did_not_mend_it() -> None:
    story = replace(GOOD, incidents=(
        incident(IncidentKind.FETCHED, 80_000, "from the second"),
        incident(IncidentKind.PUT_ASIDE, 7_200, "then"),
    ))
    words = words_of({**everywhere(GOOD), FIRST: story})
    assert "(then); a good one was put since" in words
    assert "from the second" not in words


@pytest.mark.parametrize("is_waiting", [True, False])
def test_why_the_last_try_failed_is_told_also_while_the_next_one_waits(is_waiting: bool) -> None:
    story = replace(LACKING, trouble="nobody answered", is_waiting=is_waiting)
    words = words_of({**everywhere(GOOD), SECOND: story})
    assert f"{SECOND} has no copy; the last try to fetch it failed (nobody answered)" in words


def test_a_delete_that_one_node_knows_of_is_told() -> None:
    for node in GROUP.owners:
        gone = replace(GOOD, state=RecordState(RecordKind.DATA, 4, dead(1)))
        assert words_of({**everywhere(GOOD), node: gone}).startswith("it was deleted")


def test_a_chunk_that_is_needed_is_no_upload_that_goes() -> None:
    state = RecordState(RecordKind.DATA, 4, held=True, claimed=True)
    words = words_of(everywhere(replace(GOOD, state=state, claims=2)))
    assert "2 large blobs need" in words
    assert "3 of 3 owners have a good copy" in words
    assert "upload" not in words


def test_what_is_deleted_or_not_here_was_verified_at_no_time() -> None:
    buried = RecordState(RecordKind.DATA, 4, dead(1), held=True, verified_at_s=NOW_S - 60)
    lacking = replace(GOOD.state, held=False)
    nodes = view_of({
        **everywhere(GOOD), FIRST: replace(GOOD, state=buried), SECOND: replace(GOOD, state=lacking)
    })["nodes"]
    assert [node["verified_s_ago"] for node in nodes[:3]] == [None, None, 60]


def test_whoever_did_not_answer_is_named_and_an_owner_is_made_up_for() -> None:
    stories = everywhere(GOOD)
    without_spare = {node: story for node, story in stories.items() if node != SPARE}
    words = words_of(without_spare)
    assert f"{SPARE} did not answer" in words
    assert "spares take over" not in words
    without_owner = {node: story for node, story in stories.items() if node != THIRD}
    assert "spares take over" in words_of(without_owner)


# --- care and ledger ------------------------------------------------------------------------------


def ledger(part: int, **changes: int) -> LedgerCount:
    """Of one half of the partitions."""
    half = PARTITIONS // 2
    led = bitmap(range(part * half, (part + 1) * half))
    return replace(LedgerCount(led, (0, 0, 0, 1, 0), 0, 0, 0, 0, 0, 0, ()), **changes)


def test_of_what_nodes_counted_the_oldest_is_told() -> None:
    for order in ((0, 1), (1, 0)):
        older, newer = order
        counts = {
            FIRST: ledger(0, oldest_verified_s=500 + older, age_ms=1_000 * (1 + newer)),
            SECOND: ledger(1, oldest_verified_s=500 + newer, age_ms=1_000 * (1 + older)),
        }
        view = add_up([FIRST, SECOND], counts, {})
        assert (view["oldest_verified_s"], view["counted_s_ago"]) == (500, 2.0)


@pytest.mark.parametrize("what", ["short", "unsettled"])
def test_nothing_is_whole_while_one_digest_is_not(what: str) -> None:
    counts = {FIRST: ledger(0), SECOND: ledger(1, **{what: 1})}
    view = add_up([FIRST, SECOND], counts, {})
    assert not view["whole"]
    assert str(view["words"]).startswith("not whole: 1 ")


def care_reply(count: LedgerCount | None, reason: str = "") -> CareReply:
    return CareReply(count, reason, (("now_s", NOW_S),), ())


def test_how_long_ago_the_oldest_copy_was_verified_is_told_by_each_nodes_own_clock() -> None:
    outcomes = {
        FIRST: said(FIRST, care_reply(ledger(0, oldest_verified_s=NOW_S - 600))),
        SECOND: said(SECOND, care_reply(ledger(1, oldest_verified_s=NOW_S - 60))),
        THIRD: said(THIRD, care_reply(ledger(1))),
    }
    view: View = care_view([FIRST, SECOND, THIRD], outcomes)
    assert view["ledger"]["oldest_verified_s_ago"] == 600


def test_why_a_node_does_not_count_is_told() -> None:
    outcomes: dict[NodeId, Outcome] = {
        FIRST: said(FIRST, care_reply(None, "it has just started")),
        SECOND: Unreachable("it is down"),
    }
    view: View = care_view([FIRST, SECOND, THIRD], outcomes)
    assert view["ledger"]["not_counting"] == {
        FIRST: "it has just started", SECOND: "it is down", THIRD: "no answer"
    }


def test_an_order_that_did_not_arrive_is_no_order_that_is_done() -> None:
    nodes = [FIRST, SECOND, THIRD]
    outcomes = {node: said(node, care_reply(ledger(0))) for node in nodes}
    started: dict[NodeId, Outcome] = {
        FIRST: said(FIRST, StartedReply(7)), SECOND: Unreachable("it is down")
    }
    view: View = care_view(nodes, outcomes, started)
    assert [(row["ticket"], row["error"]) for row in view["nodes"]] == [
        (7, None), (None, "it is down"), (None, "no answer")
    ]
