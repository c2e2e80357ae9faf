"""holdfast admin ...: for whoever runs a cluster."""

from __future__ import annotations

import click

from holdfast.command_line import DIGEST, Call, over_http
from holdfast.status_text import status_text, where_text
from ring.digest import Digest


@click.group()
def admin() -> None:
    """Look after a cluster."""


@admin.command()
@over_http
async def status(call: Call) -> None:
    """Say how every node is, and what that means for reads and writes."""
    view = await call.client.status()
    call.answer(view, status_text(view))


@admin.command()
@click.argument("digest", type=DIGEST)
@over_http
async def where(call: Call, digest: Digest) -> None:
    """Say which nodes should have copies of a blob, and what each of them says."""
    view = await call.client.where(digest)
    call.answer(view, where_text(view))
