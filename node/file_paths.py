"""Where a file store keeps what: paths from keys, and keys from names.

    <algorithm>/<2 hex digits>/<the rest>           the bytes that a digest names
    .recipes/<algorithm>/<2 hex digits>/<the rest>  the recipe of a large blob
    <algorithm>/.tmp/                               files that are not complete yet
    .quarantine/                                    copies found bad; never removed by a node
    .state/                                         what is remembered of the records

The first line and the place of temporary files are the layout of the ferro-blob-store file backend,
so that a directory written by it can be read here and the other way round.
"""

from __future__ import annotations

from typing import Final

from ring.digest import Algorithm
from ring.record import RecordKey, RecordKind
from ring.seams import Disk

STATE_DIRECTORY: Final = ".state"
QUARANTINE_DIRECTORY: Final = ".quarantine"
_RECIPES: Final = ".recipes/"
_TEMPORARY: Final = ".tmp"
_SHARD_DIGITS: Final = 2
_LABELS: Final = {int(algorithm): algorithm.label for algorithm in Algorithm}

# Kinds of values and the part of the tree where each is kept.
PREFIXES: Final = {RecordKind.DATA: "", RecordKind.RECIPE: _RECIPES}


def value_path(key: RecordKey, kind: RecordKind) -> str:
    """The file of a record's value."""
    digest = key.digest.key
    digits = digest[1:].hex()
    return f"{PREFIXES[kind]}{_LABELS[digest[0]]}/{digits[:2]}/{digits[2:]}"


def value_directory(key: RecordKey, kind: RecordKind) -> str:
    """The directory of that file."""
    digest = key.digest.key
    return f"{PREFIXES[kind]}{_LABELS[digest[0]]}/{digest[1]:02x}"


def temporary_directory(algorithm: Algorithm) -> str:
    """Where files of one algorithm grow."""
    return f"{algorithm.label}/{_TEMPORARY}"


def temporary_path(key: RecordKey, unique: str) -> str:
    """A file that grows; `unique` is never used twice."""
    digest = key.digest.key
    return f"{_LABELS[digest[0]]}/{_TEMPORARY}/{digest[1:].hex()}.{unique}.tmp"


def quarantine_path(key: RecordKey, kind: RecordKind, unique: str) -> str:
    """Where a bad copy goes; `unique` is never used twice."""
    return f"{QUARANTINE_DIRECTORY}/{quarantine_name(key, kind, unique)}"


def quarantine_name(key: RecordKey, kind: RecordKind, unique: str) -> str:
    """The last part of that."""
    return f"{_quarantine_start(key)}{kind.name.lower()}.{unique}"


async def quarantined_below(disk: Disk, directory: str, key: RecordKey) -> list[str]:
    """The bad copies of a record in a quarantine, in order; raises StorageFault."""
    names = await disk.list_directory(directory)
    start = _quarantine_start(key)
    return [f"{directory}/{name}" for name in sorted(names) if name.startswith(start)]


def _quarantine_start(key: RecordKey) -> str:
    digest = key.digest.key
    return f"{_LABELS[digest[0]]}-{digest[1:].hex()}."


def tree_directory(kind: RecordKind, algorithm: Algorithm) -> str:
    """The directory that holds the shards of one kind and algorithm."""
    return f"{PREFIXES[kind]}{algorithm.label}"


def is_shard(name: str) -> bool:
    """Whether a directory's name is the first two hex digits of digests."""
    return len(name) == _SHARD_DIGITS and _is_hex(name)


def rest_of_key(algorithm: Algorithm, name: str) -> bytes | None:
    """What a file's name in a shard says of its digest, None for a file that is none of ours."""
    if len(name) != 2 * algorithm.size_bytes - _SHARD_DIGITS or not _is_hex(name):
        return None
    return bytes.fromhex(name)


def _is_hex(text: str) -> bool:
    return not text.strip("0123456789abcdef")
