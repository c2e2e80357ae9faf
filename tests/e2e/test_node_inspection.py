"""`holdfast node check` and `rebuild`, on the directory of a node that ran."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.e2e.served import Served, served

pytestmark = pytest.mark.slow


def inspected(cluster: Served, command: str) -> tuple[int, dict[str, object], str]:
    config = str(cluster.data_dir / "node-1.toml")
    done = cluster.command("node", command, "--config", config, "--json")
    value = json.loads(done.stdout) if done.stdout else {}
    return done.returncode, value, done.stderr.decode()


def flip(folder: Path, data: bytes) -> None:
    for path in sorted(folder.glob("*/*.seg")):
        at = path.read_bytes().find(data)
        if at >= 0:
            with path.open("r+b") as file:
                file.seek(at + 5)
                file.write(bytes((data[5] ^ 1,)))


def test_a_stopped_node_is_checked_and_its_index_made_anew(tmp_path: Path) -> None:
    blobs = [os.urandom(1_000), os.urandom(200_000)]
    with served(tmp_path, "--store", "pages") as cluster:
        digests = [cluster.ok("put", "-", stdin=blob) for blob in blobs]
        code, _, words = inspected(cluster, "check")
        assert code == 1
        assert "another process uses" in words

        assert cluster.stop() == 0
        code, report, _ = inspected(cluster, "check")
        assert (code, report["copies"], report["findings"]) == (0, 2, [])
        assert inspected(cluster, "rebuild")[0] == 0
        assert inspected(cluster, "check")[0] == 0

        flip(cluster.data_dir / "node-1", blobs[1])
        code, report, _ = inspected(cluster, "check")
        assert (code, report["copies"]) == (1, 1)
        assert "bad copy" in json.dumps(report["findings"])

    again = tmp_path / "again"
    again.mkdir()
    (tmp_path / "data").rename(again / "data")
    with served(again) as cluster:
        for digest, blob in zip(digests, blobs, strict=True):
            assert cluster.command("get", digest).stdout == blob
