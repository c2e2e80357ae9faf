"""What the commands have in common: options, a client, output, and exit codes.

Exit codes: 0 done; 1 not done, or `has` found something missing or unknown; 2 the command line is
wrong; 130 interrupted.  Results go to standard output, everything else to standard error; with
`--json` the result is one JSON object.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import IO, Concatenate, Final, ParamSpec

import click
import uvloop

from holdfast.client import DEFAULT_URL, Client
from holdfast.retry import GatewayRefused, RetryPolicy
from ring.digest import Algorithm, Digest
from ring.errors import HoldfastError, InvalidDigest

P = ParamSpec("P")

_BARE_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a command against a gateway."""

    client: Client
    as_json: bool

    def answer(self, value: Mapping[str, object], text: str) -> None:
        """Print the result: the value with --json, else the text, unless it is empty."""
        if self.as_json:
            click.echo(json.dumps(value))
        elif text:
            click.echo(text)

    def remark(self, text: str) -> None:
        """Tell a person something that is no result."""
        click.echo(text, err=True)


class DigestType(click.ParamType[Digest]):
    """A digest in its wire form."""

    name = "digest"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Digest:
        if isinstance(value, Digest):
            return value
        text = str(value)
        try:
            return Digest.parse(text)
        except InvalidDigest as error:
            hint = ""
            if _BARE_HEX.fullmatch(text):
                hint = f"; did you mean blake3:{text} (or sha256:...)?"
            self.fail(f"{error.detail}{hint}", param, ctx)


DIGEST: Final = DigestType()
ALGORITHM: Final = click.Choice([algorithm.label for algorithm in Algorithm])


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def over_http(
    function: Callable[Concatenate[Call, P], Awaitable[int | None]],
) -> Callable[P, None]:
    """Make an async function with a `Call` the body of a click command, with its usual options.

    The function's result is the exit code; None is 0.
    """

    @click.option(
        "--gateway",
        "url",
        metavar="URL",
        envvar="HOLDFAST_GATEWAY",
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        help="Which gateway to talk to.",
    )
    @click.option(
        "--timeout",
        "patience_s",
        metavar="SECONDS",
        type=click.FloatRange(min=0),
        default=RetryPolicy().deadline_s,
        show_default=True,
        help="How long to go on trying while the cluster says that it cannot at the moment.",
    )
    @json_option
    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        url, as_json = str(kwargs.pop("url")), bool(kwargs.pop("as_json"))
        retries = RetryPolicy(deadline_s=float(str(kwargs.pop("patience_s"))))

        async def run() -> int | None:
            async with Client(url, retries=retries) as client:
                return await function(Call(client, as_json), *args, **kwargs)

        try:
            code = uvloop.run(run())
        except HoldfastError as error:
            raise CommandFailed(error) from error
        if code:
            raise click.exceptions.Exit(code)

    return command


class CommandFailed(click.ClickException):
    """What the cluster or the client said, with what to do about it where that is known."""

    exit_code = 1

    def __init__(self, error: HoldfastError) -> None:
        super().__init__(_advised(error))

    def show(self, file: IO[str] | None = None) -> None:
        click.echo(f"holdfast: {self.message}", file=file, err=True)


def _advised(error: HoldfastError) -> str:
    if isinstance(error.__cause__, GatewayRefused):
        return (
            f"{error.detail}\nIs it running?  `holdfast serve` starts a cluster on this machine;"
            " --gateway or HOLDFAST_GATEWAY names another one."
        )
    if error.retryable:
        return f"{error.detail}\nThis may pass; `holdfast admin status` says how the cluster is."
    return error.detail
