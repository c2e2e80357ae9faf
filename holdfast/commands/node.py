"""holdfast node --config FILE"""

from __future__ import annotations

import click

from holdfast.node_process import node_process
from holdfast.process_options import process_options


@click.command()
@process_options
def node(*, path: str, as_json: bool, stop_with_stdin: bool) -> None:
    """Run one node until SIGTERM, which lets requests under way finish.

    Settings can be overridden by the environment: HOLDFAST_NODE_ID and so on.
    """
    node_process(path, as_json=as_json, with_stdin=stop_with_stdin)
