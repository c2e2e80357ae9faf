"""Which dotted names a module refers to, found by reading it.

Follows imports wherever they stand, also inside functions, under whatever local name. Sees through
neither assignment (`f = time`) nor getattr: this keeps honest people honest.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class Name:
    """A dotted name and the line on which it stands."""

    line: int
    dotted: str


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name: in full, the local name that it binds, and what that one stands for."""

    name: Name
    local: str
    meaning: str


def imports(path: str, tree: ast.Module) -> Iterator[Import]:
    """Every import of the module at `path`; relative ones are resolved.

    `import a.b` imports `a.b` and binds `a`; `from a import b` imports `a.b`, module or not.
    """
    package = PurePosixPath(path).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                local, meaning = (alias.asname, alias.name) if alias.asname else (top, top)
                yield Import(Name(node.lineno, alias.name), local, meaning)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = (*above, node.module) if node.module else above
            for alias in node.names:
                full = ".".join((*module, alias.name))
                yield Import(Name(node.lineno, full), alias.asname or alias.name, full)


def references(path: str, tree: ast.Module) -> Iterator[Name]:
    """Imported names, what is reached through them, builtins, and `*.name` for other attributes."""
    meanings: dict[str, str] = {}
    for found in imports(path, tree):
        yield found.name
        meanings[found.local] = found.meaning
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield Name(node.lineno, _dotted(node, meanings) or f"*.{node.attr}")
        elif isinstance(node, ast.Name) and node.id not in meanings and hasattr(builtins, node.id):
            yield Name(node.lineno, f"builtins.{node.id}")


def is_below(dotted: str, top: str) -> bool:
    """Whether a name is `top` or something inside it: `os.path.join` is below `os.path`."""
    return dotted == top or dotted.startswith(f"{top}.")


def _dotted(node: ast.expr, meanings: dict[str, str]) -> str | None:
    """`a.b.c` with `a` replaced by what it stands for; None when `a` was not imported."""
    match node:
        case ast.Name(id=local):
            return meanings.get(local)
        case ast.Attribute(value=value, attr=attr):
            above = _dotted(value, meanings)
            return f"{above}.{attr}" if above else None
        case _:
            return None
