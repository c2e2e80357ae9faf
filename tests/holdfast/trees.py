"""Trees for tests: entries of a manifest, files on disk, and where their content comes from."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from holdfast.manifest import Entry, Kind
from ring.digest import Digest
from ring.errors import NotFound

EMPTY = Digest.of(b"").hex


class Blobs:
    """What `restore` fetches from: blobs in memory, handed out in two pieces, counted."""

    def __init__(self, *contents: bytes) -> None:
        self.blobs = {Digest.of(content).hex: content for content in contents}
        self.asked: list[str] = []

    async def fetch(self, checksum: str) -> AsyncIterator[bytes]:
        self.asked.append(checksum)
        await asyncio.sleep(0)
        if checksum not in self.blobs:
            raise NotFound(f"blake3:{checksum} is not there")
        content = self.blobs[checksum]
        yield content[:2]
        await asyncio.sleep(0)
        yield content[2:]


def file(path: str, content: bytes, mode: int = 0o644) -> Entry:
    return Entry(Kind.FILE, mode, Digest.of(content).hex, len(content), path)


def folder(path: str, mode: int = 0o755) -> Entry:
    return Entry(Kind.DIRECTORY, mode, EMPTY, 0, path)


def tree_of(directory: Path) -> dict[str, tuple[int, bytes | str | None]]:
    """Every path below (and `.`) with its mode and its content, or the text of a link."""
    found: dict[str, tuple[int, bytes | str | None]] = {}
    for path in [directory, *directory.rglob("*")]:
        content = None if path.is_dir() else path.read_bytes()
        mode = path.lstat().st_mode & 0o7777
        found[str(path.relative_to(directory))] = (
            (mode, os.readlink(path)) if path.is_symlink() else (mode, content)
        )
    return found


def write(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
