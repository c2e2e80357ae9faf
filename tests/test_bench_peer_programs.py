"""Peers that are one program each: found, started, spoken to, ended; nothing here times them.

What needs the real program is skipped where it is not on PATH.
"""

import datetime as dt
import json
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
from bench.peers import bazel_remote, minio, prepared, traffic
from bench.peers.door import Door, Skipped
from bench.peers.go_program import module_version
from bench.peers.presign import Signer
from bench.plan import SMALL_BYTES

# --- bazel-remote ---------------------------------------------------------------------------------


PROGRAMS = {"bazel-remote": bazel_remote.bazel_remote, "minio": minio.minio}


@pytest.mark.parametrize("key", PROGRAMS)
def test_a_peer_whose_binary_is_not_there_is_skipped_in_words(key: str, tmp_path: Path) -> None:
    found = PROGRAMS[key](tmp_path, lambda _binary: None)

    assert isinstance(found, Skipped)
    assert (found.key, found.why) == (key, f"no `{key}` on PATH")


@pytest.mark.parametrize("key", PROGRAMS)
def test_a_peer_that_is_there_starts_keeps_what_it_is_given_and_ends(
    key: str, tmp_path: Path
) -> None:
    found = PROGRAMS[key](tmp_path, shutil.which)
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


def test_the_parts_of_an_object_are_read_from_its_metadata() -> None:
    assert minio.parse_parts(b"XL2 \x01\x00\xa3EcM\x02\xa3EcN\x02\xa8EcBSize") == (2, 2)
    assert minio.parse_parts(b"XL2 \xa3EcM\x06\xa3EcN\x04") == (6, 4)
    assert minio.parse_parts(b"XL2 \xa3EcM\x02") is None
    assert minio.parse_parts(b"\xa3EcM\xcd\x01\x00\xa3EcN\x02") is None


def test_the_policy_lets_everybody_put_and_get_and_nothing_else() -> None:
    (statement,) = json.loads(minio.policy("bench"))["Statement"]

    assert statement["Action"] == ["s3:GetObject", "s3:PutObject"]
    assert statement["Resource"] == ["arn:aws:s3:::bench/*"]


def test_a_signature_is_that_of_the_example_in_the_s3_api_reference() -> None:
    signer = Signer(
        "examplebucket.s3.amazonaws.com",
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "us-east-1",
        dt.datetime(2013, 5, 24, tzinfo=dt.UTC),
    )

    signed = signer.target("GET", "/test.txt")

    expected = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    assert signed.startswith("/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA")
    assert signed.endswith(f"&X-Amz-Signature={expected}")


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
