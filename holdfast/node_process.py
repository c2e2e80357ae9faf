"""The process behind `holdfast node`."""

from __future__ import annotations

import os

import uvloop

from holdfast.config_file import Loaded, load_node
from holdfast.directory_lock import locked_directory
from holdfast.garbage import tune_garbage_collection
from holdfast.log_lines import configure_log, with_json
from holdfast.stop_signal import stop_event
from node.config import NodeConfig
from node.host import HostClock, HostRandomness
from node.process import run_node


def node_process(path: str, *, as_json: bool, with_stdin: bool) -> None:
    """Run the node of a configuration file until it is told to stop; raises HoldfastError."""
    loaded = load_node(path, os.environ)
    configure_log(with_json(loaded.log, as_json=as_json), loaded.config.id)
    tune_garbage_collection()
    with locked_directory(loaded.config.data_dir):
        uvloop.run(_run(loaded, with_stdin=with_stdin))


async def _run(loaded: Loaded[NodeConfig], *, with_stdin: bool) -> None:
    await run_node(
        loaded.config,
        loaded.layout,
        loaded.secret,
        clock=HostClock(),
        randomness=HostRandomness(),
        stop=stop_event(with_stdin=with_stdin),
    )
