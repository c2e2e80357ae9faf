"""What people type and import: the `holdfast` command and the Python client.

Speaks HTTP to a gateway and starts the other processes; `ring`, `node` and `gateway` are internal.

    from holdfast import Client
"""

from holdfast.client import Client
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
