"""holdfast stat DIGEST"""

from __future__ import annotations

import click

from holdfast.command_line import DIGEST, Call, over_http
from ring.digest import Digest


@click.command()
@click.argument("digest", type=DIGEST)
@over_http
async def stat(call: Call, digest: Digest) -> None:
    """Say how large a blob is, without its bytes. Exit code 1 when it is not there."""
    found = await call.client.stat(digest)
    doubt = "" if found.confirmed else "\ntoo few nodes answered: it may have been deleted since"
    call.answer(
        {"digest": str(digest), "size": found.size_bytes, "confirmed": found.confirmed},
        f"{digest}  {found.size_bytes}{doubt}",
    )
