"""What people type and import: the `holdfast` command and the Python client.

Speaks HTTP to a gateway and starts the other processes; `ring`, `node` and `gateway` are internal.

    from holdfast import Client
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.retry import RetryPolicy
from ring.digest import Algorithm, Digest
from ring.errors import (
    Corrupt,
    DigestMismatch,
    HoldfastError,
    InvalidDigest,
    NotFound,
    Unavailable,
    Unreachable,
)
from ring.seams import BlobStat, Stored

if TYPE_CHECKING:
    from holdfast.client import Client

__all__ = [
    "Algorithm",
    "BlobStat",
    "Client",
    "Corrupt",
    "Digest",
    "DigestMismatch",
    "HoldfastError",
    "InvalidDigest",
    "NotFound",
    "RetryPolicy",
    "Stored",
    "Unavailable",
    "Unreachable",
    "__version__",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """`Client`, when it is asked for: nodes start without an HTTP client."""
    if name == "Client":
        from holdfast.client import Client  # noqa: PLC0415 - that is the point

        return Client
    raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
