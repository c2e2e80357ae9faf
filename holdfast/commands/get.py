"""holdfast get DIGEST [-o FILE or DIR]"""

from __future__ import annotations

import asyncio
import os
import re
import stat
import sys
from collections.abc import AsyncIterator
from typing import Final

import click

from holdfast.client import Client
from holdfast.command_line import DIGEST, Call, over_http
from holdfast.destination import Destination
from holdfast.local_fault import local_faults
from holdfast.manifest import MANIFEST_BYTES_MAX, ROOT, Manifest
from holdfast.progress import Meter
from holdfast.restore import restore
from ring.digest import Algorithm, Buffer, Digest
from ring.errors import BadRequest, InvalidManifest, LocalFault
from ring.limits import KIB
from ring.seams import BlobReader

STDOUT: Final = "-"
_FIRST_LINE: Final = re.compile(rb"[DF] [0-7]{1,4} [0-9a-f]{64} [0-9]{1,20} \./")
_FIRST_BYTES: Final = 1 * KIB
_ALL: Final = 0o666


@click.command()
@click.argument("digest", type=DIGEST)
@click.option("-o", "--output", metavar="FILE or DIR", help="Where to; standard output without.")
@click.option("--raw", is_flag=True, help="Of a manifest, write the text instead of restoring it.")
@over_http
async def get(call: Call, digest: Digest, output: str | None, *, raw: bool) -> None:
    """Fetch a blob and verify it. The file appears when all of it is there and right.

    With -o, a manifest (what `put DIR` printed) restores its directory, and leaves alone what else
    is in there.
    """
    if call.as_json and output in {None, STDOUT}:
        raise BadRequest("--json needs -o: standard output cannot hold both")
    reader = await call.client.open(digest)
    try:
        start, pieces = await _begin(reader)
        looks_like_manifest = not raw and _FIRST_LINE.match(start) is not None
        now_s = asyncio.get_running_loop().time
        with Meter("fetching", reader.stat.size_bytes, now_s) as meter:
            if output is None or output == STDOUT or _is_stream(output):
                await _to_stream(output, pieces, meter)
                facts: dict[str, object] = {"size": reader.stat.size_bytes}
            elif looks_like_manifest and not os.path.isfile(output):
                text = await _whole(pieces, reader)
                facts = await _to_directory(call.client, text, output)
            else:
                await _to_file(output, pieces, meter)
                facts = {"size": reader.stat.size_bytes}
    finally:
        await reader.close()
    if not reader.stat.confirmed:
        call.remark("holdfast: too few nodes answered: it may have been deleted since")
    if call.as_json:
        confirmed = reader.stat.confirmed
        call.answer({"digest": str(digest), "path": output, **facts, "confirmed": confirmed}, "")


async def _begin(reader: BlobReader) -> tuple[bytes, AsyncIterator[Buffer]]:
    """The first bytes, and all pieces, those included."""
    start = bytearray()
    rest = aiter(reader)
    async for piece in rest:
        start += piece
        if len(start) >= _FIRST_BYTES:
            break

    async def pieces() -> AsyncIterator[Buffer]:
        yield start
        async for piece in rest:
            yield piece

    return bytes(start[:_FIRST_BYTES]), pieces()


def _is_stream(output: str) -> bool:
    """Whether something is there that can be written to, but not replaced by a file."""
    try:
        mode = os.stat(output).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


async def _to_stream(output: str | None, pieces: AsyncIterator[Buffer], meter: Meter) -> None:
    if output is None or output == STDOUT:
        async for piece in pieces:
            sys.stdout.buffer.write(piece)
            meter.moved(len(piece))
        sys.stdout.buffer.flush()
        return
    with local_faults("write", output), open(output, "wb", buffering=0) as file:
        async for piece in pieces:
            file.write(piece)
            meter.moved(len(piece))


async def _to_file(output: str, pieces: AsyncIterator[Buffer], meter: Meter) -> None:
    folder, name = os.path.split(output)
    if os.path.isdir(output) or not name:
        raise BadRequest(f"{output!r} is a directory, and the blob is no manifest; name a file")
    if folder and not os.path.isdir(folder):
        raise LocalFault(f"cannot write {output!r}: there is no directory {folder!r}")
    path = ROOT + name
    with Destination(folder or ".", (path,)) as destination, destination.write(path) as file:
        async for piece in pieces:
            file.write(bytes(piece))
            meter.moved(len(piece))
        file.commit(_ALL & ~_umask())
        destination.settle(ROOT, None)


async def _whole(pieces: AsyncIterator[Buffer], reader: BlobReader) -> bytes:
    if reader.stat.size_bytes > MANIFEST_BYTES_MAX:
        raise InvalidManifest(
            f"this begins like a manifest, but has {reader.stat.size_bytes} bytes; --raw fetches it"
        )
    return b"".join([bytes(piece) async for piece in pieces])


async def _to_directory(client: Client, text: bytes, output: str) -> dict[str, object]:
    manifest = Manifest.parse(text)

    async def fetch(checksum: str) -> AsyncIterator[bytes]:
        reader = await client.open(Digest(Algorithm.BLAKE3, bytes.fromhex(checksum)))
        try:
            async for piece in reader:
                yield bytes(piece)
        finally:
            await reader.close()

    total_bytes = sum(entry.size_bytes for entry in manifest.files)
    with Meter("restoring", total_bytes, asyncio.get_running_loop().time) as meter:
        reached = meter.of_one()
        restored = await restore(
            manifest, output, fetch, progress=lambda size_bytes, _files: reached(size_bytes)
        )
    return {
        "files": restored.files_written + restored.files_kept,
        "files_written": restored.files_written,
        "size": restored.size_bytes,
    }


def _umask() -> int:
    """Read it; there is no way but to set it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
