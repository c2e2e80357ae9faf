"""Store a known number of small blobs, quickly: set-up for rows that read or restart.

wrk stops by time and not by count, so this is a client of its own: keep-alive connections on which
one POST follows the other's answer. Nothing here is timed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import uvloop

from bench import blobs
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.plan import CONNECTIONS

_PATIENCE_S = 240.0


def fill(port: int, tag: str, count: int, size_bytes: int, deadline: Deadline) -> None:
    """POST bodies 1 to `count` of this tag; RowFailed unless each is answered 200 or 201."""
    patience_s = deadline.share_s(_PATIENCE_S, f"storing {count:,} blobs")
    try:
        uvloop.run(_fill(port, tag, count, size_bytes, patience_s))
    except TimeoutError as error:
        raise RowFailed(f"{count:,} blobs were not stored within {patience_s:.0f} s") from error
    except ExceptionGroup as group:
        expected, others = group.split((OSError, RowFailed))
        if expected is None or others is not None:
            raise
        raise RowFailed(f"storing {count:,} blobs failed: {expected.exceptions[0]}") from group


async def _fill(port: int, tag: str, count: int, size_bytes: int, patience_s: float) -> None:
    numbers = iter(range(1, count + 1))
    async with asyncio.timeout(patience_s), asyncio.TaskGroup() as group:
        for _ in range(min(CONNECTIONS, count)):
            group.create_task(_post_each(port, tag, numbers, size_bytes))


async def _post_each(port: int, tag: str, numbers: Iterator[int], size_bytes: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for number in numbers:
            head = (
                "POST /v1/blobs?algo=blake3 HTTP/1.1\r\n"
                f"Host: 127.0.0.1:{port}\r\n"
                "Content-Type: application/octet-stream\r\n"
                f"Content-Length: {size_bytes}\r\n\r\n"
            )
            writer.write(head.encode() + blobs.body(tag, number, size_bytes))
            await _answer(reader)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = head.partition("content-length:")[2].split("\r\n", 1)[0]
        body = await reader.readexactly(int(length))
    except (asyncio.IncompleteReadError, ValueError) as error:
        raise RowFailed("a POST got an answer that is cut off or has no length") from error
    status = head.split(" ", 2)[1]
    if status not in {"200", "201"}:
        raise RowFailed(f"a POST was answered {status}: {body[:200].decode(errors='replace')}")
