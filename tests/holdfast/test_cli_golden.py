"""Names and words of every command and option, so that none changes by accident.

Whoever changes one on purpose says so in CHANGELOG.md: scripts depend on them.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from holdfast.cli import commands
from tests.golden.golden_file import Golden


def test_the_command_line_is_known(golden: Golden) -> None:
    golden.check("command_line.txt", "\n".join(_described(commands, "holdfast")) + "\n")


def _described(command: click.Command, name: str) -> Iterator[str]:
    """A command with its parameters, and those below it; not as click lays it out, which varies."""
    yield name
    yield from (f"    {line.strip()}" for line in (command.help or "").splitlines() if line.strip())
    yield from sorted(_parameter(one) for one in command.params if not _is_hidden(one))
    if isinstance(command, click.Group):
        context = click.Context(command)
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield ""
            yield from _described(found, f"{name} {below}")


def _is_hidden(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and parameter.hidden


def _parameter(parameter: click.Parameter) -> str:
    if not isinstance(parameter, click.Option):
        return f"  {parameter.make_metavar(click.Context(commands))}"
    names = ", ".join(parameter.opts)
    value = "" if parameter.is_flag else f" {parameter.metavar or _choices(parameter)}"
    shown = not parameter.is_flag and isinstance(parameter.default, str | int | float)
    default = f" [{parameter.default}]" if shown else ""
    variable = f" [{parameter.envvar}]" if parameter.envvar else ""
    required = " [required]" if parameter.required else ""
    return f"  {names}{value}{default}{variable}{required}: {parameter.help}"


def _choices(parameter: click.Option) -> str:
    assert isinstance(parameter.type, click.Choice), parameter.name
    return "|".join(str(choice) for choice in parameter.type.choices)
