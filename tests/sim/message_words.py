"""Messages in a few words, for traces."""

from __future__ import annotations

from ring.digest import Digest
from ring.messages import (
    BuryRecord,
    GetRecord,
    Message,
    PutRecord,
    PutReply,
    RecordReply,
    StatesReply,
    StatRecords,
)
from ring.record import RecordState, Root, generation_of, is_live


def words_of(message: Message) -> str:
    """Its name, and what it says about records."""
    name = type(message).__name__
    match message:
        case PutRecord(key=key, generation=generation):
            return f"{name} {short(key.digest)} live {generation}"
        case BuryRecord(key=key, generation=generation):
            return f"{name} {short(key.digest)} dead {generation}"
        case GetRecord(key=key, bytes_max=most):
            return f"{name} {short(key.digest)} up to {most} bytes"
        case StatRecords(keys=keys):
            return f"{name} {' '.join(short(key.digest) for key in keys)}"
        case PutReply(answer):
            return f"{name} {_root(answer.root)}"
        case RecordReply(state):
            return f"{name} {_state(state)}"
        case StatesReply(states):
            return f"{name} {', '.join('no vote' if s is None else _state(s) for s in states)}"
    return name


def short(digest: Digest) -> str:
    """Enough of a digest to tell it from the others of a run."""
    return f"{digest.algorithm.label}:{digest.hex[:8]}"


def _state(state: RecordState) -> str:
    return f"{_root(state.root)}{' held' * state.held}{' claimed' * state.claimed}"


def _root(root: Root) -> str:
    if not root:
        return "none"
    return f"{'live' if is_live(root) else 'dead'} {generation_of(root)}"
