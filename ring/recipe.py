"""The recipe of a large blob: which chunks, in which order, make up the bytes.

Format (integers little-endian):

    0   4  magic "HFRC"
    4   1  format version, 1
    5   1  redundancy scheme, 0 = replicas
    6   2  zero
    8   8  total size of the blob in bytes
    16  4  number of chunks n = ceil(total / CHUNK_BYTES)
    20  32 n times: BLAKE3 of the chunk; each is CHUNK_BYTES long, only the last may be shorter
    ..  32 BLAKE3 over the blob's digest key followed by all bytes above

The checksum covers the blob's digest, so a recipe filed under another digest is found at once.
The same content always makes the same recipe, byte for byte.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from ring.digest import Algorithm, Buffer, Digest
from ring.errors import Corrupt
from ring.limits import CHUNK_BYTES, RECIPE_CHUNKS_MAX

MAGIC: Final = b"HFRC"
VERSION: Final = 1
SCHEME_REPLICAS: Final = 0
_HEADER: Final = struct.Struct("<4sBBHQI")
_RAW_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Recipe:
    """Total size in bytes and the BLAKE3 digests of the chunks, in order."""

    size_bytes: int
    chunks: tuple[Digest, ...]

    def __post_init__(self) -> None:
        assert CHUNK_BYTES < self.size_bytes, self.size_bytes
        assert len(self.chunks) == -(-self.size_bytes // CHUNK_BYTES)
        assert len(self.chunks) <= RECIPE_CHUNKS_MAX

    def chunk_bytes(self, index: int) -> int:
        """Length of chunk `index`."""
        return min(CHUNK_BYTES, self.size_bytes - index * CHUNK_BYTES)

    def encode(self, blob: Digest) -> bytes:
        """The record value filed under `blob`."""
        head = _HEADER.pack(
            MAGIC, VERSION, SCHEME_REPLICAS, 0, self.size_bytes, len(self.chunks)
        )
        body = head + b"".join(chunk.raw for chunk in self.chunks)
        return body + _checksum(blob, body)

    @classmethod
    def decode(cls, blob: Digest, value: Buffer) -> Recipe:
        """Read the value filed under `blob`; raises Corrupt with the reason."""
        data = bytes(value)
        if len(data) < _HEADER.size + _RAW_BYTES:
            raise Corrupt(f"recipe of {blob}: {len(data)} bytes are too few")
        body, checksum = data[:-_RAW_BYTES], data[-_RAW_BYTES:]
        if checksum != _checksum(blob, body):
            raise Corrupt(f"recipe of {blob}: its checksum does not cover this digest and content")
        magic, version, scheme, zero, size_bytes, count = _HEADER.unpack_from(body)
        if magic != MAGIC or version != VERSION or scheme != SCHEME_REPLICAS or zero:
            raise Corrupt(f"recipe of {blob}: unknown version {version} or scheme {scheme}")
        expected = -(-size_bytes // CHUNK_BYTES)
        if not 1 < expected == count <= RECIPE_CHUNKS_MAX:
            raise Corrupt(f"recipe of {blob}: {count} chunks cannot hold {size_bytes} bytes")
        if len(body) != _HEADER.size + count * _RAW_BYTES:
            raise Corrupt(f"recipe of {blob}: length does not match {count} chunks")
        offsets = range(_HEADER.size, len(body), _RAW_BYTES)
        chunks = tuple(Digest(Algorithm.BLAKE3, body[at : at + _RAW_BYTES]) for at in offsets)
        return cls(size_bytes, chunks)


def recipe_checksum(value: Buffer) -> bytes:
    """The checksum of an encoded recipe; it stands for the blob's digest and all chunks'."""
    return bytes(value[-_RAW_BYTES:])


def recipe_bytes(size_bytes: int) -> int:
    """Length of the recipe of a blob of `size_bytes`."""
    return _HEADER.size + -(-size_bytes // CHUNK_BYTES) * _RAW_BYTES + _RAW_BYTES


def _checksum(blob: Digest, body: bytes) -> bytes:
    return blake3(blob.key + body).digest()
