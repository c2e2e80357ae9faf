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
from ring.operating import CareOrder
from tests.fakes.memory_blob_store import MemoryBlobStore

ROOT = Path(__file__).parent.parent.parent
HELLO = Digest.of(b"hello")
NODES: list[dict[str, object]] = [
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
LEDGER = {
    "copies": {"0": 1, "1": 0, "2": 11, "3": 1_234_555, "more": 0},
    "digests": 1_234_567,
    "short": 12,
    "unsettled": 3,
    "waiting_bytes": 5 << 20,
    "oldest_verified_s": None,
    "oldest_verified_s_ago": 600_000,
    "counted_s_ago": 4.2,
    "partitions_uncounted": 0,
    "partitions_counted_twice": 0,
    "not_counting": {"node-3": "no answer"},
    "not_compared": {"node-1": ["node-3"]},
    "whole": False,
    "words": "not whole: 12 of 1,234,567 digests have fewer copies than they should",
}
WHOLE = {**LEDGER, "short": 0, "waiting_bytes": 0, "whole": True, "words": "whole: all of them"}
WHOLE["counted_s_ago"] = 0.0
for node in NODES:
    node["care"] = {
        "repair_queue": 17,
        "repair_troubles": 1,
        "reserve_bytes": 256 << 20,
        "scrub_bytes_per_s": 5 << 20,
    }
    node["remarks"] = ["blake3:00: no source gave a good copy of it"]
    node["forecast"] = {"days_to_full": 12.3, "words": "12.3 days, at the pace of the last 2 h"}
NODES[-1] |= {"care": {}, "remarks": [], "forecast": {"days_to_full": None, "words": "unknown"}}
STATUS = {
    "cluster_id": "c0ffee",
    "epoch": 1,
    "replicas": 3,
    "write_quorum": 2,
    "nodes": NODES,
    "summary": "1 of 3 nodes cannot vote (node-3): everything reads and writes",
    "ledger": LEDGER,
    "healthy": False,
}


def care(
    step: int, ledger: Mapping[str, object] = LEDGER, *, ticket: int | None = None
) -> dict[str, object]:
    """What node-1 does in the background; everything of it counts up with `step`."""
    figures = {
        "repair_rounds": step,
        "repair_queue": 17,
        "bad_copies_found": step // 2,
        "scrub_bytes_left": max(0, 3 - step) << 20,
        "scrub_copies_left": max(0, 3 - step),
        "scrub_laps": step // 3,
        "scrub_laps_asked": 1,
    }
    row: dict[str, object] = {"node": "node-1", "error": None, "figures": figures}
    return {"ledger": dict(ledger), "nodes": [{**row, "remarks": [], "ticket": ticket}]}


class Views:
    """What the door asks for operators; `cares` is told one after the other, the last for ever."""

    def __init__(self) -> None:
        self.cares: list[dict[str, object]] = [care(0)]
        self.begun: list[CareOrder] = []
        self.why_words = ["a blob of 5 bytes", "3 of 3 owners have a good copy: a, b, c"]

    async def care(self, begin: CareOrder | None = None) -> Mapping[str, object]:
        if begin is not None:
            self.begun.append(begin)
        return self.cares.pop(0) if len(self.cares) > 1 else self.cares[0]

    async def why(self, digest: Digest) -> Mapping[str, object]:
        incident = {"s_ago": 180, "what": "fetched", "words": "from b", "times": 1}
        told = {
            "node": "a",
            "role": "owner",
            "error": None,
            "held": True,
            "root": "live(1)",
            "verified_s_ago": 180,
            "claims": 0,
            "waiting": False,
            "trouble": None,
            "quarantined": ["quarantine/x"],
            "incidents": [incident],
        }
        away = {"node": "b", "role": "owner", "error": "no answer"}
        return {
            "digest": str(digest),
            "partition": digest.partition,
            "epoch": 1,
            "owners": ["a", "b", "c"],
            "spares": [],
            "words": self.why_words,
            "nodes": [told, away],
        }

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
        counted = {"records": 1_200, "bytes": 5 << 30}
        tallies = [chunks | counted, trash | {"records": 1, "bytes": 7}]
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
        self,
        folder: Path,
        store: MemoryBlobStore,
        views: Views,
        captured: pytest.CaptureFixture[bytes],
    ) -> None:
        self.folder = folder
        self.views = views
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
    store, views = MemoryBlobStore(), Views()
    door = HttpDoor(
        store,
        views,
        HttpConfig(),
        clock=HostClock(),
        randomness=HostRandomness(),
        registry=CollectorRegistry(),
    )
    host, port = await door.start("127.0.0.1", 0)
    monkeypatch.setenv("HOLDFAST_GATEWAY", f"http://{host}:{port}")
    monkeypatch.chdir(folder)
    yield Shell(folder, store, views, captured)
    await door.stop(deadline_s=5.0)
    structlog.reset_defaults()
