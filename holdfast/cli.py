"""The command `holdfast`: its commands put together, and the last word on every error.

Rule: whatever happens, people read a sentence and never a traceback; with HOLDFAST_DEBUG=1 they
read both.
"""

# ruff: noqa: PLC0415 - commands are imported when they are called for, see _Commands

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import click

from holdfast import __version__
from ring.errors import HoldfastError

EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130
_NAMES: Final = ("serve", "put", "get", "has", "rm", "ls", "stat", "admin", "node", "gateway")


class _Commands(click.Group):
    """Imports a command when it is called for: without the others a node starts twice as fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_NAMES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _command(cmd_name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="holdfast %(version)s")
def commands() -> None:
    """Immutable blobs by the hash of their content, N verified copies of each.

    `holdfast serve` runs a whole cluster on this machine; the other commands talk to a gateway.

    Exit codes: 0 done, 1 not done, 2 the command line is wrong, 130 interrupted.
    """


def main() -> None:
    """Run the command line of this process and exit."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        code = code or EXIT_FAILED
        _forget_stdout()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; the exit code."""
    if not __debug__:
        click.echo("holdfast: python -O removes checks that guard data; run it without", err=True)
        return EXIT_FAILED
    try:
        result = commands.main(list(arguments), prog_name="holdfast", standalone_mode=False)
    except click.ClickException as error:
        _debug()
        error.show()
        return error.exit_code
    except HoldfastError as error:
        _debug()
        click.echo(f"holdfast: {error.detail}", err=True)
        return EXIT_FAILED
    except (KeyboardInterrupt, click.Abort):
        click.echo("holdfast: interrupted", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return EXIT_FAILED
    except Exception as error:  # noqa: BLE001 - the top of the process: a bug of ours, in words
        _debug()
        click.echo(
            f"holdfast: a bug in holdfast: {type(error).__name__}: {error}\n"
            "Run it again with HOLDFAST_DEBUG=1 to see where, and please report that.",
            err=True,
        )
        return EXIT_FAILED
    return result if isinstance(result, int) else 0


def _debug() -> None:
    if os.environ.get("HOLDFAST_DEBUG", "") not in {"", "0"}:
        traceback.print_exc()


def _forget_stdout() -> None:
    """Nobody reads it any more; the interpreter must not complain about that when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _command(name: str) -> click.Command | None:
    match name:
        case "serve":
            from holdfast.commands.serve import serve

            return serve
        case "put":
            from holdfast.commands.put import put

            return put
        case "get":
            from holdfast.commands.get import get

            return get
        case "has":
            from holdfast.commands.has import has

            return has
        case "rm":
            from holdfast.commands.rm import rm

            return rm
        case "ls":
            from holdfast.commands.ls import ls

            return ls
        case "stat":
            from holdfast.commands.stat import stat

            return stat
        case "admin":
            from holdfast.commands.admin import admin

            return admin
        case "node":
            from holdfast.commands.node import node

            return node
        case "gateway":
            from holdfast.commands.gateway import gateway

            return gateway
    return None
