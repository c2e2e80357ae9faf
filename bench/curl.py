"""The client of the large rows: curl, one request a process, its own cost included.

Bytes per second are those that curl itself counts, over the time that it itself measures from its
start to the end of the response.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.deadline import Deadline
from bench.failure import RowFailed, ToolMissing

_FORMAT: Final = "%{http_code} %{size_upload} %{size_download} %{time_total}"
_PATIENCE_S: Final = 120.0
_PIECE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Transfer:
    """What curl did; seconds as curl counts them."""

    status: int
    bytes_sent: int
    bytes_received: int
    seconds: float

    def rate(self, size_bytes: int) -> float:
        """MB/s (10^6 bytes) of a transfer of `size_bytes` in one direction."""
        return size_bytes / self.seconds / 1e6


def parse(output: str) -> Transfer:
    """Read what curl writes in the format above; RowFailed when it is something else."""
    fields = output.split()
    if len(fields) != 4:
        raise RowFailed(f"curl reported nothing readable: {output[:200]!r}")
    return Transfer(int(fields[0]), int(fields[1]), int(fields[2]), float(fields[3]))


def require_curl() -> None:
    """ToolMissing, with the package's name, when curl is not installed."""
    if shutil.which("curl") is None:
        raise ToolMissing(
            "curl is not installed; it is the client of the large rows. "
            "On Debian: apt-get install curl"
        )


def upload(
    file: str, url: str, size_bytes: int, deadline: Deadline, method: str = "PUT"
) -> Transfer:
    """PUT or POST the file; RowFailed unless all went out and the answer is 200 or 201."""
    transfer = _run(["--request", method, "--upload-file", file, url], deadline)
    if transfer.status not in {200, 201} or transfer.bytes_sent != size_bytes:
        raise RowFailed(
            f"an upload of {size_bytes:,} bytes was answered {transfer.status} "
            f"after {transfer.bytes_sent:,} bytes"
        )
    return transfer


def download(url: str, size_bytes: int, deadline: Deadline) -> Transfer:
    """GET into nowhere; RowFailed unless the answer is 200 with `size_bytes` bytes."""
    transfer = _run([url], deadline)
    if transfer.status != 200 or transfer.bytes_received != size_bytes:
        raise RowFailed(
            f"a download of {size_bytes:,} bytes was answered {transfer.status} "
            f"with {transfer.bytes_received:,} bytes"
        )
    return transfer


def check_sha256(url: str, expected_hex: str, deadline: Deadline) -> None:
    """GET once more, hash what comes; RowFailed unless it is the expected content. Not timed."""
    patience_s = deadline.share_s(_PATIENCE_S, "checking a download")
    argv = ["curl", "-sS", "--fail", "--max-time", f"{patience_s:.1f}", url]
    hasher = hashlib.sha256()
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while piece := process.stdout.read(_PIECE_BYTES):
            hasher.update(piece)
    if process.returncode != 0:
        raise RowFailed(f"reading the blob back failed: curl ended with {process.returncode}")
    if hasher.hexdigest() != expected_hex:
        raise RowFailed("the blob reads back as other bytes")


def _run(arguments: Sequence[str], deadline: Deadline) -> Transfer:
    patience_s = deadline.share_s(_PATIENCE_S, "a transfer")
    argv = [
        *("curl", "-sS", "--max-time", f"{patience_s:.1f}"),
        *("--output", "/dev/null", "--write-out", _FORMAT, *arguments),
    ]
    finished = subprocess.run(argv, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise RowFailed(f"curl failed: {finished.stderr.strip()}")
    return parse(finished.stdout)
