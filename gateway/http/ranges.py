"""Byte ranges: which part of a blob a `Range` header asks for (RFC 9110 14).

One range is served.  Several are legal to answer with the whole, and cost a server more than they
give a client, so the header is ignored then, as it is when it is malformed or in another unit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# 40 digits are more than any size and far below what int() refuses.
_SPEC: Final = re.compile(r"([0-9]{0,40})[ \t]*-[ \t]*([0-9]{0,40})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `first` to `last`, both included; `last` None for the end.

    `suffix` is the number of bytes from the end when that is what was asked; `first` is 0 then.
    """

    first: int
    last: int | None
    suffix: int | None = None

    def within(self, size_bytes: int) -> tuple[int, int] | None:
        """Start and stop (excluded) in a blob of that size; None when nothing is left."""
        if self.suffix is not None:
            start, stop = max(0, size_bytes - self.suffix), size_bytes
        else:
            stop = size_bytes if self.last is None else min(self.last + 1, size_bytes)
            start = self.first
        return (start, stop) if start < stop else None


def parse_range(value: str) -> Span | None:
    """The one range that the header asks for, or None: answer with the whole."""
    unit, separator, spec = value.partition("=")
    found = _SPEC.fullmatch(spec.strip(" \t,"))
    if not separator or unit.strip(" \t").lower() != "bytes" or found is None:
        return None
    first, last = found[1], found[2]
    if not first:
        return Span(0, None, suffix=int(last)) if last else None
    if last and int(last) < int(first):
        return None
    return Span(int(first), int(last) if last else None)
