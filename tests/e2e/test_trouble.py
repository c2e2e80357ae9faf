"""One node of three is frozen while clients go on: every request succeeds, and it is taken back."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.served import Served, served

FROZEN_S = 8.0
BLOBS = 20


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def clients_succeed(cluster: Served, seconds: float, tag: str) -> int:
    """Put, read, miss and delete for a while; how many rounds."""
    give_up_s, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < give_up_s:
        body = f"{tag} {rounds}".encode()
        path = f"/v1/blobs/{digest_of(body)}"
        assert cluster.http("PUT", path, body).status == 201
        assert cluster.http("GET", path).body == body
        assert cluster.http("DELETE", path).status == 204
        assert cluster.http("GET", path).status == 404
        assert cluster.http("GET", "/v1/blobs?limit=5").status == 200
        rounds += 1
    return rounds


def in_doubt(cluster: Served, node: str) -> Callable[[], bool]:
    gauge = f'holdfast_gateway_node_in_doubt{{node="{node}"'.encode()
    return lambda: gauge in cluster.http("GET", "/metrics").body


def test_a_frozen_node_costs_no_request_and_is_taken_back(tmp_path: Path) -> None:
    with served(tmp_path, "--nodes", "3") as cluster:
        kept = [f"kept {number}".encode() for number in range(BLOBS)]
        for body in kept:
            assert cluster.http("PUT", f"/v1/blobs/{digest_of(body)}", body).status == 201
        pid = cluster.node_pid("node-2")
        os.kill(pid, signal.SIGSTOP)
        try:
            assert clients_succeed(cluster, FROZEN_S, "frozen") > 0
            for body in kept:
                assert cluster.http("GET", f"/v1/blobs/{digest_of(body)}").body == body
            assert in_doubt(cluster, "node-2")()
        finally:
            os.kill(pid, signal.SIGCONT)

        def is_taken_back() -> bool:
            clients_succeed(cluster, 0.2, "thawed")
            return bool(cluster.status()["healthy"]) and not in_doubt(cluster, "node-2")()

        cluster.until(is_taken_back)
        for body in kept:
            assert cluster.http("GET", f"/v1/blobs/{digest_of(body)}").body == body
