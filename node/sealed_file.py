"""Small files that are replaced whole: msgpack, then BLAKE3 of it.

A sealed file is either the old or the new content after a crash, and a rotten one is told from an
absent one.  Never used for data that grows.
"""

from __future__ import annotations

from blake3 import blake3

from ring.codec import pack, unpack
from ring.errors import Corrupt
from ring.seams import Disk, Randomness

_CHECKSUM_BYTES = 32


async def write_sealed(
    disk: Disk, directory: str, name: str, value: object, randomness: Randomness
) -> None:
    """Replace `directory/name` durably; the directory must exist.

    Raises DiskFull or StorageFault, and then the old content may or may not still be there.
    """
    body = pack(value)
    temporary = f"{directory}/.{name}.{randomness.octets(8).hex()}.tmp"
    await disk.publish(temporary, f"{directory}/{name}", body + blake3(body).digest())
    await disk.sync_directory(directory)


async def read_sealed(disk: Disk, directory: str, name: str) -> object | None:
    """The value, or None when there is no file; raises Corrupt or StorageFault."""
    try:
        data = await disk.read(f"{directory}/{name}")
    except FileNotFoundError:
        return None
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if blake3(body).digest() != checksum:
        raise Corrupt(
            f"{directory}/{name} does not match its checksum: the disk changed what this node knows"
            " of itself. Replace the node: move its data directory away and start it empty with"
            " accept_blank = true, and it fetches its copies from the others (docs/STORAGE.md)"
        )
    return unpack(body)
