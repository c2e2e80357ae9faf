"""The stores that the interface tests run on: a real disk, with and without direct I/O, and the
simulated one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.pages.page_store import PageStore
from tests.node.pages.frames import PAGE
from tests.node.pages.sim_directory import SimDirectory


@pytest.fixture(params=["direct", "page cache", "simulated"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PageStore]:
    if request.param == "simulated":
        opened = PageStore(SimDirectory(), page_size=PAGE)
    else:
        direct = request.param == "direct"
        opened = PageStore.open(str(tmp_path / "pages"), PAGE, direct=direct)
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a store may be made."""
    return tmp_path / "pages"
