"""The tree is what its documents say: arrows, seams, sizes, names, docstrings.

The rules are functions over a path and a text (tests/tidy/rules.py), the exceptions are data
(tests/tidy/allowed.py). Each rule runs over the whole tree, over samples that it must refuse, and
over samples that it must let pass.
"""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tidy import allowed, docs, graph, rules

ROOT = Path(__file__).parent.parent
NOT_OURS = {"build", "dist", "holdfast-data", "out", "__pycache__"}

BAD = [
    (rules.parses, "ring/a.py", "def f[T](a: T) -> T: ..."),
    (rules.arrows, "ring/a.py", "import node"),
    (rules.arrows, "ring/a.py", "from gateway.view import View"),
    (rules.arrows, "node/a.py", "def f():\n    from gateway import view"),
    (rules.arrows, "node/a.py", "from holdfast import Client"),
    (rules.arrows, "gateway/a.py", "import node"),
    (rules.arrows, "gateway/a.py", "from node import store"),
    (rules.arrows, "gateway/a.py", "from node.store import FileStore"),
    (rules.arrows, "holdfast/a.py", "from tests.sim.world import World"),
    (rules.arrows, "node/deep/a.py", "from ...gateway import view"),
    (rules.ring_is_pure, "ring/a.py", "import asyncio"),
    (rules.ring_is_pure, "ring/a.py", "def f():\n    import os.path"),
    (rules.ring_is_pure, "ring/a.py", "from urllib.request import urlopen"),
    (rules.ring_is_pure, "ring/deep/a.py", "from logging import getLogger"),
    (rules.ring_is_pure, "ring/a.py", "import structlog"),
    (rules.seams, "node/a.py", "import time\nstarted = time.monotonic()"),
    (rules.seams, "node/a.py", "from time import time"),
    (rules.seams, "gateway/a.py", "import datetime as d\nnow = d.datetime.now()"),
    (rules.seams, "gateway/a.py", "from random import Random"),
    (rules.seams, "gateway/a.py", "from os import urandom as noise"),
    (rules.seams, "node/a.py", "async def f(loop):\n    loop.run_in_executor(None, print)"),
    (rules.seams, "holdfast/a.py", "from concurrent.futures import ThreadPoolExecutor"),
    (rules.seams, "node/a.py", "import asyncio\nasyncio.to_thread(print)"),
    (rules.seams, "node/a.py", "def f():\n    return open('x')"),
    (rules.seams, "node/host.py", "opener = open"),
    (rules.seams, "node/a.py", "import os\nos.fsync(3)"),
    (rules.seams, "node/a.py", "import os\nos.path.exists('x')"),
    (rules.seams, "gateway/a.py", "from pathlib import Path"),
    (rules.seams, "node/posix_disk.py", "from mmap import mmap"),
    (rules.seams, "node/index/a.py", "import lmdb"),
    (rules.seams, "node/a.py", "import subprocess"),
    (rules.seams, "node/a.py", "import asyncio as a\na.wait([])"),
    (rules.seams, "node/posix_disk.py", "from asyncio import as_completed"),
    (rules.seams, "gateway/a.py", "__import__('time')"),
    (rules.no_patching, "tests/a.py", "from unittest import mock"),
    (rules.no_patching, "tests/a.py", "from unittest.mock import patch"),
    (rules.no_patching, "tests/a.py", "def test(monkeypatch):\n    monkeypatch.setattr(a, 'b', 1)"),
    (rules.set_order, "node/a.py", "for a in set(b): pass"),
    (rules.set_order, "node/a.py", "c = [a for a in {b for b in d}]"),
    (rules.sizes, "bench/a.py", "\n" * 401),
    (rules.sizes, "tests/a.py", "def f():\n" + "    f()\n" * 60),
    (rules.sizes, "node/a.py", "class A:\n  async def f():\n   '''Doc.'''\n" + "   f()\n" * 60),
    (rules.module_names, "node/utils.py", ""),
    (rules.module_names, "ring/common/digest.py", ""),
    (rules.module_names, "tests/_helpers.py", ""),
    (rules.suppressions, "node/a.py", "import os  # noqa"),
    (rules.suppressions, "node/a.py", "import os  # noqa: F401"),
    (rules.suppressions, "node/a.py", "import os  # type: ignore[import]"),
    (rules.suppressions, "node/a.py", "import os  # type: ignore  # for a reason"),
    (rules.words, "README.md", "TO" + "DO later"),
    (rules.words, "node/a.py", "f()  # FIX" + "ME"),
    (rules.words, "docs/a.md", "see .." + "/shared/a.md"),
    (rules.words, "Makefile", "cd /wo" + "rk/main"),
    (rules.one_title, "a.md", "no title"),
    (rules.one_title, "a.md", "# One\n\n# Two"),
    (rules.one_title, "a.md", "```\n# comment\n```"),
]

GOOD = [
    (rules.parses, "ring/a.py", "match a:\n    case 1: pass"),
    (rules.arrows, "ring/a.py", "from ring.digest import Digest\nfrom . import errors"),
    (rules.arrows, "gateway/a.py", "from node.client import NodeClient\nimport node.transport"),
    (rules.arrows, "tests/a.py", "from node.store import FileStore"),
    (rules.ring_is_pure, "ring/a.py", "from collections.abc import Sequence\nimport ring.errors"),
    (rules.ring_is_pure, "node/a.py", "import asyncio"),
    (rules.seams, "node/host.py", "import time, secrets\ntime.time()"),
    (rules.seams, "node/posix_threads.py", "import os, threading\nos.fsync(3)\nopen('x')"),
    (rules.seams, "node/a.py", "def f(disk, loop):\n    disk.open('x')\n    return loop.time()"),
    (rules.seams, "node/a.py", "import os\nos.path.join('a', str(os.getpid()))"),
    (rules.seams, "node/a.py", "import asyncio\nasyncio.wait_for(f(), 1)"),
    (rules.seams, "tests/a.py", "import time\ntime.sleep(1)"),
    (rules.no_patching, "tests/a.py", "def test(monkeypatch):\n    monkeypatch.setenv('A', 'b')"),
    (rules.set_order, "node/a.py", "for a in sorted({*b, *c}): pass"),
    (rules.sizes, "bench/a.py", "\n" * 400),
    (rules.sizes, "tests/a.py", "def f():\n    '''Doc.'''\n" + "    f()\n" * 59),
    (rules.module_names, "node/posix_disk.py", ""),
    (rules.suppressions, "node/a.py", "x = y  # noqa: F401, E501 - a name that users import"),
    (rules.suppressions, "node/a.py", "x = y  # type: ignore[import]  # ships no types"),
    (rules.suppressions, "node/a.py", "x = y  # noqa: F401 - likewise"),
    (rules.words, "README.md", "the networks are in network/"),
    (rules.one_title, "a.md", "# One\n\n## Part\n\n```\n# comment\n```"),
]


def _files() -> Iterator[tuple[str, str]]:
    """Every text file of the tree with its path from the root, hidden folders but .ci left out."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(part.startswith(".") for part in parts[:-1] if part != ".ci")
        installed = any(part in NOT_OURS or part.endswith(".egg-info") for part in parts)
        if path.is_file() and not hidden and not installed:
            with contextlib.suppress(UnicodeDecodeError):  # a golden file may hold bytes
                yield "/".join(parts), path.read_text(encoding="utf-8")


TREE = dict(_files())


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule: rules.Rule) -> None:
    faults = [fault for path, source in TREE.items() for fault in rule(path, source)]

    assert not faults, "\n".join([str(rule.__doc__), *faults])


@pytest.mark.parametrize(("rule", "path", "source"), BAD)
def test_a_rule_refuses_what_it_forbids(rule: rules.Rule, path: str, source: str) -> None:
    faults = list(rule(path, source))

    assert faults
    assert all(fault.startswith(path) for fault in faults)


@pytest.mark.parametrize(("rule", "path", "source"), GOOD)
def test_a_rule_lets_pass_what_it_allows(rule: rules.Rule, path: str, source: str) -> None:
    assert not list(rule(path, source))


def test_every_rule_has_a_sample_that_it_refuses() -> None:
    assert {rule for rule, _, _ in BAD} == set(rules.RULES)


def test_every_seam_is_guarded_by_a_sample() -> None:
    faults = [fault for rule, path, source in BAD for fault in rule(path, source)]

    unguarded = [ban for ban in allowed.BANS if not any(ban.reason in fault for fault in faults)]

    assert not unguarded


def test_no_modules_import_each_other_in_a_circle() -> None:
    faults = list(graph.cycles(TREE))

    assert not faults, "\n".join(faults)


def test_a_circle_of_imports_is_found() -> None:
    files = {
        "node/__init__.py": "",
        "node/a.py": "from node.b import B",
        "node/b.py": "def f():\n    from . import c",
        "node/c.py": "import node.a\nimport os",
        "node/d.py": "from node import a",
    }

    assert list(graph.cycles(files)) == ["node.a -> node.b -> node.c -> node.a"]


def test_nobody_reaches_what_he_must_do_without() -> None:
    faults = list(graph.reaches(TREE))

    assert not faults, "\n".join(faults)


def test_a_long_way_to_the_disk_is_found() -> None:
    files = {
        "gateway/view.py": "from node.client import NodeClient",
        "node/client.py": "from node import posix_disk",
        "node/posix_disk.py": "",
    }

    assert list(graph.reaches(files)) == [
        "gateway.view -> node.client -> node.posix_disk: gateway must do without node.posix_disk",
        "node.client -> node.posix_disk: node.client must do without node.posix_disk",
    ]


def test_the_product_stands_on_the_libraries_that_it_declares() -> None:
    project = tomllib.loads(TREE["pyproject.toml"])["project"]

    faults = list(graph.libraries(TREE, project["dependencies"]))

    assert not faults, "\n".join(faults)


def test_a_library_too_many_or_too_few_is_found() -> None:
    files = {
        "node/a.py": "import os\nimport msgpack\nfrom yarl import URL",
        "bench/a.py": "import httpx",
    }

    assert list(graph.libraries(files, ["msgpack>=1,<2", "prometheus-client>=0.2"])) == [
        "node/a.py:3: yarl is not among the dependencies",
        "pyproject.toml: nothing in the product imports prometheus_client",
    ]


def test_what_is_public_has_a_docstring() -> None:
    faults = list(docs.docstrings(TREE))

    assert not faults, "\n".join(faults)


def test_a_missing_docstring_is_found() -> None:
    seam = "class C(Protocol):\n '''Doc.'''\n def now(self):\n  '''Doc.'''\n def tick(self): ..."
    host = "'''Doc.'''\nclass Host:\n def now(self): ...\n def _f(self): ...\ndef f(): ..."
    files = {"ring/seams.py": seam, "node/host.py": host, "tests/a.py": "def f(): ..."}

    assert list(docs.docstrings(files)) == [
        "ring/seams.py:1: the module has no docstring",
        "ring/seams.py:5: C.tick has no docstring",
        "node/host.py:2: Host has no docstring",
        "node/host.py:5: f has no docstring",
    ]


def test_the_tree_was_read() -> None:
    for package in allowed.PACKAGES:
        assert f"{package}/__init__.py" in TREE
    assert {"Makefile", ".ci/run", "CHANGELOG.md", "tests/test_tidy.py"} <= TREE.keys()


def test_every_exception_is_needed_by_a_file() -> None:
    faults = list(graph.needless(TREE))

    assert not faults, "\n".join(faults)


def test_a_needless_exception_is_found() -> None:
    files = {"node/host.py": "import time", "node/posix_disk.py": "open('a')"}

    faults = list(graph.needless(files))

    assert not [fault for fault in faults if "node/host.py: uses no time" in fault]
    assert [fault for fault in faults if "node/host.py: uses no random" in fault]
    assert [fault for fault in faults if "node/posix_threads.py: uses no threading" in fault]
