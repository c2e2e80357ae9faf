"""What a cluster of real processes promises while its nodes die and come back."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import snapdir

from ring.digest import Algorithm, Digest
from ring.limits import CHUNK_BYTES, MIB
from tests.e2e.served import Reply, Served, served

pytestmark = pytest.mark.slow

TREE = Path(sysconfig.get_path("stdlib")) / "json"  # a directory that every Python has


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def _blob(cluster: Served, digest: Digest) -> Reply:
    return cluster.http("GET", f"/v1/blobs/{digest}")


def _put(cluster: Served, data: bytes) -> Reply:
    return cluster.http("PUT", f"/v1/blobs/{Digest.of(data)}", data)


def test_a_directory_goes_in_and_comes_out_the_same(cluster: Served, tmp_path: Path) -> None:
    manifest = cluster.ok("put", str(TREE))
    cluster.ok("get", manifest, "-o", str(tmp_path / "copy"))

    compared = subprocess.run(
        ["diff", "-r", str(TREE), str(tmp_path / "copy")], capture_output=True, check=False
    )
    assert (compared.returncode, compared.stdout) == (0, b"")
    assert manifest == f"blake3:{asyncio.run(_snapdir_id(TREE))}"


async def _snapdir_id(tree: Path) -> str:
    return str(await snapdir.id(tree))


def test_small_and_large_blobs_go_in_and_come_out(cluster: Served) -> None:
    for size in (0, 1, 70_000, 4 * MIB, 4 * MIB + 1, 21 * MIB):
        data = os.urandom(size)
        for algorithm in Algorithm:
            digest = Digest.of(data, algorithm)
            stored = cluster.http("PUT", f"/v1/blobs/{digest}", data)
            again = cluster.http("PUT", f"/v1/blobs/{digest}", data)
            reply = _blob(cluster, digest)

            assert (stored.status, again.status) == (201, 200), (size, stored.body, again.body)
            assert reply.status == 200
            assert reply.body == data


def test_what_is_not_there_is_a_404_and_what_was_deleted_too(cluster: Served) -> None:
    data = os.urandom(100)
    digest = Digest.of(data)
    before = _blob(cluster, digest)
    _put(cluster, data)

    assert before.status == 404
    assert cluster.http("DELETE", f"/v1/blobs/{digest}").status == 204
    assert _blob(cluster, digest).status == 404
    assert _put(cluster, data).status == 201
    assert _blob(cluster, digest).body == data


def test_one_node_down_changes_nothing_for_clients(cluster: Served) -> None:
    kept = [os.urandom(5_000) for _ in range(20)]
    for data in kept:
        assert _put(cluster, data).status == 201
    gone = os.urandom(100)
    _put(cluster, gone)

    cluster.take_down("node-2")
    try:
        said = cluster.ok("admin", "status")
        new = os.urandom(5_000)
        replies = [_blob(cluster, Digest.of(data)) for data in kept]

        assert [reply.body for reply in replies] == kept
        assert all("Holdfast-Quorum" not in reply.headers for reply in replies)
        assert _blob(cluster, Digest.of(b"never put")).status == 404
        assert _put(cluster, new).status == 201
        assert _blob(cluster, Digest.of(new)).body == new
        assert cluster.http("DELETE", f"/v1/blobs/{Digest.of(gone)}").status == 204
        assert "node-2" in said.splitlines()[0]
        assert "everything reads and writes" in said.splitlines()[0]
        assert "unreachable" in said
    finally:
        cluster.bring_back("node-2")

    assert _blob(cluster, Digest.of(gone)).status == 404
    assert cluster.status()["healthy"] is True


def test_two_nodes_down_leave_what_is_there_readable_and_say_so(cluster: Served) -> None:
    data = os.urandom(9 * MIB)
    assert _put(cluster, data).status == 201
    cluster.until(lambda: _is_everywhere(cluster, data))

    cluster.take_down("node-1", "node-3")
    try:
        there = _blob(cluster, Digest.of(data))
        absent = _blob(cluster, Digest.of(b"never put"))
        written = _put(cluster, os.urandom(10))
        deleted = cluster.http("DELETE", f"/v1/blobs/{Digest.of(data)}")
        has = cluster.command("has", str(Digest.of(b"never put")), "--timeout", "1")

        assert there.status == 200, there.body
        assert there.body == data
        assert there.headers["Holdfast-Quorum"] == "no"
        for reply in (absent, written, deleted):
            assert reply.status == 503, reply.body
            assert int(reply.headers["Retry-After"]) > 0
        assert has.returncode == 1
        assert has.stdout.startswith(b"unknown")
    finally:
        cluster.bring_back("node-1", "node-3")

    again = _blob(cluster, Digest.of(data))
    assert "Holdfast-Quorum" not in again.headers
    assert _put(cluster, os.urandom(10)).status == 201


def test_a_node_that_died_comes_back_by_itself(cluster: Served) -> None:
    before = cluster.node_pid("node-1")
    os.kill(before, signal.SIGKILL)
    cluster.until(lambda: cluster.pids("node-1.toml") not in ([], [before]))
    cluster.wait_ready()

    assert cluster.node_pid("node-1") != before
    assert "killed by SIGKILL" in cluster.log()


def test_a_frozen_node_is_like_a_dead_one(cluster: Served) -> None:
    data = os.urandom(5_000)
    _put(cluster, data)
    frozen = cluster.node_pid("node-3")
    os.kill(frozen, signal.SIGSTOP)
    try:
        new = os.urandom(5_000)

        assert _blob(cluster, Digest.of(data)).body == data
        assert _blob(cluster, Digest.of(b"never put")).status == 404
        assert _put(cluster, new).status == 201
        assert _blob(cluster, Digest.of(new)).body == new
        assert cluster.states()["node-3"] == "unreachable"
    finally:
        os.kill(frozen, signal.SIGCONT)
    cluster.wait_ready()


def test_a_node_drains_when_it_is_told_to(cluster: Served) -> None:
    pid = cluster.node_pid("node-2")
    os.kill(pid, signal.SIGTERM)
    cluster.until(lambda: cluster.pids("node-2.toml") not in ([], [pid]))
    cluster.wait_ready()

    assert 'child=node-2 how="exit code 0"' in cluster.log()


def test_a_node_answers_those_who_watch_it(cluster: Served) -> None:
    config = (cluster.data_dir / "node-1.toml").read_text()
    address = next(line for line in config.splitlines() if line.startswith("health_listen"))
    connection = http.client.HTTPConnection(address.split('"')[1], timeout=60)

    def get(path: str) -> tuple[int, str]:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()

    health, ready, metrics = get("/healthz"), get("/readyz"), get("/metrics")
    connection.close()

    assert (health, ready) == ((200, "ok\n"), (200, "ready\n"))
    assert metrics[0] == 200
    assert 'holdfast_node_state{state="voter"} 1.0' in metrics[1]
    assert "holdfast_node_put_total" in metrics[1]


def test_a_second_serve_on_the_same_data_or_port_is_refused_in_words(cluster: Served) -> None:
    same_data = cluster.command("serve", "--data-dir", str(cluster.data_dir))
    listen = ("--listen", f"127.0.0.1:{cluster.port}")
    same_port = cluster.command("serve", "--data-dir", "other", *listen)

    assert (same_data.returncode, same_port.returncode) == (1, 1)
    assert b"another `holdfast serve` is running" in same_data.stderr
    assert b"cannot listen on 127.0.0.1" in same_port.stderr


def test_a_node_has_its_directory_to_itself(cluster: Served) -> None:
    second = cluster.command("node", "--config", str(cluster.data_dir / "node-1.toml"))

    assert second.returncode == 1
    assert b"another process uses" in second.stderr


def _where(cluster: Served, digest: Digest) -> Reply:
    return cluster.http("GET", f"/v1/admin/where/{digest}")


def _is_everywhere(cluster: Served, data: bytes) -> bool:
    """Whether all nodes have the blob and its chunks: an acknowledged put has waited for two."""
    chunks = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
    return all(
        copy["state"] == "present"
        for part in (data, *chunks)
        for copy in json.loads(_where(cluster, Digest.of(part)).body)["copies"]
    )
