"""Counts digests by their verified copies, from what comparisons found.  A machine.

The node that leads a partition (the first of its keepers that is not silent) counts it: what is
here, and for each other keeper what the last comparison said.  Equal facts mean equal copies; a
record in `differing` is no copy of that keeper.

Rules:
1.  When in doubt a copy is not counted: a keeper that was not compared lately, or not to the end,
    has none.
2.  A record that must have its bytes, has none here and differs from nobody has no copy anywhere:
    the facts of those who lack it are equal, too.
3.  One that differs and has none here is counted with as many copies as keepers differ: who lacks
    it cannot know better before it has asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from ring.facts import needs_value
from ring.life import NodeId
from ring.limits import PARTITIONS
from ring.operating import COPIES_TOLD, PARTITION_BITMAP_BYTES, LedgerCount
from ring.record import RecordKey, RecordState


class LedPartition(Struct, frozen=True):
    """others: the other keepers.  kept: records that must have their bytes; held: those that do.

    oldest_s: see PartitionFacts.
    """

    partition: int
    others: tuple[NodeId, ...]
    kept: int
    held: int
    oldest_s: int | None


class Difference(Struct, frozen=True):
    """What a complete comparison with one keeper found.  age_ms: how long ago."""

    differing: Collection[RecordKey]
    age_ms: int


def count_copies(
    led: Sequence[int],
    partitions: Iterable[LedPartition],
    compared: Mapping[NodeId, Difference],
    state_of: Callable[[RecordKey], RecordState],
) -> LedgerCount:
    """led: all partitions that this node leads; partitions: those of which there is anything.

    compared: only keepers that were compared to the end, and lately.
    """
    exceptions = _by_partition(compared)
    copies = [0] * COPIES_TOLD
    short = unsettled = waiting_bytes = 0
    oldest_s: int | None = None
    known_of: dict[tuple[NodeId, ...], list[NodeId]] = {}
    seen: set[int] = set()
    is_led = frozenset(led)
    for one in partitions:
        seen.add(one.partition)
        known = known_of.get(one.others)
        if known is None:
            known = known_of[one.others] = [node for node in one.others if node in compared]
        wanted = 1 + len(one.others)
        usual_held, usual_lost = one.held, one.kept - one.held
        for key in exceptions.get(one.partition, ()):
            state = state_of(key)
            if not needs_value(state):
                unsettled += 1
                continue
            differ = sum(key in compared[node].differing for node in known)
            if state.held:
                usual_held -= 1
                found = 1 + len(known) - differ
            else:
                usual_lost -= 1
                found = differ
            _tell(copies, found, 1)
            if found < wanted:
                short += 1
                waiting_bytes += (wanted - found) * state.size_bytes
        usual_held, usual_lost = max(0, usual_held), max(0, usual_lost)
        _tell(copies, 1 + len(known), usual_held)
        _tell(copies, 0, usual_lost)
        short += usual_lost + (usual_held if 1 + len(known) < wanted else 0)
        if one.oldest_s is not None:
            oldest_s = one.oldest_s if oldest_s is None else min(oldest_s, one.oldest_s)
    unsettled += sum(
        len(keys) for partition, keys in exceptions.items()
        if partition not in seen and partition in is_led
    )
    others = dict.fromkeys(node for nodes in known_of for node in nodes)
    return LedgerCount(
        led=bitmap(led),
        copies=tuple(copies),
        short=short,
        unsettled=unsettled,
        waiting_bytes=waiting_bytes,
        oldest_verified_s=oldest_s or 0,
        age_ms=max((compared[node].age_ms for node in others if node in compared), default=0),
        not_compared=tuple(sorted(node for node in others if node not in compared)),
    )


def bitmap(partitions: Iterable[int]) -> bytes:
    """See LedgerCount.led."""
    found = bytearray(PARTITION_BITMAP_BYTES)
    for partition in partitions:
        assert 0 <= partition < PARTITIONS
        found[partition // 8] |= 1 << partition % 8
    return bytes(found)


def _by_partition(compared: Mapping[NodeId, Difference]) -> dict[int, dict[RecordKey, None]]:
    found: dict[int, dict[RecordKey, None]] = {}
    for difference in compared.values():
        for key in difference.differing:
            found.setdefault(key.digest.partition, {})[key] = None
    return found


def _tell(copies: list[int], found: int, digests: int) -> None:
    copies[min(found, COPIES_TOLD - 1)] += digests
