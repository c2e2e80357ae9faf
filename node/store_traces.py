"""Which store a data directory was filled by: no store opens what another one wrote.

Rule: a node's store is never changed in place.  What one store wrote the other does not see, so the
node would deny what it had acknowledged; it has to be drained and filled again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from node.config import StoreKind
from ring.errors import BadRequest
from ring.seams import Disk

# Directories that a store makes at its first start, and that no other store has.
_TRACES: Final[Mapping[StoreKind, str]] = {StoreKind.FILES: ".state", StoreKind.PAGES: "log"}


async def require_store(disk: Disk, kind: StoreKind) -> None:
    """Raise BadRequest, in words for an operator, when another store was here."""
    for other, trace in _TRACES.items():
        if other is not kind and await disk.info(trace) is not None:
            raise BadRequest(
                f"this data directory was filled by the store {other.value!r}, and the"
                f" configuration says {kind.value!r}; a store is not changed in place: either say"
                f" store = {other.value!r} again, or give the node an empty directory and let it"
                " fetch its copies from the others (docs/STORAGE.md)"
            )
