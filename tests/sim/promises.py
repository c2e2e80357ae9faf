"""Each node's promise: what it acknowledged it still has after its own crash.

Replication hides local bugs (a second copy answers), so this looks below it.  Everything that a
node says is durable the moment it says it: the root of every answer about a record, the bytes
behind an acknowledged put, the claim behind a confirmed chunk.  A wiped disk promises nothing.

A spare may hand its record over and forget all of it; an owner may purge a tombstone, which its
floor then tells of, and collect a chunk that nobody needs.  Whether that came too early is seen by
the checks of the whole cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from node.handler import Response
from node.local_store import LocalRecordStore
from ring.digest import Digest
from ring.errors import Corrupt
from ring.life import NodeId
from ring.messages import (
    BuryRecord,
    ConfirmChunks,
    FlagsReply,
    GetRecord,
    PutRecord,
    PutReply,
    RecordReply,
    Request,
    StatesReply,
    StatRecords,
)
from ring.recipe import Recipe
from ring.record import (
    NO_ROOT,
    RecordKey,
    RecordKind,
    RecordState,
    Root,
    generation_of,
    is_live,
    live,
)
from tests.sim.epochs import Epochs


@dataclass(slots=True)
class Promise:
    """root: the record is at it or beyond.  has_value: the bytes are here while a claim is."""

    root: Root = NO_ROOT
    has_value: bool = False
    claimed: bool = False


class Promises:
    """What every node has said, and a check of it.

    is_needed: whether a node must have a chunk, as one of a blob that must be there.
    """

    def __init__(self, epochs: Epochs, is_needed: Callable[[NodeId, Digest], bool]) -> None:
        self._epochs = epochs
        self._is_needed = is_needed
        self._by_node: dict[NodeId, dict[RecordKey, Promise]] = {}
        self._rotten: dict[tuple[NodeId, Digest], None] = {}

    def forget(self, node: NodeId) -> None:
        """Its disk was wiped."""
        self._by_node.pop(node, None)

    def release_spares(self) -> None:
        """Whoever is no owner now may have handed over what it had, and may be an owner next."""
        for node, kept in self._by_node.items():
            for key in list(kept):
                if node not in self._epochs.placement(key.digest).owners:
                    del kept[key]

    def excuse(self, node: NodeId, digest: Digest) -> None:
        """Its copy was damaged."""
        self._rotten[node, digest] = None

    def demand(self, node: NodeId, digest: Digest) -> None:
        """Its copy is whole again."""
        self._rotten.pop((node, digest), None)

    def heard(self, node: NodeId, request: Request, response: Response) -> None:
        """A node answered."""
        match request, response.reply:
            case PutRecord(key=key, generation=generation, claimant=claimant), PutReply(answer):
                promise = self._promise(node, key)
                promise.root = max(promise.root, answer.root)
                if generation and answer.root == live(generation):
                    promise.has_value = True
                elif not generation and claimant is not None:
                    promise.has_value = promise.claimed = True
            case GetRecord(key=key) | BuryRecord(key=key), RecordReply(state):
                self._said(node, key, state)
            case StatRecords(keys=keys), StatesReply(states):
                for key, said in zip(keys, states, strict=True):
                    if said is not None:
                        self._said(node, key, said)
            case ConfirmChunks(chunks=chunks), FlagsReply(flags):
                for chunk, flag in zip(chunks, flags, strict=True):
                    if flag:
                        promise = self._promise(node, RecordKey(chunk))
                        promise.has_value = promise.claimed = True

    def _said(self, node: NodeId, key: RecordKey, state: RecordState) -> None:
        promise = self._promise(node, key)
        promise.root = max(promise.root, state.root)
        promise.has_value = promise.has_value or state.held
        promise.claimed = promise.claimed or state.claimed

    async def broken(self, node: NodeId, store: LocalRecordStore) -> list[str]:
        """What the node said and does not keep."""
        found: list[str] = []
        floors = await store.floors()
        for key, promise in list(self._by_node.get(node, {}).items()):
            state, value = await store.get(key)
            floor = floors.get(key.digest.partition, 0)
            if self._has_forgotten(state, promise) and self._may_forget(node, key, promise, floor):
                continue
            faults = self._faults(node, key, promise, state, value)
            name = str(key.digest)[:20]
            found += [f"{node} does not keep its word on {name}: {words}" for words in faults]
        return found

    def _has_forgotten(self, state: RecordState, promise: Promise) -> bool:
        """Whether it knows nothing any more, or only what came afterwards."""
        return not state.exists or state.root < promise.root

    def _may_forget(self, node: NodeId, key: RecordKey, promise: Promise, floor: int) -> bool:
        if node not in self._epochs.placement(key.digest).owners:
            return True
        is_chunk = promise.claimed or promise.root == NO_ROOT
        if is_chunk and self._is_needed(node, key.digest):
            return False
        return generation_of(promise.root) <= floor

    def _faults(
        self,
        node: NodeId,
        key: RecordKey,
        promise: Promise,
        state: RecordState,
        value: object,
    ) -> list[str]:
        found = []
        if state.root < promise.root:
            found.append(f"it said root {promise.root} and has {state.root}")
        is_chunk = promise.claimed and self._is_needed(node, key.digest)
        if is_chunk and not state.claimed:
            found.append("it claimed the chunk and has no claim")
        needs_value = promise.has_value and (is_live(state.root) or is_chunk)
        if needs_value and (node, key.digest) not in self._rotten:
            if not isinstance(value, bytes | bytearray | memoryview):
                found.append(f"it acknowledged bytes and has none ({state})")
            elif not _is_intact(key.digest, state.kind, value):
                found.append("it acknowledged bytes and has others")
        return found

    def _promise(self, node: NodeId, key: RecordKey) -> Promise:
        return self._by_node.setdefault(node, {}).setdefault(key, Promise())


def _is_intact(
    digest: Digest, kind: RecordKind, value: bytes | bytearray | memoryview
) -> bool:
    if kind is not RecordKind.RECIPE:
        return digest.matches(value)
    try:
        Recipe.decode(digest, value)
    except Corrupt:
        return False
    return True
