"""`holdfast serve` as a process among processes: how it starts, ends, and starts again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ring.digest import Digest
from tests.e2e.served import HOLDFAST, ROOT, descendants, free_port, is_alive, served

pytestmark = pytest.mark.slow

# What needs no quorum is shown on the smallest cluster, which starts fastest.
ALONE = ("--nodes", "1", "--replicas", "1")


def test_what_was_stored_outlives_the_processes(tmp_path: Path) -> None:
    data = os.urandom(5_000_000)
    with served(tmp_path, "--nodes", "4") as cluster:
        digest = cluster.ok("put", "-", stdin=data)
        cluster.ok("put", "-", "--algo", "sha256", stdin=b"hello")
        listed = cluster.ok("ls")
        code = cluster.stop()

    with served(tmp_path) as cluster:
        assert digest == str(Digest.of(data))
        assert cluster.http("GET", f"/v1/blobs/{digest}").body == data
        assert cluster.ok("ls") == listed
        assert len(cluster.states()) == 4
        assert cluster.stop(signal.SIGINT) == 0

    assert code == 0
    assert len(listed.splitlines()) == 2


def test_nothing_acknowledged_is_lost_and_no_process_left_however_it_ends(tmp_path: Path) -> None:
    with served(tmp_path, "--workers", "2") as cluster:
        first = cluster.ok("put", "-", stdin=b"first")
        workers = cluster.pids("gateway.toml", "gateway-")
        os.kill(workers[0], signal.SIGKILL)
        second = cluster.ok("put", "-", stdin=b"second")
        cluster.until(lambda: len(cluster.pids("gateway.toml", "gateway-")) == 2)
        family = descendants(cluster.pid)
        os.kill(cluster.pid, signal.SIGKILL)

        # The next run waits for the last of them before it starts its own.
        with served(tmp_path) as following:
            assert not [pid for pid in family if is_alive(pid)]
            assert following.ok("has", first, second).count("yes") == 2
            third = following.ok("put", "-", stdin=b"third")
            for pid in (following.pid, *descendants(following.pid)):
                os.kill(pid, signal.SIGKILL)

    with served(tmp_path) as cluster:
        assert cluster.ok("has", first, second, third).count("yes") == 3

    assert len(workers) == 2
    assert len(family) >= 6


def test_nodes_in_memory_forget_and_json_says_what_happens(tmp_path: Path) -> None:
    with served(tmp_path, "--store", "memory", "--json", *ALONE) as cluster:
        cluster.until(lambda: '"ready": true' in cluster.log())
        digest = cluster.ok("put", "-", stdin=b"hello")

        assert cluster.ok("get", digest) == "hello"
        assert cluster.stop() == 0
        lines = [json.loads(line) for line in cluster.log().splitlines()]

    with served(tmp_path) as following:
        assert following.http("GET", f"/v1/blobs/{digest}").status == 404

    assert {"serve", "node-1", "gateway"} <= {line.get("process") for line in lines}
    assert [line for line in lines if "url" in line] == [
        {
            "ready": True,
            "url": cluster.url,
            "nodes": 1,
            "replicas": 1,
            "store": "memory",
            "data_dir": str(cluster.data_dir),
        }
    ]


def test_a_cluster_that_cannot_start_says_why(tmp_path: Path) -> None:
    with served(tmp_path, *ALONE) as cluster:
        cluster.stop()
    marker = tmp_path / "data/node-1/.holdfast/marker"
    marker.write_bytes(b"rot" + marker.read_bytes()[3:])

    arguments = ("--data-dir", str(tmp_path / "data"), "--listen", f"127.0.0.1:{free_port()}")
    done = subprocess.run(
        [*HOLDFAST, "serve", *arguments],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )

    assert done.returncode == 1
    assert b"holdfast: .holdfast/marker does not match its checksum" in done.stderr
    assert b"holdfast: node-1 does not stay alive (exit code 1)" in done.stderr
    assert b"Traceback" not in done.stderr


def test_python_without_assertions_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-O", "-m", "holdfast", "ls"],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )

    assert done.returncode == 1
    assert b"python -O" in done.stderr
