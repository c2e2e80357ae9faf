"""Whether a cluster in peace has come to rest: what each node has is what it should have.

`take_stock` reads a store, `differences` compares what all of them have with the layouts: an empty
list of words means converged.  It knows nothing of how the product gets there.

1.  Of every live blob each owner has the newest root and a whole copy; of each chunk of a live
    large blob each owner has a whole copy, with the blob's claim on it.
2.  Where the newest root is a tombstone, every owner has it, or has purged it.
3.  No floor is above every tombstone ever sent into its partition.
4.  With `only`: nothing else is kept.  No copies on others than owners, no records of what is
    dead, no chunks that no live blob needs.  The tombstone of a digest that is also a chunk of a
    live blob stays wherever it is: it goes when nobody keeps bytes under it any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from node.local_store import LocalRecordStore
from ring.digest import Digest
from ring.errors import Corrupt
from ring.layout import LiveLayouts
from ring.life import NodeId
from ring.limits import LIST_ENTRIES_MAX
from ring.recipe import Recipe
from ring.record import (
    NO_ROOT,
    RecordKey,
    RecordKind,
    RecordState,
    Root,
    generation_of,
    is_live,
)
from tests.sim.message_words import short


@dataclass(frozen=True, slots=True)
class Kept:
    """What a node has of a record.  is_whole: its bytes are here and right."""

    state: RecordState
    is_whole: bool = False
    recipe: Recipe | None = None
    claimants: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class Stock:
    """All that a node has."""

    records: dict[RecordKey, Kept] = field(default_factory=dict)
    floors: dict[int, int] = field(default_factory=dict)


async def take_stock(store: LocalRecordStore) -> Stock:
    """Read everything; what changes meanwhile is seen before or after."""
    stock = Stock(floors=await store.floors())
    after, done = None, False
    while not done:
        entries, done = await store.page(after, LIST_ENTRIES_MAX, roots_only=False)
        for entry in entries:
            stock.records[entry.key] = await _kept(store, entry.key)
            after = entry.key
    return stock


async def _kept(store: LocalRecordStore, key: RecordKey) -> Kept:
    state, value = await store.get(key)
    claimants, done = await store.claims(key, None, LIST_ENTRIES_MAX)
    assert done
    kept = Kept(state, claimants=tuple(claimants))
    if not isinstance(value, bytes | bytearray | memoryview):
        return kept
    if state.kind is not RecordKind.RECIPE:
        return Kept(state, key.digest.matches(value), None, kept.claimants)
    try:
        return Kept(state, True, Recipe.decode(key.digest, value), kept.claimants)
    except Corrupt:
        return kept


def differences(
    stocks: Mapping[NodeId, Stock],
    live: LiveLayouts,
    *,
    promised: Collection[Digest],
    buried: Mapping[int, int],
    only: bool,
) -> list[str]:
    """What is not as it should be, in words.

    promised: blobs that must be complete.  Another one may have been lost before anybody was told
    that it is there; then what is left of it is not looked at.  buried: by partition, the highest
    generation of a tombstone that was ever sent.
    """
    return _Comparison(stocks, live, promised, only=only).differences(buried)


class _Comparison:
    def __init__(
        self,
        stocks: Mapping[NodeId, Stock],
        live: LiveLayouts,
        promised: Collection[Digest],
        *,
        only: bool,
    ) -> None:
        self._stocks = stocks
        self._live = live
        self._promised = promised
        self._only = only
        keys = sorted({key for stock in stocks.values() for key in stock.records})
        self._roots = {key: self._newest(key) for key in keys}
        self._found: list[str] = []
        self._passed_over: dict[RecordKey, None] = {}
        self._needed: dict[RecordKey, list[Digest]] = {}  # chunks and the blobs that need them

    def differences(self, buried: Mapping[int, int]) -> list[str]:
        """See above."""
        for key, root in self._roots.items():
            if is_live(root):
                self._look_at_live(key, root)
            elif root != NO_ROOT:
                self._look_at_dead(key, root)
        for chunk, blobs in self._needed.items():
            self._look_at_chunk(chunk, blobs)
        self._look_at_floors(buried)
        if self._only:
            self._look_for_more()
        return self._found

    def _look_at_live(self, key: RecordKey, root: Root) -> None:
        whole = [kept for kept in self._all(key) if kept.is_whole]
        recipe = next((kept.recipe for kept in whole if kept.recipe is not None), None)
        chunks = [] if recipe is None else [RecordKey(chunk) for chunk in recipe.chunks]
        complete = whole and all(any(k.is_whole for k in self._all(chunk)) for chunk in chunks)
        if not complete and key.digest not in self._promised:
            for one in (key, *chunks):
                self._passed_over[one] = None
            return
        for chunk in chunks:
            self._needed.setdefault(chunk, []).append(key.digest)
        for node in self._owners(key):
            kept = self._at(node, key)
            if kept.state.root != root:
                self._say(node, key, f"has root {kept.state.root}, the newest is {root}")
            elif not kept.is_whole:
                self._say(node, key, f"has no whole copy of it ({kept.state})")

    def _look_at_dead(self, key: RecordKey, root: Root) -> None:
        for node in self._owners(key):
            kept = self._at(node, key)
            floor = self._stocks[node].floors.get(key.digest.partition, 0)
            is_purged = not kept.state.exists and floor >= generation_of(root)
            if kept.state.root != root and not is_purged:
                self._say(node, key, f"has root {kept.state.root}, the tombstone is {root}")

    def _look_at_chunk(self, chunk: RecordKey, blobs: list[Digest]) -> None:
        for node in self._owners(chunk):
            kept = self._at(node, chunk)
            if not kept.is_whole:
                self._say(node, chunk, f"has no whole copy of a chunk of {short(blobs[0])}")
            for blob in blobs:
                if blob not in kept.claimants:
                    self._say(node, chunk, f"has no claim of {short(blob)}")

    def _look_at_floors(self, buried: Mapping[int, int]) -> None:
        for node, stock in self._stocks.items():
            for partition, floor in stock.floors.items():
                if floor > buried.get(partition, 0):
                    self._found.append(
                        f"{node} has floor {floor} in partition {partition}, where nothing above"
                        f" {buried.get(partition, 0)} was ever deleted"
                    )

    def _look_for_more(self) -> None:
        for node, stock in self._stocks.items():
            for key, kept in stock.records.items():
                if key in self._passed_over:
                    continue
                if not is_live(self._roots[key]) and key not in self._needed:
                    self._say(node, key, f"is kept, and nobody needs it ({kept.state})")
                elif node not in self._owners(key) and not self._is_tombstone(key, kept):
                    self._say(node, key, f"is kept by one who is no owner ({kept.state})")

    def _is_tombstone(self, key: RecordKey, kept: Kept) -> bool:
        """Whether it is nothing but the newest root, which is dead."""
        return kept.state.is_tombstone and kept.state.root == self._roots[key]

    # --- what is where ----------------------------------------------------------------------------

    def _owners(self, key: RecordKey) -> tuple[NodeId, ...]:
        return self._live.placement(key.digest).groups[-1].owners

    def _at(self, node: NodeId, key: RecordKey) -> Kept:
        return self._stocks[node].records.get(key, _NOTHING)

    def _all(self, key: RecordKey) -> list[Kept]:
        return [self._at(node, key) for node in self._stocks]

    def _newest(self, key: RecordKey) -> Root:
        return max(kept.state.root for kept in self._all(key))

    def _say(self, node: NodeId, key: RecordKey, words: str) -> None:
        self._found.append(f"{node}, {short(key.digest)}: {words}")


_NOTHING = Kept(RecordState())
