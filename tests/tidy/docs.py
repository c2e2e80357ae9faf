"""Every public module, class, function and method of the product says what it is.

A method that a protocol of ours or a library's base class declares is described there: whoever
fills it in need not repeat it. What the docstrings say - shapes, units, errors, sources - is for
readers to judge; this only makes sure that there is something to judge.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator, Mapping
from typing import Final

import click

from tests.tidy.rules import FUNCTIONS, package_of, tree_of

_BASES: Final = (asyncio.Protocol, asyncio.BufferedProtocol, click.ParamType, click.ClickException)


def docstrings(files: Mapping[str, str]) -> Iterator[str]:
    """What is public and undocumented, over all files, path to text."""
    product = {path: tree_of(text) for path, text in files.items() if package_of(path)}
    declared = {name for base in _BASES for name in dir(base)}
    for tree in product.values():
        declared.update(_promised(tree))
    for path, tree in product.items():
        if not ast.get_docstring(tree):
            yield f"{path}:1: the module has no docstring"
        for node, name in _public(tree):
            if not ast.get_docstring(node) and not ("." in name and node.name in declared):
                yield f"{path}:{node.lineno}: {name} has no docstring"


def _public(
    tree: ast.Module | ast.ClassDef, inside: str = ""
) -> Iterator[tuple[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """Classes, functions and methods with their full names; nothing with an underscore in front."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("_"):
                continue
            yield node, inside + node.name
            if isinstance(node, ast.ClassDef):
                yield from _public(node, f"{inside}{node.name}.")


def _promised(tree: ast.Module) -> Iterator[str]:
    """Names of documented methods of a module's protocols, and of those left to subclasses."""
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        protocol = any(ast.unparse(base).split("[")[0] == "Protocol" for base in node.bases)
        for method in node.body:
            if isinstance(method, FUNCTIONS) and ast.get_docstring(method):
                left = ast.unparse(method.body[-1]) == "raise NotImplementedError"
                if protocol or left:
                    yield method.name
