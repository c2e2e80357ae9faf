"""A table of a TOML file as a frozen dataclass: types checked, unknown keys refused.

The dataclass says everything: its fields are the keys, its defaults the defaults, its own checks
the relations between them.  Problems are collected, so that one run reports them all.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import json
import typing
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from ring.errors import BadRequest

T = TypeVar("T")

_NAME_OF: Final = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
}


def read_table(
    kind: type[T], table: object, name: str, problems: list[str]
) -> T | None:
    """`table` as `kind`, or None with the reasons appended to `problems`.

    name: of the table, for messages.
    """
    assert dataclasses.is_dataclass(kind), kind
    if not isinstance(table, dict):
        problems.append(f"{name}: must be a table, not {_described(table)}")
        return None
    found_before = len(problems)
    hints = typing.get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if field.init]
    known = [field.name for field in fields]
    unknown = [key for key in table if key not in known]
    problems.extend(f"{name}.{key}: unknown key{_suggestion(key, known)}" for key in unknown)
    values: dict[str, object] = {}
    for field in fields:
        label = f"{name}.{field.name}"
        if field.name in table:
            values[field.name] = _value(hints[field.name], table[field.name], label, problems)
        elif field.default is dataclasses.MISSING:
            problems.append(f"{label}: is missing")
    if len(problems) > found_before:
        return None
    try:
        return kind(**values)
    except BadRequest as error:
        problems.extend(f"{name}.{line}" for line in error.detail.splitlines())
        return None


def overridden(
    kind: type[object], table: Mapping[str, object], prefix: str, environ: Mapping[str, str]
) -> dict[str, object]:
    """The table with the variables `<prefix><FIELD>` laid over it; raises BadRequest.

    A variable with the prefix that names no setting is refused; `read_table` checks the values.
    """
    assert dataclasses.is_dataclass(kind), kind
    hints = typing.get_type_hints(kind)
    result = dict(table)
    for variable in sorted(environ):
        if not variable.startswith(prefix):
            continue
        key = variable.removeprefix(prefix).lower()
        if key not in hints:
            known = ", ".join(f"{prefix}{name.upper()}" for name in sorted(hints))
            raise BadRequest(f"{variable}: no such setting; known are {known}")
        result[key] = _from_text(hints[key], environ[variable])
    return result


def _value(hint: object, value: object, label: str, problems: list[str]) -> object:
    while isinstance(hint, typing.NewType):
        hint = hint.__supertype__
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            problems.append(f"{label}: must be a list, not {_described(value)}")
            return ()
        numbered = enumerate(value, start=1)
        return tuple(_value(arguments[0], item, f"{label}[{n}]", problems) for n, item in numbered)
    assert isinstance(hint, type), hint
    if dataclasses.is_dataclass(hint):
        return read_table(hint, value, label, problems)
    if issubclass(hint, enum.Enum):
        choices = [member.value for member in hint]
        if value in choices:
            return hint(value)
        problems.append(f"{label}: must be one of {_list(choices)}, not {_described(value)}")
    elif hint is float and type(value) is int:
        return float(value)
    elif type(value) is not hint:
        problems.append(f"{label}: must be {_NAME_OF[hint]}, not {_described(value)}")
    return value


def _from_text(hint: object, text: str) -> object:
    while isinstance(hint, typing.NewType):
        hint = hint.__supertype__
    if hint not in {bool, int, float}:
        return text
    try:
        value: object = json.loads(text)
    except ValueError:
        value = text  # which is then refused as what it is
    return value


def _described(value: object) -> str:
    for kind, name in _NAME_OF.items():
        if type(value) is kind:
            return f"{name} ({value!r})" if kind not in {dict, list} else name
    return repr(value)


def _suggestion(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {_list(known)}"


def _list(values: Sequence[str]) -> str:
    return ", ".join(str(value) for value in values)
