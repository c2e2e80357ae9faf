"""Deleted blobs in a cluster of real processes: back from the trash, and gone for good."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ring.digest import Digest
from ring.limits import MIB
from tests.e2e.served import Served, served

pytestmark = pytest.mark.slow

SMALL, LARGE = os.urandom(5_000), os.urandom(9 * MIB)


def records(cluster: Served) -> list[int]:
    nodes = cluster.status()["nodes"]
    assert isinstance(nodes, list)
    return [node["records"] for node in nodes]


def put(cluster: Served, data: bytes) -> str:
    return cluster.ok("put", "-", stdin=data)


def generation(cluster: Served, digest: str) -> str:
    return cluster.http("HEAD", f"/v1/blobs/{digest}").headers["Holdfast-Generation"]


def test_deleted_blobs_come_back_until_they_are_gone_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path) as cluster:
        small, large = put(cluster, SMALL), put(cluster, LARGE)
        assert small == str(Digest.of(SMALL))
        cluster.ok("rm", small, large)
        assert cluster.command("has", small, large).returncode == 1
        assert cluster.ok("ls") == ""
        for digest in (small, large):
            cluster.ok("admin", "undelete", digest)
            assert generation(cluster, digest) == "2"
        assert cluster.http("GET", f"/v1/blobs/{large}").body == LARGE
        assert cluster.http("GET", f"/v1/blobs/{small}").body == SMALL

        cluster.ok("rm", large)
        cluster.ok("rm", "--now", small)
        refused = cluster.command("admin", "undelete", small, "--timeout", "0")
        assert refused.returncode == 1
        assert b"nothing of" in refused.stderr
        told = json.loads(cluster.ok("admin", "gc", "--dry-run", "--json"))
        found = {
            (tally["what"], tally["fate"])
            for node in told["nodes"]
            for tally in node["tallies"]
        }
        assert {("trash", "stays"), ("chunks", "stays"), ("tombstones", "stays")} <= found
        assert all(records(cluster))
        cluster.stop()

    monkeypatch.setenv("HOLDFAST_NODE_TRASH_S", "0")
    monkeypatch.setenv("HOLDFAST_NODE_CHUNK_GRACE_S", "0")
    with served(tmp_path) as cluster:

        def is_forgotten() -> bool:
            cluster.ok("admin", "gc")
            return records(cluster) == [0, 0, 0]

        cluster.until(is_forgotten)
        assert cluster.ok("admin", "gc", "--dry-run") == "nothing is on its way out"
        assert cluster.command("admin", "undelete", large, "--timeout", "0").returncode == 1
        for digest, data in ((put(cluster, SMALL), SMALL), (put(cluster, LARGE), LARGE)):
            assert cluster.http("GET", f"/v1/blobs/{digest}").body == data
            assert generation(cluster, digest) == "3"
        cluster.stop()
