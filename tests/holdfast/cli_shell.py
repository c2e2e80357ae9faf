"""The command `holdfast` in a test, against a gateway's door over a store in memory."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry

from gateway.http.config import HttpConfig
from gateway.http.server import HttpDoor
from holdfast import cli
from node.host import HostClock, HostRandomness
from ring.digest import Digest
from tests.fakes.memory_blob_store import MemoryBlobStore

ROOT = Path(__file__).parent.parent.parent
HELLO = Digest.of(b"hello")
NODES = [
    {
        "node": f"node-{number}",
        "address": f"10.0.0.{number}:7071",
        "zone": "default",
        "state": "voter",
        "reason": "votes",
        "records": 1234,
        "bytes_stored": 5 << 20,
        "bytes_free": 7 << 30,
        "counters": {"quarantined_total": 2},
        "error": None,
    }
    for number in (1, 2)
]
NODES.append(
    {
        **NODES[0],
        "node": "node-3",
        "state": "unreachable",
        "records": None,
        "bytes_stored": None,
        "bytes_free": None,
        "counters": {},
        "error": "no answer",
    }
)
STATUS = {
    "cluster_id": "c0ffee",
    "epoch": 1,
    "replicas": 3,
    "write_quorum": 2,
    "nodes": NODES,
    "summary": "node-3 of 3 nodes cannot vote: everything reads and writes",
    "healthy": False,
}


class Views:
    """What the door asks for operators."""

    def ready(self) -> str | None:
        return None

    async def status(self) -> Mapping[str, object]:
        return STATUS

    async def where(self, digest: Digest) -> Mapping[str, object]:
        held = {"node": "node-1", "role": "owner", "state": "present", "root": "live(1)"}
        away = {"node": "node-3", "role": "owner", "state": "unreachable", "error": "no answer"}
        return {
            "digest": str(digest),
            "partition": digest.partition,
            "epoch": 1,
            "copies": [held, away],
        }

    async def garbage(self, *, begin: bool) -> Mapping[str, object]:
        trash = {"what": "trash", "fate": "stays", "why": "its time is not over"}
        chunks = {"what": "chunks", "fate": "goes now", "why": "no blob needs them"}
        chunks |= {"records": 1_200, "bytes": 5 << 30}
        tallies = [chunks, trash | {"records": 1, "bytes": 7}]
        first = {"node": "node-1", "error": None, "complete": True, "tallies": tallies}
        away = {"node": "node-3", "error": "no answer", "complete": False, "tallies": []}
        return {"nodes": [first, away], "begun": begin}


@dataclass(frozen=True, slots=True)
class Said:
    """What a command did."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def json(self) -> dict[str, object]:
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


class Shell:
    """Runs the command with the gateway's address in the environment, in an empty folder.

    In a thread beside the gateway's loop, since a process takes half a second to start; `process`
    is for what needs one.
    """

    def __init__(
        self, folder: Path, store: MemoryBlobStore, captured: pytest.CaptureFixture[bytes]
    ) -> None:
        self.folder = folder
        self.store = store
        self.captured = captured

    async def __call__(self, *arguments: str) -> Said:
        self.captured.readouterr()
        code = await asyncio.to_thread(cli.run, arguments)
        out, err = self.captured.readouterr()
        assert b"Traceback" not in err
        return Said(code, out, err.decode())

    async def process(self, *arguments: str, stdin: bytes = b"") -> Said:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "holdfast", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        out, err = await process.communicate(stdin)
        assert process.returncode is not None
        assert b"Traceback" not in err
        return Said(process.returncode, out, err.decode())


@asynccontextmanager
async def running_shell(
    folder: Path, monkeypatch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[bytes]
) -> AsyncIterator[Shell]:
    """A gateway's door, and a shell beside it whose working directory is `folder`."""
    structlog.configure(processors=[lambda *_: ""], logger_factory=structlog.ReturnLoggerFactory())
    store = MemoryBlobStore()
    door = HttpDoor(
        store,
        Views(),
        HttpConfig(),
        clock=HostClock(),
        randomness=HostRandomness(),
        registry=CollectorRegistry(),
    )
    host, port = await door.start("127.0.0.1", 0)
    monkeypatch.setenv("HOLDFAST_GATEWAY", f"http://{host}:{port}")
    monkeypatch.chdir(folder)
    yield Shell(folder, store, captured)
    await door.stop(deadline_s=5.0)
    structlog.reset_defaults()
