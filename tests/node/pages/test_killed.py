"""A real process with a page store on a real disk, killed in the middle of its work (H14)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from node.pages.page_store import PageStore
from ring.errors import NotFound
from tests.node.pages.frames import got, guid, image

ROUNDS = int(os.environ.get("HOLDFAST_KILL_ROUNDS", "4"))
FRAMES = 6
FLUSHES_BEFORE_KILL = 40

WRITER = """
import sys
from node.pages.page_store import PageStore
from tests.node.pages.frames import guid, put

first, count = int(sys.argv[2]), int(sys.argv[3])
store = PageStore.open(sys.argv[1], 65536)
version = first
while True:
    version += 1
    for number in range(count):
        if (version + number) % 5 == 0:
            print("write", number, 0, flush=True)
            store.delete_blob(guid(number))
        else:
            print("write", number, version, flush=True)
            put(store, number, version)
    if version % 7 == 0:
        store.vacuum()
    else:
        store.flush()
    print("flushed", version, 0, flush=True)
"""


def write_until_killed(folder: str, first: int) -> list[tuple[str, int, int]]:
    """What a process said before it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, folder, str(first), str(FRAMES)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said: list[tuple[str, int, int]] = []
    flushes = 0
    for line in process.stdout:
        if not line.endswith("\n"):
            break
        word, number, version = line.split()
        said.append((word, int(number), int(version)))
        flushes += word == "flushed"
        if flushes == FLUSHES_BEFORE_KILL:
            process.kill()
    process.wait()
    process.stdout.close()
    assert flushes >= FLUSHES_BEFORE_KILL, "the writer did not get far"
    return said


def test_h14_a_killed_process_keeps_what_it_flushed(tmp_path: Path) -> None:
    folder = str(tmp_path / "pages")
    allowed = {number: {0} for number in range(FRAMES)}
    newest = dict.fromkeys(range(FRAMES), 0)
    for round_number in range(ROUNDS):
        for word, number, version in write_until_killed(folder, 1000 * round_number):
            if word == "write":
                allowed[number].add(version)
                newest[number] = version
            else:
                allowed = {frame: {newest[frame]} for frame in newest}

        store = PageStore.open(folder, 65536)
        for number, versions in allowed.items():
            try:
                data = got(store, number)
            except NotFound:
                version = 0
            else:
                version = int(data[:64].split(b"/")[1])
                assert data == image(number, version, 65536)
            assert version in versions
            assert store.has_blob(guid(number)) == bool(version)
            allowed[number], newest[number] = {version}, version
        store.close()
