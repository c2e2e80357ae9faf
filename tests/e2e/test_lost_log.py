"""A node whose log is gone: refused in words while values would be lost by it, else a receiver."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ring.digest import Digest
from tests.e2e.served import Served, free_port, served

pytestmark = pytest.mark.slow

NAME = "node-2"
BLOBS = [os.urandom(size) for size in (1_000, 200_000)]


def filled(folder: Path, blobs: list[bytes]) -> Path:
    """The data directory of a cluster that was stopped; every node has every blob."""
    folder.mkdir()
    with served(folder, "--store", "pages") as cluster:
        for blob in blobs:
            assert cluster.http("PUT", f"/v1/blobs/{Digest.of(blob)}", blob).status == 201
        cluster.until(lambda: all(records == len(blobs) for records in copies(cluster)))
        assert cluster.stop() == 0
    return folder / "data"


def copies(cluster: Served) -> list[object]:
    nodes = cluster.status()["nodes"]
    assert isinstance(nodes, list)
    return [node["records"] for node in nodes]


def all_read(cluster: Served, blobs: list[bytes]) -> None:
    for blob in blobs:
        reply = cluster.http("GET", f"/v1/blobs/{Digest.of(blob)}")
        assert (reply.status, reply.body) == (200, blob)


def test_a_node_with_values_and_no_log_does_not_start_and_can_be_replaced(tmp_path: Path) -> None:
    data = filled(tmp_path / "first", BLOBS)
    shutil.rmtree(data / NAME / "log")
    again = tmp_path / "again"
    again.mkdir()
    data.rename(again / "data")
    bulk = {path.name: path.read_bytes() for path in (again / "data" / NAME / "bulk").glob("*.seg")}

    cluster = Served(again, free_port())
    try:
        cluster.until(lambda: "is everything mounted?" in (again / "serve.log").read_text())
        cluster.until(lambda: is_up_but(cluster, NAME))
        all_read(cluster, BLOBS)
        kept = again / "data" / NAME / "bulk"
        assert {path.name: path.read_bytes() for path in kept.glob("*.seg")} == bulk

        (again / "data" / NAME).rename(again / "lost")
        cluster.wait_ready()
        cluster.until(lambda: copies(cluster) == [len(BLOBS)] * 3)
        all_read(cluster, BLOBS)
    finally:
        cluster.kill()


def is_up_but(cluster: Served, name: str) -> bool:
    """Whether all nodes vote, but for one that is not there."""
    try:
        states = cluster.states()
    except OSError:
        return False
    return states.pop(name) == "unreachable" and set(states.values()) == {"voter"}


def test_a_node_that_lost_its_log_and_nothing_else_compares_before_it_votes(tmp_path: Path) -> None:
    data = filled(tmp_path / "first", BLOBS[:1])
    shutil.rmtree(data / NAME / "log")
    again = tmp_path / "again"
    again.mkdir()
    data.rename(again / "data")
    with served(again) as cluster:
        cluster.until(lambda: copies(cluster) == [1, 1, 1])
        all_read(cluster, BLOBS[:1])
        log = (again / "serve.log").read_text()
        assert "record store lost its state" in log
        assert "receiver became a voter" in log
