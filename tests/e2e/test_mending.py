"""An index that is damaged under a running node: nobody notices, the node mends it by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from node.index.index_keys import row_key
from ring.digest import Digest
from ring.record import RecordKey
from tests.e2e.served import Served, served

pytestmark = pytest.mark.slow

SEAL_AT = 16 + 16 + 8  # of a row whose value has a place: its last byte comes before this
BLOBS = [os.urandom(size) for size in (1_000, 3_000, 90_000, 500_000)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Every row is in the indexes: nodes make a checkpoint when they end."""
    folder = tmp_path_factory.mktemp("first")
    with served(folder, "--store", "pages") as cluster:
        for blob in BLOBS:
            assert cluster.http("PUT", f"/v1/blobs/{Digest.of(blob)}", blob).status == 201
        cluster.until(lambda: all(node["records"] == len(BLOBS) for node in nodes(cluster)))
        assert cluster.stop() == 0
    again = tmp_path_factory.mktemp("again")
    (folder / "data").rename(again / "data")
    with served(again) as cluster:
        yield cluster


def nodes(cluster: Served) -> list[dict[str, object]]:
    found = cluster.status()["nodes"]
    assert isinstance(found, list)
    return found


def standing(cluster: Served, name: str) -> tuple[object, int]:
    """State of a node, and how often it made its index anew."""
    (node,) = (node for node in nodes(cluster) if node["node"] == name)
    counters = node["counters"]
    assert isinstance(counters, dict)
    return node["state"], counters.get("index_mended_total", 0)


def damage_row(cluster: Served, name: str, digest: Digest) -> None:
    """Flip a bit of the seal of a row, wherever it stands in the file of a node's index."""
    path = cluster.data_dir / name / "index" / "data.mdb"
    key = row_key(RecordKey(digest).raw)
    with path.open("r+b") as file:
        content = file.read()
        at = content.find(key)
        assert at >= 0
        while at >= 0:
            seal = at + len(key) + SEAL_AT - 1
            file.seek(seal)
            file.write(bytes((content[seal] ^ 1,)))
            at = content.find(key, at + 1)


def read_all(cluster: Served) -> None:
    for blob in BLOBS:
        reply = cluster.http("GET", f"/v1/blobs/{Digest.of(blob)}")
        assert (reply.status, reply.body) == (200, blob)


def test_every_read_is_right_while_a_node_mends_its_index(cluster: Served) -> None:
    pid = cluster.node_pid("node-2")
    damage_row(cluster, "node-2", Digest.of(BLOBS[0]))

    def is_well() -> bool:
        read_all(cluster)
        return standing(cluster, "node-2") == ("voter", 1)

    cluster.until(is_well)

    assert cluster.node_pid("node-2") == pid
    absent = Digest.of(b"never stored")
    assert cluster.http("GET", f"/v1/blobs/{absent}").status == 404
    more = os.urandom(2_000)
    assert cluster.http("PUT", f"/v1/blobs/{Digest.of(more)}", more).status == 201
    log = (cluster.folder / "serve.log").read_text()
    assert log.count("the index is damaged and must be made anew") == 1
    assert log.count("the index was made anew") == 1


def test_a_node_that_is_killed_with_a_damaged_index_is_whole_after_its_start(
    cluster: Served,
) -> None:
    damage_row(cluster, "node-3", Digest.of(BLOBS[1]))
    read_all(cluster)
    os.kill(cluster.node_pid("node-3"), signal.SIGKILL)

    def is_well() -> bool:
        more = os.urandom(100)  # a write reaches also a node that reads pass over for a while
        assert cluster.http("PUT", f"/v1/blobs/{Digest.of(more)}", more).status == 201
        read_all(cluster)
        return standing(cluster, "node-3")[0] == "voter" and has_mended(cluster, "node-3")

    cluster.until(is_well)


def has_mended(cluster: Served, name: str) -> bool:
    """Whether the index that was damaged is not the one in use any more."""
    return (cluster.data_dir / name / "index" / "discarded.mdb").exists()
