"""holdfast has DIGEST..."""

from __future__ import annotations

from contextlib import aclosing

import click

from holdfast.command_line import DIGEST, Call, over_http
from holdfast.in_order import in_order
from ring.digest import Digest
from ring.errors import HoldfastError

JOBS = 16


@click.command()
@click.argument("digests", nargs=-1, required=True, type=DIGEST, metavar="DIGEST...")
@over_http
async def has(call: Call, digests: tuple[Digest, ...]) -> int:
    """Say for each digest whether the cluster has it: yes, no or unknown.

    Unknown means that too few nodes answered to tell. Exit code 0 only when all of them are there.
    """

    async def ask(digest: Digest) -> tuple[Digest, str]:
        try:
            return digest, "yes" if await call.client.contains(digest) else "no"
        except HoldfastError as error:
            if not error.retryable:
                raise
            call.remark(f"holdfast: {digest}: {error.detail}")
            return digest, "unknown"

    async with aclosing(in_order(digests, ask, JOBS)) as answers:
        found = [answer async for answer in answers]
    call.answer(
        {"blobs": [{"digest": str(digest), "there": there} for digest, there in found]},
        "\n".join(f"{there:<7}  {digest}" for digest, there in found),
    )
    return 0 if all(there == "yes" for _, there in found) else 1
