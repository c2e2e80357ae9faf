"""holdfast admin ...: for whoever runs a cluster."""

from __future__ import annotations

import click

from holdfast.command_line import DIGEST, Call, over_http
from holdfast.garbage_text import garbage_text
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


@admin.command()
@click.argument("digest", type=DIGEST)
@over_http
async def undelete(call: Call, digest: Digest) -> None:
    """Bring a deleted blob back from the trash."""
    stored = await call.client.undelete(digest)
    value = {"digest": str(digest), "size": stored.size_bytes, "restored": stored.created}
    call.answer(value, f"{digest} is back" if stored.created else f"{digest} is there")


@admin.command()
@click.option("--dry-run", is_flag=True, help="Only say it; without this, nodes begin at once.")
@over_http
async def gc(call: Call, *, dry_run: bool) -> None:
    """Say what is on its way out of each node, why, and what it waits for.

    Nodes look for it by themselves, again and again; what may not go yet does not go either when
    they begin at once.
    """
    view = await call.client.garbage(begin=not dry_run)
    call.answer(view, garbage_text(view))
