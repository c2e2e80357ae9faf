"""What is the matter with a digest, and what will happen: the words of every node put together.

It concludes nothing that a node did not say, and says who said nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.fanout import Outcome
from gateway.operating.copies import root_text
from ring.digest import Digest
from ring.errors import HoldfastError
from ring.facts import needs_value
from ring.layout import Layout
from ring.life import NodeId
from ring.operating import Incident, IncidentKind, RecordStory
from ring.record import NO_ROOT, RecordKind, Root, generation_of, is_live

View = dict[str, object]
Stories = Mapping[NodeId, RecordStory]

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
_BAD = (IncidentKind.PUT_ASIDE, IncidentKind.MISSING, IncidentKind.GIVEN_UP)
_SAID = {
    IncidentKind.PUT_ASIDE: "copy was bad and put aside",
    IncidentKind.MISSING: "copy was gone",
    IncidentKind.GIVEN_UP: "copy could not be read and was given up",
    IncidentKind.FETCHED: "fetched",
    IncidentKind.HANDED_OVER: "copy kept for others was dropped",
    IncidentKind.NOT_REPAIRED: "a repair failed",
    IncidentKind.COLLECTED: "collected as garbage",
    IncidentKind.PURGED: "its delete was forgotten",
    IncidentKind.WRONG_RECIPE: "its recipe is wrong",
    IncidentKind.UNREADABLE: "copy could not be read",
}


def why_view(digest: Digest, layout: Layout, outcomes: Mapping[NodeId, Outcome]) -> View:
    """Keys: digest, partition, epoch, owners, spares, words (sentences), nodes: a list of node,
    role, error, held, root, verified_s_ago, claims, waiting, trouble, quarantined and incidents
    (s_ago, what, words, times).
    """
    group = layout.group(digest.partition)
    stories = {
        node: outcome.reply
        for node, outcome in outcomes.items()
        if not isinstance(outcome, HoldfastError) and isinstance(outcome.reply, RecordStory)
    }
    rest = [node for node in layout.nodes if node not in group.eligible]
    nodes = [*group.eligible, *rest]
    return {
        "digest": str(digest),
        "partition": digest.partition,
        "epoch": layout.epoch,
        "owners": list(group.owners),
        "spares": list(group.spares),
        "words": _words(group.owners, group.spares, nodes, stories),
        "nodes": [_node(node, _role(node, group.owners, rest), outcomes) for node in nodes],
    }


def _role(node: NodeId, owners: Sequence[NodeId], rest: Sequence[NodeId]) -> str:
    if node in owners:
        return "owner"
    return "none" if node in rest else "spare"


def _node(node: NodeId, role: str, outcomes: Mapping[NodeId, Outcome]) -> View:
    outcome = outcomes.get(node)
    view: View = {"node": node, "role": role, "error": None}
    if outcome is None or isinstance(outcome, HoldfastError):
        return view | {"error": "no answer" if outcome is None else outcome.detail}
    story = outcome.reply
    if not isinstance(story, RecordStory):
        return view | {"error": f"answered {type(story).__name__} when asked for a record"}
    state = story.state
    verified = state.verified_at_s if state.held and needs_value(state) else 0
    return view | {
        "held": state.held,
        "root": root_text(state.root),
        "verified_s_ago": max(0, story.now_s - verified) if verified else None,
        "claims": story.claims,
        "waiting": story.is_waiting,
        "trouble": story.trouble or None,
        "quarantined": list(story.quarantined),
        "incidents": [
            {
                "s_ago": max(0, story.now_s - one.at_s),
                "what": _SAID[one.kind],
                "words": one.words,
                "times": one.times,
            }
            for one in story.incidents
        ],
    }


def _words(
    owners: Sequence[NodeId],
    spares: Sequence[NodeId],
    nodes: Sequence[NodeId],
    stories: Stories,
) -> list[str]:
    words = _of_the_record(owners, nodes, stories)
    silent = [node for node in nodes if node not in stories]
    if silent:
        will = ""
        if spares and any(node in owners for node in silent):
            will = "; spares take over the copies of an owner that stays away"
        words.append(f"{', '.join(silent)} did not answer: what is there is not known{will}")
    return words


def _of_the_record(
    owners: Sequence[NodeId], nodes: Sequence[NodeId], stories: Stories
) -> list[str]:
    told = {node: stories[node] for node in nodes if node in stories}
    if not told:
        return ["no node answered"]
    root = max(story.state.root for story in told.values())
    claims = max(story.claims for story in told.values())
    is_wanted = is_live(root) or claims > 0
    holders = [node for node, story in told.items() if story.state.held]
    words = [_what_it_is(root, claims, told)]
    if any(story.is_left_over for story in told.values()) and not is_live(root):
        words.append(f"its bytes are on {_list(holders)}, and go when the grace is over")
        return words + _quarantined(told)
    if not is_wanted:
        if holders:
            words.append(
                f"its bytes are still on {_list(holders)} and may go any time;"
                " while they are there, `holdfast admin undelete` brings it back"
                if root != NO_ROOT
                else f"its bytes are on {_list(holders)}: an upload that has not ended"
            )
        return words + _quarantined(told)
    good = [node for node in owners if node in holders]
    extra = [node for node in holders if node not in owners]
    if holders:
        words.append(f"{len(good)} of {len(owners)} owners have a good copy: {_list(good)}")
    else:
        words.append(
            "no good copy on any node that answered: it cannot be read until one comes back,"
            " or the same bytes are put again"
        )
    if extra:
        words.append(f"{_list(extra)} keeps a copy for others, and drops it when they have theirs")
    for node in nodes:
        if node in told:
            words += _of_node(node, told[node], is_owner=node in owners)
    return words + _quarantined(told)


def _what_it_is(root: Root, claims: int, told: Stories) -> str:
    kinds = {story.state.kind for story in told.values()}
    size = max(story.state.size_bytes for story in told.values())
    if is_live(root):
        large = ", kept as a list of chunks" if RecordKind.RECIPE in kinds else ""
        generation = generation_of(root)
        again = f", in generation {generation} (deleted and put again)" if generation > 1 else ""
        return f"a {'large blob' if large else 'blob'} of {size:,} bytes{large}{again}"
    if claims and any(story.is_left_over for story in told.values()):
        return f"a chunk of {size:,} bytes of an upload that was broken off: no blob needs it"
    if claims:
        needing = "1 large blob needs" if claims == 1 else f"{claims:,} large blobs need"
        return f"a chunk of {size:,} bytes that {needing}"
    if root != NO_ROOT:
        return "it was deleted"
    if any(story.state.held for story in told.values()):
        return f"{size:,} bytes that nobody put as a blob"
    return "nothing is known of it where anybody answered"


def _of_node(node: NodeId, story: RecordStory, *, is_owner: bool) -> list[str]:
    """What happened to the copy of a node, and what will."""
    words = []
    bad = next((one for one in reversed(story.incidents) if one.kind in _BAD), None)
    if bad is not None:
        words.append(
            f"{node}'s {_SAID[bad.kind]} {_ago(story, bad)} ({bad.words})"
            + _mended(node, story, bad, is_owner=is_owner)
        )
    elif is_owner and not story.state.held:
        words.append(f"{node} has no copy" + _plans(node, story))
    words += [
        f"{node}: {one.words}"
        for one in story.incidents[-1:]
        if one.kind in {IncidentKind.WRONG_RECIPE, IncidentKind.UNREADABLE}
    ]
    return words


def _mended(node: NodeId, story: RecordStory, bad: Incident, *, is_owner: bool) -> str:
    if not story.state.held:
        return _plans(node, story) if is_owner else ""
    fetched = next(
        (one for one in reversed(story.incidents) if one.kind is IncidentKind.FETCHED), None
    )
    if fetched is not None and fetched.at_s >= bad.at_s:
        return f"; {fetched.words} {_ago(story, fetched)}"
    return "; a good one was put since"


def _plans(node: NodeId, story: RecordStory) -> str:
    if story.trouble:
        return f"; the last try to fetch it failed ({story.trouble}) and is repeated"
    if story.is_waiting:
        return f"; {node} will fetch it in a moment"
    return f"; {node} will fetch it when it next compares (holdfast admin repair begins that)"


def _quarantined(told: Stories) -> list[str]:
    kept = {node: story.quarantined for node, story in told.items() if story.quarantined}
    count = sum(map(len, kept.values()))
    if not count:
        return []
    places = "; ".join(f"{node}: {', '.join(names)}" for node, names in kept.items())
    noun = "copy is" if count == 1 else "copies are"
    return [f"{count} quarantined {noun} kept, below the nodes' data directories: {places}"]


def _list(nodes: Sequence[NodeId]) -> str:
    return ", ".join(nodes) if nodes else "none"


def _ago(story: RecordStory, incident: Incident) -> str:
    return ago(max(0, story.now_s - incident.at_s))


def ago(seconds: int) -> str:
    """A time that has passed, in words."""
    for unit_s, name in ((_DAY_S, "days"), (_HOUR_S, "hours"), (_MINUTE_S, "minutes")):
        if seconds >= 2 * unit_s:
            return f"{seconds // unit_s} {name} ago"
    return f"{seconds} seconds ago" if seconds > 1 else "just now"
