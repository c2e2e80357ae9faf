"""The rules of the tree: each is a function over a path and its text that yields faults in words.

A rule decides by the path whether the file is its business, touches no disk, and is shown below
tests/test_tidy.py to find at least one fault: a rule that cannot fail is a defect.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import PurePosixPath

from tests.tidy import allowed
from tests.tidy.names import Name, imports, is_below, references

Rule = Callable[[str, str], Iterator[str]]

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SUPPRESSION = re.compile(r"#\s*(noqa|type:\s*ignore)(?P<rest>.*)")
_EXPLAINED = re.compile(r"(:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*|\[[a-z0-9, -]+\])\W+(\w+\W+\w+|\w{5,})")


def parses(path: str, source: str) -> Iterator[str]:
    """Every Python file is Python 3.11; the other rules see nothing of a file that is not."""
    if not path.endswith(".py"):
        return
    try:
        ast.parse(source, feature_version=(3, 11))
    except SyntaxError as error:
        yield f"{path}:{error.lineno}: not Python 3.11: {error.msg}"


def arrows(path: str, source: str) -> Iterator[str]:
    """Installed packages import along the line holdfast -> gateway -> node.client -> ring."""
    package = package_of(path)
    if package is None:
        return
    for found in imports(path, tree_of(source)):
        name = found.name
        if name.dotted.split(".")[0] not in allowed.FIRST_PARTY:
            continue
        if not any(is_below(name.dotted, top) for top in allowed.MAY_IMPORT[package]):
            yield f"{path}:{name.line}: {package} must not import {name.dotted}"


def ring_is_pure(path: str, source: str) -> Iterator[str]:
    """`ring` imports nothing that could do I/O, read a clock, draw randomness or log."""
    if package_of(path) != "ring":
        return
    for found in imports(path, tree_of(source)):
        name = found.name
        if not any(is_below(name.dotted, top) for top in (*allowed.RING_MAY_IMPORT, "ring")):
            yield f"{path}:{name.line}: ring is pure and must not import {name.dotted}"


def seams(path: str, source: str) -> Iterator[str]:
    """Clock, randomness, threads, disk and processes are touched in their seam files only."""
    if package_of(path) is None:
        return
    names = names_of(path, source)
    for ban in allowed.BANS:
        if any(fnmatch(path, pattern) for pattern in ban.only_in):
            continue
        used = {n.line: n.dotted for n in names if any(is_below(n.dotted, b) for b in ban.names)}
        where = f"only in {', '.join(ban.only_in)}" if ban.only_in else "nowhere"
        for line, dotted in sorted(used.items()):
            yield f"{path}:{line}: {dotted} is allowed {where}: {ban.reason}"


def no_patching(path: str, source: str) -> Iterator[str]:
    """Tests use fakes that pass the real thing's suite, never mocks or patches."""
    if not path.endswith(".py"):
        return
    for name in names_of(path, source):
        if is_below(name.dotted, "unittest.mock") or name.dotted == "*.setattr":
            yield f"{path}:{name.line}: {name.dotted} patches; write a fake behind a seam"


def set_order(path: str, source: str) -> Iterator[str]:
    """No loop of the packages walks a set as it comes: its order differs between processes."""
    if package_of(path) is None:
        return
    for node in ast.walk(tree_of(source)):
        if isinstance(node, ast.For | ast.AsyncFor):
            walked = [node.iter]
        elif isinstance(node, ast.ListComp | ast.DictComp):
            walked = [part.iter for part in node.generators]
        else:
            continue
        for iterated in walked:
            match iterated:
                case ast.Set() | ast.SetComp() | ast.Call(func=ast.Name(id="set" | "frozenset")):
                    yield f"{path}:{iterated.lineno}: a loop over a set has no order; sort it"


def sizes(path: str, source: str) -> Iterator[str]:
    """A file fits into a head, a function onto a screen."""
    if not path.endswith(".py"):
        return
    lines = len(source.splitlines())
    if lines > allowed.FILE_LINES_MAX:
        yield f"{path}: {lines} lines, at most {allowed.FILE_LINES_MAX}"
    for node in ast.walk(tree_of(source)):
        if isinstance(node, FUNCTIONS):
            lines = _span(node) - (_span(node.body[0]) if ast.get_docstring(node) else 0)
            if lines > allowed.FUNCTION_LINES_MAX:
                yield (
                    f"{path}:{node.lineno}: {node.name} has {lines} lines without its docstring, "
                    f"at most {allowed.FUNCTION_LINES_MAX}"
                )


def module_names(path: str, source: str) -> Iterator[str]:
    """No file or folder of Python is called something that means anything."""
    del source
    if not path.endswith(".py"):
        return
    for part in PurePosixPath(path).with_suffix("").parts:
        if part.strip("_") in allowed.BANNED_MODULES:
            yield f"{path}: a module must not be called {part}; name the one thing inside it"


def suppressions(path: str, source: str) -> Iterator[str]:
    """Whoever silences a tool names the code and says why, on that line."""
    if not path.endswith(".py") or not tree_of(source).body:
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        match = _SUPPRESSION.search(token.string) if token.type == tokenize.COMMENT else None
        if match and not _EXPLAINED.match(match["rest"]):
            yield f"{path}:{token.start[0]}: {match[0].strip()!r} needs a code and a reason"


def words(path: str, source: str) -> Iterator[str]:
    """Nothing is left for later in a comment, and nothing names the place where it was written."""
    for number, line in enumerate(source.splitlines(), start=1):
        for word in allowed.BANNED_WORDS:
            if re.search(rf"\b{word}\b", line):
                yield f"{path}:{number}: {word}: do it, or file it"
        for mention in allowed.BANNED_MENTIONS:
            if re.search(rf"(?<![\w.]){re.escape(mention)}", line):
                yield f"{path}:{number}: {mention} exists on no user's machine"


def one_title(path: str, source: str) -> Iterator[str]:
    """A Markdown file has exactly one title."""
    if not path.endswith(".md"):
        return
    fenced = False
    titles = 0
    for line in source.splitlines():
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        titles += not fenced and line.startswith("# ")
    if titles != 1:
        yield f"{path}: {titles} lines start with '# ', exactly one must"


RULES: tuple[Rule, ...] = (
    parses,
    arrows,
    ring_is_pure,
    seams,
    no_patching,
    set_order,
    sizes,
    module_names,
    suppressions,
    words,
    one_title,
)


@lru_cache(maxsize=1024)
def tree_of(source: str) -> ast.Module:
    """The syntax tree; an empty one where `parses` has something to say."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module(body=[], type_ignores=[])


@lru_cache(maxsize=1024)
def names_of(path: str, source: str) -> tuple[Name, ...]:
    """All names that the module refers to."""
    return tuple(references(path, tree_of(source)))


def package_of(path: str) -> str | None:
    """The installed package that a Python file belongs to; None for tests, bench and the rest."""
    top = PurePosixPath(path).parts[0]
    return top if path.endswith(".py") and top in allowed.PACKAGES else None


def _span(node: ast.stmt) -> int:
    assert node.end_lineno is not None

    return node.end_lineno - node.lineno + 1
