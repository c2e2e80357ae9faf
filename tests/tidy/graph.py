"""Rules over the whole tree: who imports whom, and which libraries the product stands on.

Each is a function over all files, path to text, so that a sample is a small dict.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import PurePosixPath

from tests.tidy import allowed
from tests.tidy.names import imports, is_below
from tests.tidy.rules import names_of, package_of, tree_of

# Where a distribution and the module that it brings are not called the same.
_MODULE_OF = {"prometheus-client": "prometheus_client"}


def cycles(files: Mapping[str, str]) -> Iterator[str]:
    """No module of the product imports itself by way of others, wherever the import stands."""
    edges = _edges(files)
    done: set[str] = set()
    for start in sorted(edges):
        trail: list[str] = []
        yield from _cycles_from(start, edges, trail, done)


def reaches(files: Mapping[str, str]) -> Iterator[str]:
    """No module has behind it, however many imports away, what it must do without."""
    edges = _edges(files)
    for top, patterns in allowed.MUST_NOT_REACH.items():
        starts = sorted(module for module in edges if is_below(module, top))
        ways = {start: start for start in starts}
        waiting = [*starts]
        while waiting:
            module = waiting.pop(0)
            if any(fnmatch(module, pattern) for pattern in patterns):
                yield f"{ways[module]}: {top} must do without {module}"
            for target in edges[module]:
                if target not in ways:
                    ways[target] = f"{ways[module]} -> {target}"
                    waiting.append(target)


def libraries(files: Mapping[str, str], declared: list[str]) -> Iterator[str]:
    """What the product imports from outside is declared, and what is declared is imported.

    `declared` holds the requirements of pyproject.toml, as written there.
    """
    names = {requirement.split(">")[0].split("=")[0].strip() for requirement in declared}
    modules = {_MODULE_OF.get(name, name) for name in names}
    used: set[str] = set()
    for path, source in files.items():
        if package_of(path) is None:
            continue
        for found in imports(path, tree_of(source)):
            top = found.name.dotted.split(".")[0]
            used.add(top)
            if top not in {*modules, *allowed.FIRST_PARTY, *sys.stdlib_module_names}:
                yield f"{path}:{found.name.line}: {top} is not among the dependencies"
    for module in sorted(modules - used):
        yield f"pyproject.toml: nothing in the product imports {module}"


def needless(files: Mapping[str, str]) -> Iterator[str]:
    """Every file that a ban excepts still uses what is banned."""
    for ban in allowed.BANS:
        for pattern in ban.only_in:
            excepted = [path for path in files if fnmatch(path, pattern)]
            names = [name for path in excepted for name in names_of(path, files[path])]
            if not any(is_below(name.dotted, top) for name in names for top in ban.names):
                yield f"{pattern}: uses no {ban.names[0]} or the like; drop the exception"


def _edges(files: Mapping[str, str]) -> dict[str, list[str]]:
    """For each module of the product, the modules of the product that it imports, sorted."""
    paths = {_module(path): path for path in files if package_of(path) is not None}
    edges: dict[str, list[str]] = {}
    for module, path in paths.items():
        targets: set[str] = set()
        for found in imports(path, tree_of(files[path])):
            target = found.name.dotted
            while target and target not in paths:
                target = target.rpartition(".")[0]
            targets.add(target)
        edges[module] = sorted(targets - {"", module})
    return edges


def _module(path: str) -> str:
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _cycles_from(
    module: str, edges: dict[str, list[str]], trail: list[str], done: set[str]
) -> Iterator[str]:
    """Depth first; `trail` is the way here, `done` holds what leads into no new cycle."""
    if module in trail:
        yield " -> ".join([*trail[trail.index(module) :], module])
        return
    if module in done:
        return
    trail.append(module)
    for target in edges[module]:
        yield from _cycles_from(target, edges, trail, done)
    trail.pop()
    done.add(module)
