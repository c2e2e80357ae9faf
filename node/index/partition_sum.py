"""What the rows and claims of one partition add up to, in whatever order they came.

Form: rows 8 bytes, claims 8, sum 8, little-endian; the sum is that of their checksums modulo 2^64.
A row that the index lost, or brought back, changes it, also where no bit of a value is wrong.
"""

from __future__ import annotations

import struct
from typing import Final

from msgspec import Struct

from node.index.sealed_value import seal_number
from ring.errors import Corrupt

_FORM: Final = struct.Struct("<QQQ")
_MODULUS: Final = 1 << 64


class PartitionSum(Struct):
    """See the module."""

    rows: int = 0
    claims: int = 0
    checksum: int = 0

    def add_row(self, value: bytes, sign: int = 1) -> None:
        """Count a row by its sealed value, or take it back."""
        self.rows += sign
        self.checksum = (self.checksum + sign * seal_number(value)) % _MODULUS

    def add_claim(self, value: bytes, sign: int = 1) -> None:
        """Count a claim by its sealed value, or take it back."""
        self.claims += sign
        self.checksum = (self.checksum + sign * seal_number(value)) % _MODULUS

    def encode(self) -> bytes:
        """See the module."""
        try:
            return _FORM.pack(self.rows, self.claims, self.checksum)
        except struct.error as error:
            raise Corrupt(f"a partition of the index has less than nothing: {self}") from error

    @classmethod
    def decode(cls, payload: bytes) -> PartitionSum:
        """Raises Corrupt."""
        try:
            return cls(*_FORM.unpack(payload))
        except struct.error as error:
            raise Corrupt(f"the sums over a partition of the index are damaged: {error}") from error
