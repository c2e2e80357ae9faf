"""What a peer is to the comparison: a name, a promise, and a door to speak through.

Every system gets the same bytes in the same order of events; only the form of the request differs,
and a door says that form. A peer's adapter starts the system, proves what it promises where it can,
and ends every process that it began.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Final

from bench.deadline import Deadline
from bench.payload import Payload
from bench.plan import REPLICAS

NAME_MARK: Final = "{name}"  # in a put target: where load.lua writes the name of the body


class Part(Enum):
    """What a system is in the table."""

    OURS = "ours"
    PEER = "peer"
    LIMIT = "limit"  # keeps nothing, reads back as anything, is never called a peer


@dataclass(frozen=True, slots=True)
class Durability:
    """What is kept, and what of it is on disk (fsync) when a PUT is answered.

    copies: of the data, once all is done. synced: in as few words as a table has room for. words:
    the same as sentences.
    """

    copies: str
    synced: str
    words: str


@dataclass(frozen=True, slots=True)
class Door:
    """How to speak to one running system on this machine.

    port: of its HTTP. put_method, put_target: of a small put; either a text with `{name}` where a
    name belongs, or, where that is not enough, a function of the body's name and content, whose
    answers are then prepared ahead of a load. small_path: where the body with this name and content
    is read. large_paths: where a payload with this name is PUT and where it is read.
    """

    port: int
    put_method: str
    put_target: str | Callable[[str, bytes], str]
    small_path: Callable[[str, bytes], str]
    large_paths: Callable[[str, Payload], tuple[str, str]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class System:
    """One column of the table.

    key: short name for the command line. version: of the program that is measured. door: how it is
    spoken to, in words. running: starts it, gives its door, ends it; raises RowFailed when it does
    not start or does not keep what `durability` says. stored_times: bytes on disk for each byte
    of a body, once all is done.
    """

    key: str
    name: str
    version: str
    part: Part
    durability: Durability
    door: str
    running: Callable[[Deadline], AbstractContextManager[Door]]
    stored_times: int = REPLICAS


@dataclass(frozen=True, slots=True)
class Skipped:
    """A peer that is not measured here; `why` says what was looked for, in words."""

    key: str
    name: str
    why: str
