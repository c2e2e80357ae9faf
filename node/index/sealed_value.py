"""A value of the index with a checksum over its key and itself, so that rot is found on reading.

Form: the payload, then the first 8 bytes of BLAKE3 over key and payload.  The key belongs to it: a
value that the index files under another key is as wrong as one whose bytes changed.
"""

from __future__ import annotations

from typing import Final

from blake3 import blake3

from ring.errors import Corrupt

SEAL_BYTES: Final = 8


def seal(key: bytes, payload: bytes) -> bytes:
    """The value to store."""
    return payload + blake3(key + payload).digest(SEAL_BYTES)


def unseal(key: bytes, value: bytes) -> bytes:
    """The payload; raises Corrupt."""
    payload = value[:-SEAL_BYTES]
    if blake3(key + payload).digest(SEAL_BYTES) != value[-SEAL_BYTES:]:
        raise Corrupt(f"the index is damaged: the value of {key.hex()} is not what was stored")
    return payload


def seal_number(value: bytes) -> int:
    """The checksum of a sealed value as a number: what sums over values add up."""
    return int.from_bytes(value[-SEAL_BYTES:], "little")
