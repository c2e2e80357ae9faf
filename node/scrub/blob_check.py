"""Hashes large blobs as wholes: their chunks, from wherever a good copy is, against their digest.

A recipe has a checksum, but whether it is the right one for its digest is only known to whoever saw
all the bytes.  So the first keeper of a blob looks at all of them once in a while.

Rules:
1.  Nothing is changed and nothing deleted: a recipe that does not match is told loudly.
2.  One chunk is in memory at a time.
3.  A chunk that cannot be had says nothing about the recipe.
"""

from __future__ import annotations

import asyncio
import enum
from collections import Counter
from collections.abc import Sequence
from typing import Final

from node.local_store import LocalRecordStore
from node.membership import Membership
from node.repair.pace import Pace
from node.repair.peers import Peers
from ring.digest import Buffer, Digest
from ring.errors import Corrupt, HoldfastError
from ring.life import NodeId
from ring.limits import KIB
from ring.recipe import Recipe
from ring.record import RecordKey, RecordKind

_SLICE_BYTES: Final = 256 * KIB  # half a millisecond of the event loop with the slowest algorithm


class BlobVerdict(enum.Enum):
    """What came out."""

    GOOD = "good"
    WRONG = "wrong"  # all chunks are here and good, and they are not this blob
    UNKNOWN = "unknown"  # a chunk could not be had, or there is no recipe any more


class BlobCheck:
    """Over this node's store and its peers."""

    def __init__(
        self,
        membership: Membership,
        store: LocalRecordStore,
        peers: Peers,
        counters: Counter[str],
    ) -> None:
        self._counters = counters
        self._membership = membership
        self._store = store
        self._peers = peers

    async def run(self, key: RecordKey, pace: Pace) -> tuple[BlobVerdict, str]:
        """The verdict and why, in words.  Raises StorageFault."""
        state, value = await self._store.get(key)
        if value is None or state.kind is not RecordKind.RECIPE:
            return BlobVerdict.UNKNOWN, "its recipe is not here"
        try:
            recipe = Recipe.decode(key.digest, value)
        except Corrupt as error:
            return BlobVerdict.UNKNOWN, error.detail  # a bad copy, which `verify` puts aside
        hasher = key.digest.algorithm.hasher()
        for number, chunk in enumerate(recipe.chunks):
            data = await self._chunk(chunk)
            if data is None or len(data) != recipe.chunk_bytes(number):
                return BlobVerdict.UNKNOWN, f"no good copy of its chunk {chunk} could be had"
            view = memoryview(data)
            for start in range(0, len(view), _SLICE_BYTES):
                hasher.update(view[start : start + _SLICE_BYTES])
                await asyncio.sleep(0)
            self._counters["scrub_blob_bytes_total"] += len(data)
            await pace.spend(len(data))
        if hasher.digest() == key.digest.raw:
            return BlobVerdict.GOOD, ""
        return BlobVerdict.WRONG, "its recipe names chunks that do not add up to its digest"

    async def _chunk(self, chunk: Digest) -> Buffer | None:
        """A chunk that is what its digest says."""
        key = RecordKey(chunk)
        for node in (None, *self._sources(chunk)):
            try:
                if node is None:
                    _, data = await self._store.get(key)
                else:
                    _, data = await self._peers.value(node, key)
            except HoldfastError:
                continue
            if data is not None and chunk.matches(data):
                return data
        return None

    def _sources(self, chunk: Digest) -> Sequence[NodeId]:
        eligible = self._membership.layouts.live.placement(chunk).eligible
        return [node for node in eligible if node != self._membership.node]
