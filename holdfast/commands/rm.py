"""holdfast rm DIGEST..."""

from __future__ import annotations

from contextlib import aclosing

import click

from holdfast.command_line import DIGEST, Call, over_http
from holdfast.in_order import in_order
from ring.digest import Digest

JOBS = 16


@click.command()
@click.argument("digests", nargs=-1, required=True, type=DIGEST, metavar="DIGEST...")
@click.option("--now", is_flag=True, help="Skip the trash: there is no way back.")
@over_http
async def rm(call: Call, digests: tuple[Digest, ...], *, now: bool) -> None:
    """Delete blobs. What is not there is no error.

    The bytes wait in the trash for a while: `holdfast admin undelete` brings them back. With --now
    they go at once, also those that were deleted before.

    An error leaves it open whether that blob was deleted: repeat until it succeeds.
    """

    async def delete(digest: Digest) -> str:
        await call.client.delete(digest, skip_trash=now)
        return str(digest)

    async with aclosing(in_order(digests, delete, JOBS)) as deleted:
        done = [digest async for digest in deleted]
    call.answer({"deleted": done}, "")
