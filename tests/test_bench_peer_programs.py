"""Peers that are one program each: found, started, spoken to, ended; nothing here times them.

What needs the real program is skipped where it is not on PATH.
"""

import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench import blobs, curl
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.payload import Payload
from bench.peers import bazel_remote, prepared, traffic
from bench.peers.door import Door, Skipped
from bench.peers.go_program import module_version
from bench.plan import SMALL_BYTES

# --- bazel-remote ---------------------------------------------------------------------------------


def test_a_peer_whose_binary_is_not_there_is_skipped_in_words(tmp_path: Path) -> None:
    found = bazel_remote.bazel_remote(tmp_path, lambda _binary: None)

    assert found == Skipped("bazel-remote", "bazel-remote", "no `bazel-remote` on PATH")


def test_a_peer_that_is_there_starts_keeps_what_it_is_given_and_ends(tmp_path: Path) -> None:
    found = bazel_remote.bazel_remote(tmp_path)
    if isinstance(found, Skipped):
        pytest.skip(found.why)
    with found.running(Deadline(60)) as door, closing(Payload(100_000)) as payload:
        paths = traffic.stock(door, "stock", 20, Deadline(20))
        traffic.check_small(door, "stock", 20)
        target, path = door.large_paths("large", payload)
        curl.upload(payload.file, door.url + target, payload.size_bytes, Deadline(20))
        expected_hex = payload.digest("sha256").partition(":")[2]
        curl.check_sha256(door.url + path, expected_hex, Deadline(20))

    assert len(set(paths)) == 20
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RowFailed, match="got no answer"):
        traffic.put_one(door, "late", 1)


def test_the_version_of_a_go_program_is_read_from_its_file(tmp_path: Path) -> None:
    line = "\npath\texample.org/a\nmod\texample.org/a\tv1.2.3\th1:sum=\ndep\texample.org/b\tv9\t\n"
    installed, built = tmp_path / "installed", tmp_path / "built"
    installed.write_bytes(b"\x7fELF\0" + line.encode() + b"\0")
    built.write_bytes(line.replace("v1.2.3", "(devel)").encode())

    assert module_version(installed, "example.org/a") == "v1.2.3"
    assert module_version(installed, "example.org/b") is None
    assert module_version(built, "example.org/a") is None


# --- puts that are prepared -----------------------------------------------------------------------


class FakeStore(BaseHTTPRequestHandler):
    """Takes a body only where its SHA-256 says, as bazel-remote does."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        right = self.path == bazel_remote.cas_path("", body) and len(body) == SMALL_BYTES
        self.send_response(200 if right else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def handle(self) -> None:
        with suppress(ConnectionResetError):  # wrk does not wait for the answers at its end
            super().handle()

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Says nothing."""


@pytest.fixture(name="fake_port")
def running_fake_store() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), FakeStore) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def prepared_door(port: int) -> Door:
    path = bazel_remote.cas_path
    return Door(port, "PUT", path, path, lambda _name, _payload: ("", ""))


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_every_prepared_put_goes_where_its_body_belongs(fake_port: int) -> None:
    rate = traffic.put_small(prepared_door(fake_port), "tag", 2, 1, Deadline(30))

    assert rate > 0


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_a_body_elsewhere_than_its_target_gives_no_rate(fake_port: int) -> None:
    door = replace(prepared_door(fake_port), put_target=lambda name, _content: f"/cas/{name}")

    with pytest.raises(RowFailed, match="status errors"):
        traffic.put_small(door, "tag", 2, 1, Deadline(30))


def test_the_targets_of_a_load_are_those_of_its_bodies_in_order(tmp_path: Path) -> None:
    file = tmp_path / "targets.txt"
    prepared.write_targets(file, bazel_remote.cas_path, "tag", 3)

    bodies = [blobs.body("tag", number, SMALL_BYTES) for number in (1, 2, 3)]
    assert file.read_text().splitlines() == [bazel_remote.cas_path("", body) for body in bodies]
