"""Reading msgpack primitives with their types and bounds checked.

What a peer sends is data, not truth: everything that does not fit raises PeerProtocol (or
InvalidDigest), never TypeError or ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence

from ring.digest import Digest
from ring.errors import PeerProtocol

Packed = tuple[object, ...]

_INTEGER_MAX = (1 << 63) - 1
_SEQUENCES = (list, tuple)  # a union of types would be made anew in every call


def row(value: object, least: int) -> Sequence[object]:
    """The first `least` fields of a sequence that has at least as many."""
    if not isinstance(value, _SEQUENCES) or len(value) < least:
        raise PeerProtocol(f"expected {least} fields, got {_shape(value)}")
    return value if len(value) == least else value[:least]


def items(value: object, most: int = 1 << 20) -> Sequence[object]:
    """A sequence of at most `most` items."""
    if not isinstance(value, _SEQUENCES) or len(value) > most:
        raise PeerProtocol(f"expected at most {most} items, got {_shape(value)}")
    return value


def integer(value: object, most: int = _INTEGER_MAX) -> int:
    """An integer from 0 to `most`."""
    if type(value) is not int or not 0 <= value <= most:
        raise PeerProtocol(f"expected an integer from 0 to {most}, got {_shape(value)}")
    return value


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise PeerProtocol(f"expected true or false, got {_shape(value)}")
    return value


def octets(value: object, most: int = 1 << 20) -> bytes:
    """A byte string of at most `most` bytes."""
    if not isinstance(value, bytes) or len(value) > most:
        raise PeerProtocol(f"expected at most {most} bytes, got {_shape(value)}")
    return value


def text(value: object, most: int = 1 << 16) -> str:
    """A string of at most `most` characters."""
    if not isinstance(value, str) or len(value) > most:
        raise PeerProtocol(f"expected at most {most} characters, got {_shape(value)}")
    return value


def optional_digest(value: object) -> Digest | None:
    """A digest's key, or nil."""
    return None if value is None else Digest.from_key(octets(value))


def _shape(value: object) -> str:
    size = f" of {len(value)}" if isinstance(value, list | tuple | bytes | str | dict) else ""
    return f"{type(value).__name__}{size}"
