"""holdfast put FILE... | DIR | -"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing

import click

from holdfast.command_line import ALGORITHM, Call, over_http
from holdfast.in_order import in_order
from holdfast.local_fault import local_faults
from holdfast.progress import Meter
from holdfast.put_tree import put_tree
from ring.digest import Algorithm
from ring.errors import BadRequest
from ring.limits import KIB
from ring.seams import Stored

FILE_JOBS = 4
STDIN = "-"
_PIECE_BYTES = 256 * KIB


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILE... | DIR | -")
@click.option(
    "--algo", type=ALGORITHM, default="blake3", show_default=True, help="The digest's hash."
)
@click.option("--no-follow", is_flag=True, help="DIR: leave symbolic links out.")
@over_http
async def put(call: Call, paths: tuple[str, ...], algo: str, *, no_follow: bool) -> None:
    """Store files, standard input (-), or a directory, and print the digest.

    For a directory, stores every file and then a manifest in the snapdir format, and prints the
    manifest's digest: `holdfast get` of it restores the directory.
    """
    algorithm = Algorithm.named(algo)
    kinds = {path: _kind(path) for path in paths}
    if stat.S_IFDIR not in kinds.values():
        await _put_files(call, paths, kinds, algorithm)
        return
    if len(paths) > 1:
        raise BadRequest("put takes one directory, or files, but not both at once")
    if algorithm is not Algorithm.BLAKE3:
        raise BadRequest("the files of a manifest are named by their BLAKE3 digests")
    stored = await put_tree(call.client, paths[0], follow=not no_follow)
    call.answer(
        {
            "digest": str(stored.manifest),
            "path": paths[0],
            "files": stored.files,
            "size": stored.size_bytes,
            "stored": stored.stored,
            "created": stored.created,
        },
        str(stored.manifest),
    )


async def _put_files(
    call: Call, paths: tuple[str, ...], kinds: dict[str, int], algorithm: Algorithm
) -> None:
    total_bytes = None
    if all(kind == stat.S_IFREG for kind in kinds.values()):
        total_bytes = sum(os.path.getsize(path) for path in paths)
    with Meter("storing", total_bytes, asyncio.get_running_loop().time) as meter:

        async def store(path: str) -> tuple[str, Stored]:
            counter = meter.of_one()
            if kinds[path] == stat.S_IFREG:
                return path, await call.client.put_file(
                    path, algorithm=algorithm, on_bytes=counter
                )
            pieces = _read_stream(path)
            return path, await call.client.put_stream(
                pieces, algorithm=algorithm, on_bytes=counter
            )

        async with aclosing(in_order(paths, store, FILE_JOBS)) as results:
            stored = [result async for result in results]
    lines = [
        str(one.digest) if len(stored) == 1 else f"{one.digest}  {path}" for path, one in stored
    ]
    call.answer({"stored": [_result(path, one) for path, one in stored]}, "\n".join(lines))


def _kind(path: str) -> int:
    """What is there, as a type of file; standard input is a pipe, whatever it is."""
    if path == STDIN:
        return stat.S_IFIFO
    with local_faults("read", path):
        return stat.S_IFMT(os.stat(path).st_mode)


async def _read_stream(path: str) -> AsyncIterator[bytes]:
    """Standard input, a pipe or a device, to its end."""
    with local_faults("read", path):
        descriptor = os.dup(sys.stdin.fileno()) if path == STDIN else os.open(path, os.O_RDONLY)
    try:
        while True:
            with local_faults("read", path):
                piece = os.read(descriptor, _PIECE_BYTES)
            if not piece:
                return
            yield piece
    finally:
        os.close(descriptor)


def _result(path: str, stored: Stored) -> dict[str, object]:
    return {
        "path": path,
        "digest": str(stored.digest),
        "size": stored.size_bytes,
        "created": stored.created,
    }
