"""Copies that rot inside the segments of the page store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ring.digest import Digest
from ring.limits import CHUNK_BYTES
from tests.e2e.served import Served, served

pytestmark = pytest.mark.slow

NODES = ("node-1", "node-2", "node-3")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("rot"), "--store", "pages") as running:
        yield running


def store(cluster: Served, data: bytes) -> Digest:
    digest = Digest.of(data)
    assert cluster.http("PUT", f"/v1/blobs/{digest}", data).status in {200, 201}
    cluster.until(lambda: all(places_of(cluster, node, data) for node in NODES))
    return digest


def places_of(cluster: Served, node: str, data: bytes) -> list[tuple[Path, int]]:
    """Where the bytes of a value stand in a node's segments."""
    found = []
    for path in sorted((cluster.data_dir / node).glob("*/*.seg")):
        at = path.read_bytes().find(data[:4096])
        if at >= 0:
            found.append((path, at))
    return found


def flip(cluster: Served, node: str, data: bytes, offset: int) -> None:
    for path, at in places_of(cluster, node, data):
        with path.open("r+b") as file:
            file.seek(at + offset)
            (byte,) = file.read(1)
            file.seek(at + offset)
            file.write(bytes((byte ^ 1,)))


def quarantined(cluster: Served) -> int:
    nodes = cluster.status()["nodes"]
    assert isinstance(nodes, list)
    return sum(node["counters"]["quarantined_total"] for node in nodes)


@pytest.mark.parametrize("size", [64, 2048, 300_000, CHUNK_BYTES])
def test_one_flipped_bit_is_never_noticed_by_the_client(cluster: Served, size: int) -> None:
    data = os.urandom(size)
    digest = store(cluster, data)
    before = quarantined(cluster)
    flip(cluster, "node-2", data, size // 2)

    for _ in range(6):  # every node is asked for the bytes in turn
        reply = cluster.http("GET", f"/v1/blobs/{digest}")
        assert (reply.status, reply.body) == (200, data)
    cluster.until(lambda: quarantined(cluster) == before + 1)

    assert list((cluster.data_dir / "node-2" / "quarantine").rglob("*"))


@pytest.mark.parametrize("size", [2048, 300_000])
def test_all_copies_flipped_is_503_until_the_bytes_are_put_again(
    cluster: Served, size: int
) -> None:
    data = os.urandom(size)
    digest = store(cluster, data)
    for node in NODES:
        flip(cluster, node, data, 17)
    for _ in range(3):
        reply = cluster.http("GET", f"/v1/blobs/{digest}")
        assert reply.status == 503
        assert data[:8] not in reply.body

    assert cluster.http("PUT", f"/v1/blobs/{digest}", data).status in {200, 201}
    reply = cluster.http("GET", f"/v1/blobs/{digest}")
    assert (reply.status, reply.body) == (200, data)
