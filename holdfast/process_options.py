"""The options that `node` and `gateway` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

P = ParamSpec("P")
R = TypeVar("R")


def process_options(function: Callable[P, R]) -> Callable[P, R]:
    """Add --config, --json and the hidden --stop-with-stdin to a click command."""
    for option in (
        click.option("--stop-with-stdin", is_flag=True, hidden=True),
        click.option("--json", "as_json", is_flag=True, help="Log in JSON."),
        click.option(
            "--config", "path", required=True, metavar="FILE", help="The configuration, TOML."
        ),
    ):
        function = option(function)
    return function
