"""A real process with a file store on a real disk, killed in the middle of its work (F20)."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from random import Random

from node.file_store import FileRecordStore
from node.posix_disk import PosixDisk
from ring.digest import Digest
from ring.messages import CopyVerdict
from ring.record import RecordKey, dead, is_live, live
from tests.fakes.manual_clock import ManualClock
from tests.sim.host import SimRandomness

ROUNDS = 4
ACKS_BEFORE_KILL = 60

WRITER = """
import asyncio, sys
from node.file_store import FileRecordStore
from node.host import HostClock, HostRandomness
from node.posix_disk import PosixDisk
from ring.digest import Digest
from ring.record import RecordKey, RecordKind

async def write(store, worker):
    number = 0
    while True:
        number += 1
        value = f"{sys.argv[2]} {worker} {number} ".encode() * (1 + 500 * (number % 7))
        key = RecordKey(Digest.of(value))
        await store.put_root(key, RecordKind.DATA, len(value), 1, value)
        print("put", key.digest, flush=True)
        if number % 3 == 0:
            print("bury", key.digest, flush=True)
            await store.bury(key, 1)
            print("buried", key.digest, flush=True)

async def main():
    disk = PosixDisk(sys.argv[1])
    store = await FileRecordStore.open(
        disk, clock=HostClock(), randomness=HostRandomness(), compact_bytes_min=8192
    )
    await asyncio.gather(*(write(store, worker) for worker in range(8)))

asyncio.run(main())
"""


async def write_until_killed(root: str, number: int) -> list[tuple[str, str]]:
    """What a process said before it was killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, root, str(number), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    said: list[tuple[str, str]] = []
    async for line in process.stdout:
        word, _, digest = line.decode().strip().partition(" ")
        if line.endswith(b"\n"):
            said.append((word, digest))
        if len(said) == ACKS_BEFORE_KILL:
            process.kill()
    await process.wait()
    assert len(said) >= ACKS_BEFORE_KILL, "the writer did not get far"
    return said


async def test_a_killed_process_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    root = str(tmp_path / "node")
    said: list[tuple[str, str]] = []
    for number in range(ROUNDS):
        said += await write_until_killed(root, number)
        disk = PosixDisk(root, threads=2)
        store = await FileRecordStore.open(
            disk, clock=ManualClock(), randomness=SimRandomness(Random(number))
        )
        asked_away = {digest for word, digest in said if word == "bury"}
        for word, text in said:
            key = RecordKey(Digest.parse(text))
            state, value = await store.get(key)
            if word == "put" and text not in asked_away:
                assert state.root == live(1)
                assert value is not None
                assert key.digest.matches(value)
            if word == "buried":
                assert (state.root, value) == (dead(1), None)
        entries, _ = await store.page(None, 100_000, roots_only=False)
        for entry in entries:
            if is_live(entry.state.root):
                assert await store.verify(entry.key) is CopyVerdict.GOOD
        leftovers = [path for path in Path(root).rglob("*.tmp") if path.is_file()]
        assert not leftovers
        await store.close()
        await disk.close()
