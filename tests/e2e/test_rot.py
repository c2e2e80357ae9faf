"""Copies that rot on disk, a recipe in the wrong place, a node that dies under a download.

On the store files, where a copy can be found by its name; test_rot_pages.py looks into segments.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ring.digest import Algorithm, Digest
from ring.limits import CHUNK_BYTES, MIB
from tests.e2e.served import Served, served

pytestmark = pytest.mark.slow

NODES = ("node-1", "node-2", "node-3")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("rot"), "--store", "files") as running:
        yield running


def store(cluster: Served, data: bytes, algorithm: Algorithm = Algorithm.BLAKE3) -> Digest:
    digest = Digest.of(data, algorithm)
    assert cluster.http("PUT", f"/v1/blobs/{digest}", data).status in {200, 201}
    return digest


def copy_of(cluster: Served, node: str, digest: Digest, below: str = "") -> Path:
    """Where a node keeps a value (the layout of contracts A.4)."""
    label = digest.algorithm.label
    return cluster.data_dir / node / below / label / digest.hex[:2] / digest.hex[2:]


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes((byte ^ 1,)))


def all_copies_are_there(cluster: Served, digest: Digest) -> None:
    cluster.until(lambda: all(copy_of(cluster, node, digest).exists() for node in NODES))


def quarantined(cluster: Served) -> int:
    nodes = cluster.status()["nodes"]
    assert isinstance(nodes, list)
    return sum(node["counters"]["quarantined_total"] for node in nodes)


def download(cluster: Served, digest: Digest) -> tuple[int, bytes, bool]:
    """Status, what arrived, and whether the answer came to its announced end."""
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=60)
    try:
        connection.request("GET", f"/v1/blobs/{digest}")
        response = connection.getresponse()
        try:
            return response.status, response.read(), True
        except http.client.IncompleteRead as error:
            return response.status, error.partial, False
        except ConnectionError:
            return response.status, b"", False
    finally:
        connection.close()


@pytest.mark.parametrize("size", [1, 1024, 300_000, CHUNK_BYTES])
def test_one_flipped_bit_is_never_noticed_by_the_client(cluster: Served, size: int) -> None:
    data = os.urandom(size)
    digest = store(cluster, data)
    all_copies_are_there(cluster, digest)
    before = quarantined(cluster)
    flip(copy_of(cluster, "node-2", digest), size // 2)

    for _ in range(6):  # every node is asked for the bytes in turn
        assert download(cluster, digest) == (200, data, True)
    cluster.until(lambda: quarantined(cluster) == before + 1)

    healed = copy_of(cluster, "node-2", digest)
    cluster.until(lambda: healed.exists() and healed.read_bytes() == data)
    assert list((cluster.data_dir / "node-2" / ".quarantine").rglob("*"))


def test_all_copies_flipped_is_503_until_the_bytes_are_put_again(cluster: Served) -> None:
    data = os.urandom(2048)
    digest = store(cluster, data)
    all_copies_are_there(cluster, digest)
    for node in NODES:
        flip(copy_of(cluster, node, digest), 17)

    for _ in range(3):
        reply = cluster.http("GET", f"/v1/blobs/{digest}")
        assert reply.status == 503
        assert "Retry-After" in reply.headers
        assert data[:8] not in reply.body

    assert cluster.http("PUT", f"/v1/blobs/{digest}", data).status in {200, 201}
    assert download(cluster, digest) == (200, data, True)


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_a_rotten_chunk_is_replaced_in_mid_body(cluster: Served, algorithm: Algorithm) -> None:
    data = os.urandom(2 * CHUNK_BYTES + 12_345)
    digest = store(cluster, data, algorithm)
    chunks = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
    for node, chunk in zip(NODES, chunks, strict=True):
        name = Digest.of(chunk)
        all_copies_are_there(cluster, name)
        flip(copy_of(cluster, node, name), len(chunk) // 3)

    assert download(cluster, digest) == (200, data, True)
    for start in (0, CHUNK_BYTES - 5, 2 * CHUNK_BYTES):
        connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=60)
        span = {"Range": f"bytes={start}-{start + 9_999}"}
        connection.request("GET", f"/v1/blobs/{digest}", headers=span)
        response = connection.getresponse()
        assert (response.status, response.read()) == (206, data[start : start + 10_000])
        connection.close()


def test_a_chunk_that_is_bad_everywhere_cuts_the_body_short(cluster: Served) -> None:
    data = os.urandom(4 * CHUNK_BYTES + 7)
    digest = store(cluster, data)
    name = Digest.of(data[2 * CHUNK_BYTES : 3 * CHUNK_BYTES])
    all_copies_are_there(cluster, name)
    for node in NODES:
        flip(copy_of(cluster, node, name), 99)

    status, arrived, complete = download(cluster, digest)

    assert not (status == 200 and complete)
    assert data.startswith(arrived) or status == 503


def test_a_recipe_under_another_digest_never_makes_a_complete_body(cluster: Served) -> None:
    one, other = (os.urandom(CHUNK_BYTES + 50 + extra) for extra in (0, 0))
    digest, victim = store(cluster, one), store(cluster, other)
    for node in NODES:
        stolen = copy_of(cluster, node, digest, ".recipes")
        cluster.until(stolen.exists)
        target = copy_of(cluster, node, victim, ".recipes")
        cluster.until(target.exists)
        shutil.copyfile(stolen, target)

    for _ in range(3):
        status, arrived, complete = download(cluster, victim)
        assert not (status == 200 and complete), len(arrived)
        assert one[:64] not in arrived
    assert download(cluster, digest) == (200, one, True)


def test_a_node_that_dies_under_a_download_is_not_noticed(cluster: Served) -> None:
    data = os.urandom(1 * MIB) * 160
    digest = store(cluster, data)
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=60)
    connection.request("GET", f"/v1/blobs/{digest}")
    response = connection.getresponse()
    first = response.read(10 * MIB)
    os.kill(cluster.node_pid("node-1"), signal.SIGKILL)

    rest = response.read()

    connection.close()
    assert response.status == 200
    assert first + rest == data
    cluster.wait_ready()
