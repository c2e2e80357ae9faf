"""What a write does to a record: the decisions that every record store shares.

Pure functions from (state, floor, request) to the next state.  A store applies them while it holds
the key's lock, makes the result durable, and answers with it.

Rules (the deletes' model found a lost or revived blob for each one that was dropped):
1.  A put at or below the dead generation is refused; the answer carries the root that refused it.
2.  A node that holds a higher live generation answers that and changes nothing: such an answer is
    not an ack at the lower generation.
3.  A client's put at or below the partition's floor is refused, unless the record is live here at
    that generation or above.  Repair ignores floors.
4.  A tombstone never lowers a root, and only a client's DELETE makes one.
5.  A tombstone sends bytes to the trash; they are never served from there, only put again.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from ring.record import (
    NO_ROOT,
    RecordKind,
    RecordState,
    Root,
    dead,
    generation_of,
    is_dead,
    is_live,
    live,
    merge,
)


class PutAnswer(Struct, frozen=True):
    """What a node says to a put.

    root: the record's root afterwards; the put counts at generation g only when it is live(g).
    floor: the partition's floor, so that the gateway can retry above it.
    had: a verified copy was here before.
    """

    root: Root
    floor: int
    had: bool


def refuses_put(state: RecordState, floor: int, generation: int) -> bool:
    """Whether a client's put at `generation` must not change this record."""
    root = state.root
    if root != NO_ROOT and generation_of(root) >= generation:
        return not is_live(root) or generation_of(root) > generation
    return generation <= floor


def put_root(
    state: RecordState, *, kind: RecordKind, size_bytes: int, generation: int, now_s: int
) -> RecordState:
    """The state once the bytes are here under a live root; the put must not be refused."""
    root = max(state.root, live(generation))
    return replace(
        state,
        kind=kind,
        size_bytes=size_bytes,
        root=root,
        held=True,
        verified_at_s=now_s,
        settled=False,
    )


def put_chunk(state: RecordState, *, size_bytes: int, claimed: bool, now_s: int) -> RecordState:
    """The state once a chunk's bytes are here, with or without a claim of its own."""
    kind = RecordKind.DATA if state.kind is RecordKind.NONE else state.kind
    return replace(
        state,
        kind=kind,
        size_bytes=size_bytes,
        held=True,
        claimed=state.claimed or claimed,
        verified_at_s=now_s,
        settled=False,
    )


def absorb(
    own: RecordState, theirs: RecordState, *, claimed: bool, brought: bool, now_s: int
) -> RecordState:
    """The state after a peer's was heard; `brought`: its value came along and is right.

    A peer's trash stays there: bytes of a record that is dead afterwards are not taken.
    """
    after = merge(own, replace(theirs, held=brought, claimed=claimed, verified_at_s=0))
    wanted = after.claimed or not is_dead(after.root)
    if not wanted:
        after = replace(after, held=own.held)
    describing = theirs if brought and wanted else own
    if after.held:
        after = replace(after, kind=describing.kind, size_bytes=describing.size_bytes)
    if not is_dead(after.root):
        return after
    before = replace(after, root=own.root, settled=own.settled and not after.claimed)
    return bury(before, generation_of(after.root), keep_value=True, now_s=now_s)


def bury(
    state: RecordState, generation: int, *, keep_value: bool = False, now_s: int = 0
) -> RecordState:
    """The state after a tombstone at `generation`.

    keep_value: bytes go to the trash at second `now_s`, else they are to be removed.  What a recipe
    claims stays in any case, and what was never put here by a client: that is a chunk of an upload
    under way, which no delete touches.
    """
    root = max(state.root, dead(generation))
    if is_live(root):
        return state
    is_news = root != state.root
    if state.claimed:
        return replace(state, root=root)
    if state.held and (keep_value or state.root == NO_ROOT):
        return replace(state, root=root, verified_at_s=now_s) if is_news else state
    if state.held or is_news:
        return RecordState(root=root, verified_at_s=now_s if keep_value else 0)
    return RecordState(root=root, verified_at_s=state.verified_at_s, settled=state.settled)


def discard(state: RecordState) -> RecordState:
    """The state after its time in the trash."""
    assert state.in_trash, state
    return RecordState(root=state.root, verified_at_s=state.verified_at_s)


def settle(state: RecordState) -> RecordState:
    """The state of a tombstone that everybody has confirmed."""
    assert state.is_tombstone, state
    return RecordState(root=state.root, settled=True)


def next_generation(root: Root, floor: int, generation: int) -> int:
    """Where a gateway retries a put at `generation` that was answered with `root` and `floor`."""
    if is_live(root) and generation_of(root) > generation:
        return generation_of(root)
    return max(generation_of(root) + 1 if root != NO_ROOT else 1, floor + 1, generation + 1)
