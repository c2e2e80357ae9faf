"""The options that `node` and `gateway` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

P = ParamSpec("P")
R = TypeVar("R")


def config_option(
    words: str = "The configuration, TOML.", *, required: bool = True
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """--config FILE; not required where a command below brings its own."""
    return click.option("--config", "path", required=required, metavar="FILE", help=words)


def process_options(
    *, config_required: bool = True
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Add --config, --json and the hidden --stop-with-stdin to a click command."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        for option in (
            click.option("--stop-with-stdin", is_flag=True, hidden=True),
            click.option("--json", "as_json", is_flag=True, help="Log in JSON."),
            config_option(required=config_required),
        ):
            function = option(function)
        return function

    return decorate
