"""The backend of the BlobStore suite: each of BACKENDS in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ring.seams import BlobStore
from tests.conformance.blob_stores import BACKENDS, BlobBackend


@pytest.fixture(params=BACKENDS)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobBackend]:
    async with BACKENDS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def blobs(backend: BlobBackend) -> BlobStore:
    return backend.store
