"""The ledgers of all nodes added up: how many digests have how many verified copies.

Each partition is counted by the node that leads it.  What nobody counted, or two did, is said:
then nothing is called whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from ring.life import NodeId
from ring.limits import PARTITIONS
from ring.operating import COPIES_TOLD, LedgerCount

View = dict[str, object]
_PREFIXES_TOLD, _PREFIXES_SHOWN = 16, 3
_NAMES = (*map(str, range(COPIES_TOLD - 1)), "more")


def add_up(
    nodes: Sequence[NodeId], counts: Mapping[NodeId, LedgerCount], reasons: Mapping[NodeId, str]
) -> View:
    """Keys: copies (0, 1, 2, 3, more), digests, short, unsettled, left_over, waiting_bytes,
    oldest_verified_s, counted_s_ago, partitions_uncounted, uncounted_prefixes (the digits with
    which the digests of these begin, some of them), partitions_counted_twice,
    not_counting (node: why), not_compared (node: which keepers), whole, words.

    reasons: why a node gave no count.
    """
    once, twice = 0, 0
    for node in nodes:
        if node in counts:
            led = int.from_bytes(counts[node].led, "little")
            twice |= once & led
            once |= led
    known = [counts[node] for node in nodes if node in counts]
    copies = [sum(count.copies[at] for count in known) for at in range(COPIES_TOLD)]
    left_over = sum(count.left_over for count in known)
    ages = [count.oldest_verified_s for count in known if count.oldest_verified_s]
    view: View = {
        "copies": dict(zip(_NAMES, copies, strict=True)),
        "digests": sum(copies),
        "short": sum(count.short for count in known),
        "unsettled": sum(count.unsettled for count in known),
        "left_over": left_over,
        "waiting_bytes": sum(count.waiting_bytes for count in known),
        "oldest_verified_s": min(ages, default=None),
        "counted_s_ago": max((count.age_ms for count in known), default=0) / 1000,
        "partitions_uncounted": PARTITIONS - once.bit_count(),
        "uncounted_prefixes": _prefixes(once),
        "partitions_counted_twice": twice.bit_count(),
        "not_counting": {node: reasons[node] for node in nodes if node in reasons},
        "not_compared": {
            node: list(counts[node].not_compared)
            for node in nodes
            if node in counts and counts[node].not_compared
        },
    }
    view["whole"] = bool(known) and not any(
        view[key]
        for key in ("short", "unsettled", "partitions_uncounted", "partitions_counted_twice")
    )
    return view | {"words": _words(view, copies) + _left_over(left_over)}


def _prefixes(counted: int) -> list[str]:
    bits = f"{counted:0{PARTITIONS}b}"[::-1]
    missing = (number for number, bit in enumerate(bits) if bit == "0")
    return [f"{number:03x}" for number in islice(missing, _PREFIXES_TOLD)]


def _words(view: View, copies: Sequence[int]) -> str:
    digests = f"{view['digests']:,} digest{'' if view['digests'] == 1 else 's'}"
    if view["whole"]:
        return f"whole: all of {digests} have all their copies, counted {_ago(view)} s ago"
    parts = []
    if view["short"]:
        none = f", {copies[0]:,} of them none at all" if copies[0] else ""
        have = "has" if view["short"] == 1 else "have"
        parts.append(f"{view['short']:,} of {digests} {have} fewer copies than they should{none}")
    if view["unsettled"]:
        are = "difference is" if view["unsettled"] == 1 else "differences are"
        parts.append(f"{view['unsettled']:,} {are} still to be looked at")
    if view["partitions_uncounted"]:
        prefixes = view["uncounted_prefixes"]
        assert isinstance(prefixes, list)
        parts.append(
            f"{view['partitions_uncounted']:,} of {PARTITIONS:,} partitions are not counted,"
            " because nobody leads them at the moment: digests that begin with"
            f" {', '.join(prefixes[:_PREFIXES_SHOWN])}..."
        )
    if view["partitions_counted_twice"]:
        parts.append(
            f"{view['partitions_counted_twice']:,} partitions are counted twice: nodes do not"
            " agree at the moment on who leads them"
        )
    return "not whole: " + "; ".join(parts)


def _left_over(chunks: int) -> str:
    if not chunks:
        return ""
    what = "chunk that no blob needs goes" if chunks == 1 else "chunks that no blob needs go"
    return f"; besides, {chunks:,} {what} when the grace of uploads is over"


def _ago(view: View) -> str:
    seconds = view["counted_s_ago"]
    assert isinstance(seconds, float)
    return f"{seconds:.0f}"
