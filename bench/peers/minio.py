"""MinIO as one process with four drives, erasure coded: two parts of data and two of parity.

Its binary is `minio` on PATH. Any two of the four drives may be lost, as with three copies; that
costs twice the bytes. The drives are folders of one disk, which MinIO has to be told to accept. Its
console and its look-up of newer versions are off; no other setting is changed. The bucket is open
to everybody, so no request of a load is signed: that spares MinIO work.
"""

from __future__ import annotations

import datetime as dt
import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from bench import progress
from bench.ask import ask
from bench.child import Child
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.payload import Payload
from bench.peers.door import NAME_MARK, Door, Durability, Part, Skipped, System
from bench.peers.go_program import module_version
from bench.peers.presign import Signer
from bench.peers.starting import free_ports, made, wait_ready
from bench.peers.traffic import check_small, put_one

DRIVES: Final = 4
PARITY: Final = 2
_KEY: Final = "minio"
_MODULE: Final = "github.com/minio/minio"
_BUCKET: Final = "bench"
_USER: Final = "holdfast-bench"
_STOP_S: Final = 10.0


def minio(folder: Path, find: Callable[[str], str | None] = shutil.which) -> System | Skipped:
    """The system, its data to lie in `folder`, or why it is not measured."""
    binary = find("minio")
    if binary is None:
        return Skipped(_KEY, "MinIO", "no `minio` on PATH")
    return System(
        key=_KEY,
        name="MinIO",
        version=module_version(Path(binary), _MODULE) or "of unknown version",
        part=Part.PEER,
        durability=Durability(
            copies=f"parts {DRIVES - PARITY}+{PARITY}",
            synced=f"{DRIVES} parts, without the name",
            words="any two of four drives may be lost; a PUT is answered when the files of its "
            "parts are synced, which their folders are not",
        ),
        door=f"one process, {DRIVES} drives, EC:{PARITY}; PUT and GET of /bucket/name, not signed",
        running=lambda deadline: _running(binary, folder, deadline),
        stored_times=DRIVES // (DRIVES - PARITY),
    )


def policy(bucket: str) -> bytes:
    """The bucket policy, in the form of S3, that lets everybody put and get objects."""
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:GetObject", "s3:PutObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/*"],
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode()


def parse_parts(meta: bytes) -> tuple[int, int] | None:
    """Parts of data and of parity that an object has, from its xl.meta; None when it says neither.

    The file holds a MessagePack map in which `EcM` and `EcN` name the two as small integers.
    """
    counts = []
    for name in (b"\xa3EcM", b"\xa3EcN"):
        _, found, rest = meta.partition(name)
        if not found or not rest or rest[0] > 0x7F:
            return None
        counts.append(rest[0])
    return counts[0], counts[1]


@contextmanager
def _running(binary: str, parent: Path, deadline: Deadline) -> Iterator[Door]:
    folder = Path(mkdtemp(prefix=f"{_KEY}-", dir=parent))
    (port,) = free_ports(1)
    secret = secrets.token_hex(16)
    drives = [made(folder / f"drive{number}") for number in range(1, DRIVES + 1)]
    try:
        child = Child(_command(binary, folder, drives, port, secret), folder / "server.log")
        try:
            wait_ready("MinIO", [child], lambda: _is_ready(port), deadline)
            progress.say(f"MinIO is ready: {DRIVES} drives, port {port}")
            _open_bucket(port, secret)
            door = Door(
                port=port,
                put_method="PUT",
                put_target=f"/{_BUCKET}/{NAME_MARK}",
                small_path=lambda name, _content: f"/{_BUCKET}/{name}",
                large_paths=_large_paths,
            )
            _prove_parts(door, drives)
            yield door
        finally:
            child.stop(_STOP_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _command(binary: str, folder: Path, drives: list[Path], port: int, secret: str) -> list[str]:
    """`env` becomes MinIO, whose settings are read from nowhere else."""
    return [
        "env", f"HOME={folder}", f"MINIO_ROOT_USER={_USER}", f"MINIO_ROOT_PASSWORD={secret}",
        f"MINIO_STORAGE_CLASS_STANDARD=EC:{PARITY}", "MINIO_BROWSER=off", "MINIO_UPDATE=off",
        "MINIO_ROOTDRIVE_THRESHOLD_SIZE=1",  # bytes: no disk is so small as to be the system's own
        binary, "server", "--quiet", f"--address=127.0.0.1:{port}", *map(str, drives),
    ]


def _is_ready(port: int) -> bool:
    try:
        return ask(port, "GET", "/minio/health/cluster", timeout_s=2).status == 200
    except RowFailed:
        return False


def _open_bucket(port: int, secret: str) -> None:
    now = dt.datetime.now(dt.UTC)
    signer = Signer(f"127.0.0.1:{port}", _USER, secret, "us-east-1", now)
    _told(port, signer.target("PUT", f"/{_BUCKET}"), b"")
    _told(port, signer.target("PUT", f"/{_BUCKET}", [("policy", "")]), policy(_BUCKET))


def _told(port: int, target: str, body: bytes) -> None:
    answer = ask(port, "PUT", target, body)
    if answer.status not in {200, 204}:
        what = target.partition("X-Amz")[0]
        raise RowFailed(f"MinIO answered PUT {what} with {answer.status}: {answer.body[:300]!r}")


def _large_paths(name: str, _payload: Payload) -> tuple[str, str]:
    path = f"/{_BUCKET}/{name}"
    return path, path


def _prove_parts(door: Door, drives: list[Path]) -> None:
    """Store one body and look on every drive for its part."""
    put_one(door, "proof", 1)
    check_small(door, "proof", 1)
    wanted = (DRIVES - PARITY, PARITY)
    for drive in drives:
        meta = drive / _BUCKET / "proof-1" / "xl.meta"
        found = parse_parts(meta.read_bytes()) if meta.is_file() else None
        if found != wanted:
            raise RowFailed(f"MinIO's {drive.name} has {found} of a body where {wanted} is asked")
