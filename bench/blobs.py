"""Small blobs: numbered bodies, the same that load.lua makes, and their digests.

Computed here and not taken from the server's answers, so that what is read back is checked against
something the server did not say.
"""

from __future__ import annotations

from pathlib import Path

from blake3 import blake3

from bench.ask import ask
from bench.failure import RowFailed


def body(tag: str, number: int, size_bytes: int) -> bytes:
    """Body `number` of a run with this tag; padded or cut to `size_bytes`."""
    return (f"{tag}-{number}-".encode() + b"x" * size_bytes)[:size_bytes]


def path(content: bytes) -> str:
    """Where the gateway keeps this content."""
    return f"/v1/blobs/blake3:{blake3(content).hexdigest()}"


def write_paths(file: Path, tag: str, count: int, size_bytes: int) -> None:
    """A file for load.lua with the paths of bodies 1 to `count`."""
    lines = [path(body(tag, number, size_bytes)) for number in range(1, count + 1)]
    file.write_text("\n".join(lines) + "\n")


def check_stored(port: int, tag: str, number: int, size_bytes: int) -> None:
    """RowFailed unless the gateway returns exactly the bytes of this body."""
    content = body(tag, number, size_bytes)
    answer = ask(port, "GET", path(content))
    if answer.status != 200:
        raise RowFailed(f"a blob that was stored reads as {answer.status}: {answer.body[:200]!r}")
    if answer.body != content:
        raise RowFailed("a blob that was stored reads as other bytes")
