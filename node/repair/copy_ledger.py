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
4.  A chunk that was found to be left over, and differs from nobody for another reason, is counted
    as that and as nothing else.
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
    """What a complete comparison with one keeper found.  age_ms: how long ago.

    left_over: chunks that nobody needs, which one of both lacks; not among those that differ.
    """

    differing: Collection[RecordKey]
    age_ms: int
    left_over: Collection[RecordKey] = ()


def count_copies(
    led: Sequence[int],
    partitions: Iterable[LedPartition],
    compared: Mapping[NodeId, Difference],
    state_of: Callable[[RecordKey], RecordState],
) -> LedgerCount:
    """led: all partitions that this node leads; partitions: those of which there is anything.

    compared: only keepers that were compared to the end, and lately.
    """
    exceptions = _by_partition(one.differing for one in compared.values())
    left = _by_partition(one.left_over for one in compared.values())
    sums = _Sums(compared, state_of)
    known_of: dict[tuple[NodeId, ...], list[NodeId]] = {}
    unseen = dict.fromkeys(led)
    for one in partitions:
        unseen.pop(one.partition, None)
        known = known_of.get(one.others)
        if known is None:
            known = known_of[one.others] = [node for node in one.others if node in compared]
        differing = exceptions.get(one.partition, {})
        left_here = [key for key in left.get(one.partition, ()) if key not in differing]
        sums.add(one, known, differing, left_here)
    for partition in unseen:
        sums.unsettled += len(exceptions.get(partition, ()))
        sums.left_over += len(left.get(partition, ()))
    others = dict.fromkeys(node for nodes in known_of for node in nodes)
    return LedgerCount(
        led=bitmap(led),
        copies=tuple(sums.copies),
        short=sums.short,
        unsettled=sums.unsettled,
        left_over=sums.left_over,
        waiting_bytes=sums.waiting_bytes,
        oldest_verified_s=sums.oldest_s or 0,
        age_ms=max((compared[node].age_ms for node in others if node in compared), default=0),
        not_compared=tuple(sorted(node for node in others if node not in compared)),
    )


class _Sums:
    """What was counted so far."""

    def __init__(
        self,
        compared: Mapping[NodeId, Difference],
        state_of: Callable[[RecordKey], RecordState],
    ) -> None:
        self.copies = [0] * COPIES_TOLD
        self.short = self.unsettled = self.left_over = self.waiting_bytes = 0
        self.oldest_s: int | None = None
        self._compared = compared
        self._state_of = state_of

    def add(
        self,
        one: LedPartition,
        known: Sequence[NodeId],
        differing: Collection[RecordKey],
        left: Sequence[RecordKey],
    ) -> None:
        """Count a partition; known: of its other keepers those that were compared."""
        wanted, compared = 1 + len(one.others), 1 + len(known)
        held, lost = one.held, one.kept - one.held
        for key in left:
            state = self._state_of(key)
            held -= state.held and needs_value(state)
        self.left_over += len(left)
        for key in differing:
            state = self._state_of(key)
            if not needs_value(state):
                self.unsettled += 1
                continue
            differ = sum(key in self._compared[node].differing for node in known)
            if state.held:
                held -= 1
                found = compared - differ
            else:
                lost -= 1
                found = differ
            self._tell(found, 1)
            if found < wanted:
                self.short += 1
                self.waiting_bytes += (wanted - found) * state.size_bytes
        held, lost = max(0, held), max(0, lost)
        self._tell(compared, held)
        self._tell(0, lost)
        self.short += lost + (held if compared < wanted else 0)
        if one.oldest_s is not None:
            before_s = one.oldest_s if self.oldest_s is None else self.oldest_s
            self.oldest_s = min(one.oldest_s, before_s)

    def _tell(self, found: int, digests: int) -> None:
        self.copies[min(found, COPIES_TOLD - 1)] += digests


def bitmap(partitions: Iterable[int]) -> bytes:
    """See LedgerCount.led."""
    found = bytearray(PARTITION_BITMAP_BYTES)
    for partition in partitions:
        assert 0 <= partition < PARTITIONS
        found[partition // 8] |= 1 << partition % 8
    return bytes(found)


def _by_partition(
    several: Iterable[Collection[RecordKey]],
) -> dict[int, dict[RecordKey, None]]:
    found: dict[int, dict[RecordKey, None]] = {}
    for keys in several:
        for key in keys:
            found.setdefault(key.digest.partition, {})[key] = None
    return found

