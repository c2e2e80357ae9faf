"""holdfast ls"""

from __future__ import annotations

import json

import click

from holdfast.command_line import DIGEST, Call, over_http
from ring.digest import Digest


@click.command()
@click.option("--after", type=DIGEST, metavar="DIGEST", help="Begin behind this one.")
@over_http
async def ls(call: Call, after: Digest | None) -> None:
    """List every blob in the order of the digests: digest and size in bytes."""
    if not call.as_json:
        async for digest, size_bytes in call.client.iterate(after):
            click.echo(f"{digest}  {size_bytes}")
        return
    separator = '{"blobs": ['
    async for digest, size_bytes in call.client.iterate(after):
        click.echo(separator + json.dumps({"digest": str(digest), "size": size_bytes}), nl=False)
        separator = ", "
    click.echo("]}" if separator == ", " else '{"blobs": []}')
