"""Store a directory: its files, each once, and then the manifest that names them.

The manifest goes last and only when every file is acknowledged, so whoever can read a manifest can
read everything in it.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from holdfast.client import Client
from holdfast.in_order import in_order
from holdfast.manifest import Entry
from holdfast.progress import Meter
from holdfast.tree import Tree, scan
from ring.digest import Digest
from ring.errors import DigestMismatch, LocalFault

JOBS: Final = 12


@dataclass(frozen=True, slots=True)
class StoredTree:
    """What was stored.

    manifest: its digest.  files, size_bytes: of the directory.  stored: distinct contents that were
    sent.  created: how many of those were not there before.
    """

    manifest: Digest
    files: int
    size_bytes: int
    stored: int
    created: int


async def put_tree(client: Client, directory: str, *, follow: bool = True) -> StoredTree:
    """Store a directory.

    Raises LocalFault, in words, when a file changed after it was hashed: nothing refers then to
    what was stored so far.  InvalidManifest for names that no manifest can hold.
    """
    now_s = asyncio.get_running_loop().time
    with Meter("reading", None, now_s) as meter:
        hashed = meter.of_one()
        tree = scan(directory, follow=follow, progress=lambda done_bytes, _: hashed(done_bytes))
    distinct = {entry.checksum: entry for entry in tree.manifest.files}
    total_bytes = sum(entry.size_bytes for entry in distinct.values())
    with Meter("storing", total_bytes, now_s) as meter:

        async def store(entry: Entry) -> bool:
            return await _put_file(client, tree, entry, meter)

        async with aclosing(in_order(distinct.values(), store, JOBS)) as results:
            created = sum([new async for new in results])
    text = tree.manifest.render()
    manifest = await client.put(text)
    return StoredTree(
        manifest=manifest,
        files=len(tree.manifest.files),
        size_bytes=sum(entry.size_bytes for entry in tree.manifest.files),
        stored=len(distinct),
        created=created,
    )


async def _put_file(client: Client, tree: Tree, entry: Entry, meter: Meter) -> bool:
    path = tree.source(entry)
    try:
        stored = await client.put_file(path, digest=entry.digest, on_bytes=meter.of_one())
    except DigestMismatch as error:
        raise LocalFault(
            f"{path!r} changed while the directory was stored, so there is no manifest;"
            " what was stored so far stays, and the next put finds it"
        ) from error
    return stored.created
