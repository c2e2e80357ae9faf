"""Random bytes in memory that other programs read as a file and that are cheap to make new.

They lie in a memfd: no disk takes part in sending them, and no mount has to have room for them.
A store that knows chunks must be given new ones for every upload, so `renew` changes a few bytes
in each.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from typing import Final

from blake3 import blake3

from bench.failure import RowFailed
from bench.plan import MIB
from bench.proc import memory_available_bytes
from ring.limits import CHUNK_BYTES

_PIECE_BYTES: Final = 16 * MIB
_STAMP_BYTES: Final = 16


class Payload:
    """`size_bytes` of random content; close() gives the memory back.

    RowFailed when the machine has not twice that much memory to give.
    """

    def __init__(self, size_bytes: int) -> None:
        available_bytes = memory_available_bytes()
        if available_bytes < 2 * size_bytes:
            raise RowFailed(
                f"a payload of {size_bytes // MIB:,} MiB needs twice as much memory, but only "
                f"{available_bytes // MIB:,} MiB are available"
            )
        self.size_bytes = size_bytes
        self.descriptor = os.memfd_create("holdfast-bench")
        os.ftruncate(self.descriptor, size_bytes)
        for offset in range(0, size_bytes, _PIECE_BYTES):
            piece = os.urandom(min(_PIECE_BYTES, size_bytes - offset))
            os.pwrite(self.descriptor, piece, offset)
        self._memory = mmap.mmap(self.descriptor, size_bytes)

    @property
    def file(self) -> str:
        """A path under which other processes can read it while it is open."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def renew(self) -> None:
        """Change some bytes in every chunk, so that no store has any of them."""
        for offset in range(0, self.size_bytes, CHUNK_BYTES):
            stamp = os.urandom(min(_STAMP_BYTES, self.size_bytes - offset))
            os.pwrite(self.descriptor, stamp, offset)

    def digest(self, algorithm: str, offset: int = 0, length: int | None = None) -> str:
        """`blake3:<hex>` or `sha256:<hex>` of the whole content or a part of it."""
        end = self.size_bytes if length is None else offset + length
        with memoryview(self._memory)[offset:end] as part:
            if algorithm == "blake3":
                hexadecimal = blake3(part, max_threads=blake3.AUTO).hexdigest()
            else:
                hexadecimal = hashlib.new(algorithm, part).hexdigest()
        return f"{algorithm}:{hexadecimal}"

    def close(self) -> None:
        self._memory.close()
        os.close(self.descriptor)
