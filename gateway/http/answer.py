"""What a handler gives back: an answer that is ready, or one whose body still has to come.

A handler never writes.  The connection writes, so that one place knows whether an answer has begun;
after that nothing else is ever said (gateway/http/connection.py, rule 2).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

from ring.digest import Buffer

JSON_FIELDS: Final = b"Content-Type: application/json\r\nCache-Control: no-store\r\n"
TEXT_FIELDS: Final = b"Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


class Closable(Protocol):
    """What a streamed answer was read from."""

    async def close(self) -> None:
        """Stop early; idempotent."""


@dataclass(slots=True)
class Answer:
    """A status, header lines (each ended by CR LF) and a whole body.

    size_bytes: what Content-Length says; None for the length of the body, which an answer to HEAD
        does not have.  code: of the error, for log and metrics; empty when there is none.
    """

    status: int
    fields: bytes
    body: bytes = b""
    size_bytes: int | None = None
    code: str = ""
    detail: str = ""


@dataclass(slots=True)
class Stream:
    """A status, header lines, the first piece, and where the others come from.

    `first` and `pieces` add up to `size_bytes`.  Pieces are written one at a time: the next is
    asked for only when the kernel has taken all of the last, so a source may use its buffer again.
    """

    status: int
    fields: bytes
    size_bytes: int
    first: Buffer
    pieces: AsyncIterator[Buffer]
    source: Closable
    code: str = ""
    detail: str = ""


def head(
    status: int, generic: bytes, fields: bytes, size_bytes: int | None, connection: bytes
) -> bytes:
    """A response head; `size_bytes` None leaves Content-Length out (204, 304)."""
    if size_bytes is None:
        return b"%b%b%b%b\r\n" % (_STATUS_LINES[status], generic, fields, connection)
    return b"%b%b%bContent-Length: %d\r\n%b\r\n" % (
        _STATUS_LINES[status],
        generic,
        fields,
        size_bytes,
        connection,
    )
