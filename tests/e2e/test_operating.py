"""What an operator does about rot, with real processes: scrub, why, repair, status, metrics."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator

import pytest

from ring.digest import Digest
from ring.limits import CHUNK_BYTES
from tests.e2e.served import Served, served
from tests.e2e.test_rot import NODES, all_copies_are_there, copy_of, flip, store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("operating"), "--store", "files") as running:
        yield running


def why(cluster: Served, digest: Digest) -> str:
    return cluster.ok("admin", "why", str(digest))


def test_a_rotten_copy_is_found_explained_and_replaced(cluster: Served) -> None:
    data = os.urandom(300_000)
    digest = store(cluster, data)
    all_copies_are_there(cluster, digest)
    flip(copy_of(cluster, "node-2", digest), 100_000)
    assert "3 of 3 owners have a good copy" in why(cluster, digest)  # nobody has looked

    said = json.loads(cluster.ok("admin", "scrub", "--wait", "--json"))
    assert (said["finished"], said["bad_copies_found"]) == (True, 1)

    assert cluster.ok("admin", "repair").startswith("healed: all of ")
    told = why(cluster, digest)
    assert "3 of 3 owners have a good copy" in told
    assert "node-2's copy was bad and put aside" in told
    assert "found by the scrub" in told
    assert "; a verified copy came from node-" in told
    assert "1 quarantined copy is kept" in told
    assert copy_of(cluster, "node-2", digest).read_bytes() == data


def test_copies_that_somebody_removed_come_back(cluster: Served) -> None:
    large = os.urandom(CHUNK_BYTES + 5)
    digest = store(cluster, large)
    tail = Digest.of(large[CHUNK_BYTES:])
    all_copies_are_there(cluster, tail)
    copy_of(cluster, "node-1", tail).unlink()
    assert "1 copy was bad or missing" in cluster.ok("admin", "scrub", "--wait")
    cluster.ok("admin", "repair")
    assert all(copy_of(cluster, node, tail).exists() for node in NODES)
    assert "1 large blob needs" in why(cluster, tail)
    assert "a large blob" in why(cluster, digest)


def test_what_has_no_good_copy_left_is_never_called_healed(cluster: Served) -> None:
    data = os.urandom(1_000)
    digest = store(cluster, data)
    all_copies_are_there(cluster, digest)
    for node in NODES:
        flip(copy_of(cluster, node, digest), 17)
    cluster.ok("admin", "scrub", "--wait")

    repaired = cluster.command("admin", "repair", "--patience", "15")
    assert repaired.returncode == 1
    assert b"none at all" in repaired.stdout
    told = why(cluster, digest)
    assert "no good copy on any node that answered" in told
    assert "3 quarantined copies are kept" in told

    store(cluster, data)
    assert cluster.ok("admin", "repair").startswith("healed: ")


def test_status_and_metrics_tell_the_ledger(cluster: Served) -> None:
    store(cluster, b"counted")
    cluster.ok("admin", "repair")
    assert "digests by verified copies  0: 0, 1: 0, 2: 0, 3: " in cluster.ok("admin", "status")
    cluster.until(lambda: "holdfast_cluster_whole 1.0" in metrics(cluster))
    node = (cluster.data_dir / "node-1.toml").read_text()
    listen = next(line for line in node.splitlines() if line.startswith("health_listen"))
    address = listen.split('"')[1]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    assert 'holdfast_node_led_digests{copies="3"}' in text
    assert "holdfast_node_scrub_copies_total" in text


def metrics(cluster: Served) -> str:
    return cluster.http("GET", "/metrics").body.decode()
