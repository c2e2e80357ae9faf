"""The name of a blob.  Text and raw bytes become a `Digest` here and nowhere else.

Wire form: `<algorithm>:<hex>`.  The grammar and the order of its errors are those of the
ferro-blob-store contract: separator, algorithm, length in bytes, characters.  Hex is accepted in
either case and normalised to lower case; nothing is trimmed.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from blake3 import blake3

from ring.errors import BadHex, BadLength, MissingSeparator, UnsupportedAlgorithm
from ring.limits import PARTITION_BITS

Buffer = bytes | bytearray | memoryview

_HEX: Final = frozenset("0123456789abcdefABCDEF")


class Hasher(Protocol):
    """What hashlib and blake3 have in common."""

    def update(self, data: Buffer, /) -> object:
        """Take more bytes."""

    def digest(self) -> bytes:
        """The hash of everything taken so far."""


class Algorithm(enum.IntEnum):
    """A hash function; the number stands in keys on disk and on the wire and never changes.

    The numbers are in the order of the names, so that raw keys and wire forms sort alike.
    """

    BLAKE3 = 1
    SHA256 = 2
    SHA512 = 3

    @property
    def label(self) -> str:
        """The name in the wire form."""
        return self.name.lower()

    @property
    def size_bytes(self) -> int:
        """Length of the raw digest."""
        return 64 if self is Algorithm.SHA512 else 32

    def hasher(self) -> Hasher:
        """A fresh hash state."""
        return _hash[self]()

    @classmethod
    def named(cls, label: str) -> Algorithm:
        """Look a name up; raises UnsupportedAlgorithm."""
        algorithm = _by_label.get(label)
        if algorithm is None:
            known = ", ".join(_by_label)
            raise UnsupportedAlgorithm(f"algorithm {label[:80]!r} is not one of {known}")
        return algorithm


_hash: Final[Mapping[int, Callable[..., Hasher]]] = {
    Algorithm.BLAKE3: blake3,
    Algorithm.SHA256: hashlib.sha256,
    Algorithm.SHA512: hashlib.sha512,
}
_by_label: Final = {algorithm.label: algorithm for algorithm in Algorithm}


class Digest:
    """Algorithm and raw bytes, immutable and ordered like the wire form.

    Written by hand instead of as a dataclass because it is made and hashed several times in every
    request: `key` (algorithm byte and raw bytes) is the one stored field that the rest follow from.
    """

    __slots__ = ("key",)
    key: bytes

    def __init__(self, algorithm: Algorithm, raw: bytes) -> None:
        assert len(raw) == algorithm.size_bytes, (algorithm, len(raw))
        object.__setattr__(self, "key", bytes((algorithm,)) + raw)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Digest is immutable: {name}")

    @property
    def algorithm(self) -> Algorithm:
        """The hash function."""
        return _by_number[self.key[0]]

    @property
    def raw(self) -> bytes:
        """The hash value."""
        return self.key[1:]

    @property
    def hex(self) -> str:
        """The hash value in lower-case hex."""
        return self.key[1:].hex()

    @property
    def partition(self) -> int:
        """Index into a layout's table: the leading bits of the raw bytes."""
        return int.from_bytes(self.key[1:3], "big") >> (16 - PARTITION_BITS)

    def matches(self, data: Buffer) -> bool:
        """Whether `data` hashes to this digest."""
        return _hash[self.key[0]](data).digest() == self.key[1:]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digest) and self.key == other.key

    def __lt__(self, other: Digest) -> bool:
        return self.key < other.key

    def __le__(self, other: Digest) -> bool:
        return self.key <= other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        key = self.key
        return _prefixes[key[0]] + key[1:].hex()

    def __repr__(self) -> str:
        return f"Digest({self})"

    def __reduce__(self) -> tuple[object, tuple[Algorithm, bytes]]:
        return (Digest, (self.algorithm, self.raw))

    @classmethod
    def of(cls, data: Buffer, algorithm: Algorithm = Algorithm.BLAKE3) -> Digest:
        """The digest of `data`."""
        digest = cls.__new__(cls)
        object.__setattr__(digest, "key", _numbers[algorithm] + _hash[algorithm](data).digest())
        return digest

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read the wire form.

        Raises MissingSeparator, UnsupportedAlgorithm, BadLength or BadHex, tested in this order.
        """
        label, separator, hexadecimal = text.partition(":")
        # Nearly every text is right, and then this is all; what is wrong is found out below.
        # `isalnum` because `fromhex` skips blanks.
        form = _forms.get(label)
        if form is not None and len(hexadecimal) == form[1] and hexadecimal.isalnum():
            try:
                raw = bytes.fromhex(hexadecimal)
            except ValueError:
                pass
            else:
                digest = cls.__new__(cls)
                object.__setattr__(digest, "key", form[0] + raw)
                return digest
        if not separator:
            raise MissingSeparator(f"{text[:80]!r} has no ':' between algorithm and hex")
        algorithm = Algorithm.named(label)
        expected = 2 * algorithm.size_bytes
        actual = len(hexadecimal.encode("utf-8", "surrogatepass"))
        if actual != expected:
            raise BadLength(
                f"{label} needs {expected} hex digits, got {actual}",
                algorithm=label,
                expected=expected,
                actual=actual,
            )
        if not _HEX.issuperset(hexadecimal):
            bad = next(character for character in hexadecimal if character not in _HEX)
            raise BadHex(f"{bad!r} is not a hex digit", bad=bad)
        return cls(algorithm, bytes.fromhex(hexadecimal))

    @classmethod
    def from_key(cls, key: bytes) -> Digest:
        """Read the stored form (algorithm byte, raw bytes).

        Raises UnsupportedAlgorithm or BadLength: keys come from disks and peers.
        """
        if not key or len(key) != _key_bytes.get(key[0]):
            raise _key_fault(key)
        digest = cls.__new__(cls)
        object.__setattr__(digest, "key", bytes(key))
        return digest


_by_number: Final = {int(algorithm): algorithm for algorithm in Algorithm}
_numbers: Final = {int(algorithm): bytes((algorithm,)) for algorithm in Algorithm}
_prefixes: Final = {int(algorithm): f"{algorithm.label}:" for algorithm in Algorithm}
_forms: Final = {one.label: (bytes((one,)), 2 * one.size_bytes) for one in Algorithm}
_key_bytes: Final = {int(algorithm): 1 + algorithm.size_bytes for algorithm in Algorithm}


def _key_fault(key: bytes) -> UnsupportedAlgorithm | BadLength:
    algorithm = _by_number.get(key[0]) if key else None
    if algorithm is None:
        return UnsupportedAlgorithm(f"key {key[:8].hex()} starts with no known algorithm")
    expected, actual = algorithm.size_bytes, len(key) - 1
    return BadLength(
        f"{algorithm.label} needs {expected} raw bytes, got {actual}",
        algorithm=algorithm.label,
        expected=expected,
        actual=actual,
    )
