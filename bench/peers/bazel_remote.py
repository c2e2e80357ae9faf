"""bazel-remote as one server with one folder: it keeps no second copy, whatever it is told.

Its binary is `bazel-remote` on PATH. A body goes to /cas/ and its SHA-256, which the server checks;
wrk cannot compute it, so the targets are prepared ahead of each load. It is told not to write an
access log, not to open its gRPC port, and to keep bodies as they are: with its default, zstd, it
takes several times as long for every put, and the small bodies, which are mostly one letter, would
be next to nothing.

What it syncs (2.6.2, seen with strace): each put creates one file under its last folder and calls
fsync on it once before it answers, in either storage mode; it syncs no folder, ever. On ext4 the
sync of a new file takes its name along; elsewhere nothing promises that.
"""

from __future__ import annotations

import hashlib
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
from bench.peers.door import Door, Durability, Part, Skipped, System
from bench.peers.go_program import module_version
from bench.peers.starting import free_ports, made, wait_ready
from bench.peers.traffic import check_small, put_one

BINARY: Final = "bazel-remote"
_MODULE: Final = "github.com/buchgr/bazel-remote/v2"
_CACHE_GIB: Final = 1_000  # what it may keep before it throws old bodies away: more than a run has
_STOP_S: Final = 5.0


def bazel_remote(
    folder: Path, find: Callable[[str], str | None] = shutil.which
) -> System | Skipped:
    """The system, its data to lie in `folder`, or why it is not measured."""
    binary = find(BINARY)
    if binary is None:
        return Skipped(BINARY, BINARY, f"no `{BINARY}` on PATH")
    return System(
        key=BINARY,
        name=BINARY,
        version=module_version(Path(binary), _MODULE) or "of unknown version",
        part=Part.PEER,
        durability=Durability(
            copies="1",
            synced="1, folder not",
            words="one server, so no second copy; a PUT is answered when its file is synced, and "
            "the folder that has the file's name never is",
        ),
        door="PUT and GET of /cas/ and the body's SHA-256, which is computed ahead; storage mode "
        "uncompressed",
        running=lambda deadline: _running(binary, folder, deadline),
        stored_times=1,
    )


def cas_path(_name: str, content: bytes) -> str:
    """Where a body is PUT and read."""
    return f"/cas/{hashlib.sha256(content).hexdigest()}"


@contextmanager
def _running(binary: str, parent: Path, deadline: Deadline) -> Iterator[Door]:
    folder = Path(mkdtemp(prefix=f"{BINARY}-", dir=parent))
    (port,) = free_ports(1)
    try:
        child = Child(_command(binary, made(folder / "cache"), port), folder / "server.log")
        try:
            wait_ready(BINARY, [child], lambda: _is_ready(port), deadline)
            progress.say(f"{BINARY} is ready at port {port}")
            door = Door(port, "PUT", cas_path, cas_path, _large_paths)
            put_one(door, "proof", 1)
            check_small(door, "proof", 1)
            yield door
        finally:
            child.stop(_STOP_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _command(binary: str, cache: Path, port: int) -> list[str]:
    return [
        binary, f"--dir={cache}", f"--max_size={_CACHE_GIB}", f"--http_address=127.0.0.1:{port}",
        "--grpc_address=none", "--access_log_level=none", "--storage_mode=uncompressed",
    ]


def _is_ready(port: int) -> bool:
    try:
        return ask(port, "GET", "/status", timeout_s=2).status == 200
    except RowFailed:
        return False


def _large_paths(_name: str, payload: Payload) -> tuple[str, str]:
    path = f"/cas/{payload.digest('sha256').partition(':')[2]}"
    return path, path
