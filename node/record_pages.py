"""The records of a range of partitions at a peer, page by page.

Keys are ordered by algorithm first, so a range of partitions is a stretch of keys for each.
"""

from __future__ import annotations

from ring.digest import Algorithm, Digest
from ring.limits import LIST_ENTRIES_MAX, PARTITION_BITS
from ring.listing import check_page
from ring.record import RecordEntry, RecordKey
from ring.seams import RecordStore


class RecordPages:
    """partitions: a range without gaps.  Raises what the peer raises, and PeerProtocol."""

    def __init__(self, client: RecordStore, partitions: range) -> None:
        assert partitions.step == 1
        self._client = client
        self._partitions = partitions
        self._stretches = list(Algorithm)
        self._after: RecordKey | None = None
        self._is_begun = False

    async def next(self) -> list[RecordEntry] | None:
        """The next records in the order of their keys; None when there are no more."""
        while self._stretches:
            algorithm = self._stretches[0]
            if not self._is_begun:
                self._after = _before(algorithm, self._partitions.start)
                self._is_begun = True
            entries, done = await self._client.page(
                self._after, LIST_ENTRIES_MAX, roots_only=False
            )
            check_page(self._after, [entry.key for entry in entries], done=done)
            wanted = [entry for entry in entries if self._is_in(algorithm, entry.key.digest)]
            if done:
                return self._last_of(entries)
            if len(wanted) < len(entries):
                self._stretches.pop(0)
                self._is_begun = False
            else:
                self._after = entries[-1].key
            if wanted:
                return wanted
        return None

    def _last_of(self, entries: list[RecordEntry]) -> list[RecordEntry] | None:
        """What is wanted of the page after which the peer has nothing; it may be of later ones."""
        wanted = [
            entry
            for entry in entries
            if any(self._is_in(algorithm, entry.key.digest) for algorithm in self._stretches)
        ]
        self._stretches = []
        return wanted or None

    def _is_in(self, algorithm: Algorithm, digest: Digest) -> bool:
        return digest.algorithm is algorithm and digest.partition in self._partitions


def _before(algorithm: Algorithm, partition: int) -> RecordKey | None:
    """The last key before those of a partition; None when there can be none."""
    if partition:
        bits = 8 * algorithm.size_bytes
        first = partition << (bits - PARTITION_BITS)
        return RecordKey(Digest(algorithm, (first - 1).to_bytes(algorithm.size_bytes, "big")))
    earlier = [other for other in Algorithm if other < algorithm]
    if not earlier:
        return None
    return RecordKey(Digest(earlier[-1], b"\xff" * earlier[-1].size_bytes))
