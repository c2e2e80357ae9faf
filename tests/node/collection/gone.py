"""Nodes of a small cluster whose collection is driven by hand, and what they collect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from node.collection.collection import Collection
from node.collection.collection_settings import DAY_S, CollectionSettings
from node.heard_transport import HeardTransport
from ring.digest import Digest
from ring.recipe import Recipe
from ring.record import RecordKey, RecordKind
from tests.fakes.direct_transport import DirectTransport
from tests.fakes.manual_clock import ManualClock
from tests.fakes.small_cluster import SmallCluster, SmallNode

SETTINGS = CollectionSettings(call_timeout_s=1.0)


@dataclass
class Collected:
    """The collection of one node."""

    collection: Collection
    clock: ManualClock
    counters: Counter[str]

    def later(self, seconds: float = DAY_S) -> None:
        """The clock of this node goes on; the stores' stand."""
        self.clock.seconds += seconds


def collected(
    cluster: SmallCluster, node: SmallNode, settings: CollectionSettings = SETTINGS
) -> Collected:
    """A collection over the node's own store, which is not begun."""
    clock, counters = ManualClock(), Counter[str]()
    membership = node.service.membership
    direct = DirectTransport(cluster.network, node.node, is_peer=True)
    collection = Collection(
        membership=membership,
        store=node.store,
        transport=HeardTransport(direct, membership),
        clock=clock,
        settings=settings,
        counters=counters,
    )
    return Collected(collection, clock, counters)


def every_collection(
    cluster: SmallCluster, settings: CollectionSettings = SETTINGS
) -> list[Collected]:
    """One for each node, a day after everything was stored."""
    found = [collected(cluster, node, settings) for node in cluster.nodes.values()]
    for one in found:
        one.later()
    return found


def holders(cluster: SmallCluster, value: bytes) -> int:
    """How many nodes have these bytes."""
    digest = Digest.of(value)
    return sum(node.holds(digest) for node in cluster.nodes.values())


def nodes_of(cluster: SmallCluster) -> list[SmallNode]:
    """In the order of their names."""
    return list(cluster.nodes.values())


async def bury(nodes: Sequence[SmallNode], digest: Digest, generation: int = 1) -> None:
    """Hold a tombstone without trash."""
    for node in nodes:
        await node.store.bury(RecordKey(digest), generation)


async def large_blob(cluster: SmallCluster, *chunks: bytes) -> Digest:
    """File a recipe and its claimed chunks at their owners, as if it were large."""
    names = [Digest.of(chunk) for chunk in chunks]
    blob = Digest.of(b"large: " + b"".join(chunks))
    for name, value in zip(names, chunks, strict=True):
        for node in cluster.owners(name):
            await node.store.put_chunk(RecordKey(name), blob, value)
    size_bytes = 5_000_000
    recipe = Recipe(size_bytes, (names[0], names[-1])).encode(blob)
    for node in cluster.owners(blob):
        await node.store.put_root(RecordKey(blob), RecordKind.RECIPE, size_bytes, 1, recipe)
    return blob
