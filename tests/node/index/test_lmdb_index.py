"""What only LMDB does: processes killed inside it, rot in its file, deaths that give it up."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from node.index.index import IndexReader, IndexWriter
from node.index.indexed_table import IndexedTable, IndexState, OpenedTable, open_table
from node.index.lmdb_index import LmdbHome, LmdbIndex
from node.index.location import Position
from node.posix_disk import PosixDisk
from ring.digest import Digest
from ring.errors import Corrupt, StorageFault
from tests.fakes.faulty_disk import FaultyDisk
from tests.node.index.table_walk import TableWalk

SEED = 11  # the programs below repeat both
ENTRIES_MAX = 3

WRITER = """
import asyncio, sys
from random import Random
from node.index.indexed_table import open_table
from node.index.lmdb_index import LmdbHome
from node.posix_disk import PosixDisk
from tests.node.index.table_walk import TableWalk

async def main(root):
    table = (await open_table(LmdbHome(PosixDisk(root), root), entries_max=3)).table
    walk = TableWalk(Random(11), 0)
    covered = table.covered
    while True:
        entry = walk.next_entry()
        if covered is None or entry[2] > covered:
            table.apply(*entry)
        if len(walk.log) % 8 == 0:
            await table.checkpoint()
            if table.covered is not None:
                print(table.covered.segment, table.covered.offset, flush=True)

asyncio.run(main(sys.argv[1]))
"""

ENDER = """
import asyncio, os, signal, sys
from node.index.lmdb_index import LmdbHome
from node.posix_disk import PosixDisk

def die(_=None):
    os.kill(os.getpid(), signal.SIGKILL)

def fill(writer):
    for number in range(200):
        writer.put(b"%d" % number, bytes(1000))

async def main(root, where):
    index = (await LmdbHome(PosixDisk(root), root).open()).index
    if where == "reading":
        await index.read(die)
    elif where == "writing":
        await index.write(die)
    elif where == "after a commit":
        await index.write(lambda writer: writer.put(b"key", b"value"))
        await index.write(die)
    elif where == "on a page that is gone":
        await index.write(fill)
        os.truncate(root + "/index/data.mdb", 8192)
        index.get(b"100")
    die()

asyncio.run(main(*sys.argv[1:]))
"""

READER = """
import asyncio, sys
from random import Random
from node.index.indexed_table import IndexState, open_table
from node.index.lmdb_index import LmdbHome
from node.posix_disk import PosixDisk
from ring.errors import Corrupt
from tests.node.index.table_walk import TableWalk

async def main(root):
    opened = await open_table(LmdbHome(PosixDisk(root), root))
    if opened.state is not IndexState.READY:
        return opened.state.value
    walk = TableWalk(Random(11), 0)
    while not walk.log or walk.log[-1][2] < opened.table.covered:
        walk.next_entry()
    try:
        wrong = await opened.table.verify()
        if wrong is None:
            walk.compare(opened.table)
    except Corrupt:
        wrong = "corrupt"
    await opened.table.close()
    return "right" if wrong is None else "damaged"

print(asyncio.run(main(sys.argv[1])), flush=True)
"""


@asynccontextmanager
async def opened_at(root: str) -> AsyncIterator[OpenedTable]:
    disk = PosixDisk(root, threads=2)
    opened = await open_table(LmdbHome(disk, root), entries_max=ENTRIES_MAX)
    try:
        yield opened
    finally:
        await opened.table.close()
        await disk.close()


async def started(program: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *arguments, stdout=asyncio.subprocess.PIPE
    )


async def said(program: str, *arguments: str) -> tuple[int, str]:
    """How a process ended, and its last words."""
    process = await started(program, *arguments)
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, (output.decode().split("\n") or [""])[-2] if output else ""


async def filled(root: str, entries: int) -> TableWalk:
    walk = TableWalk(Random(SEED), ENTRIES_MAX)
    async with opened_at(root) as opened:
        for _ in range(entries):
            walk.change(opened.table)
        await opened.table.checkpoint()
    return walk


def replay(walk: TableWalk, table: IndexedTable) -> None:
    """Apply what the index does not have, to 20 entries beyond what anybody applied."""
    reached = table.replay_to or table.covered or Position(0, 0)
    while not walk.log or walk.log[-1][2] <= reached:
        walk.next_entry()
    for _ in range(20):
        walk.next_entry()
    for entry in walk.log:
        if table.covered is None or entry[2] > table.covered:
            table.apply(*entry)


async def test_a_killed_process_keeps_what_it_covered(tmp_path: Path) -> None:
    root = str(tmp_path)
    rng = Random(1)
    reached = Position(0, 0)
    cut_short = 0
    for _ in range(8):
        process = await started(WRITER, root)
        assert process.stdout is not None
        for _ in range(3):
            line = await process.stdout.readline()
            reached = max(reached, Position(*map(int, line.split())))
        await asyncio.sleep(rng.random() * 0.05)
        process.kill()
        rest = (await process.communicate())[0].decode()
        for text in rest.split("\n")[:-1]:
            reached = max(reached, Position(*map(int, text.split())))

        async with opened_at(root) as opened:
            table = opened.table
            assert opened.state is IndexState.READY
            assert table.covered is not None
            assert table.covered >= reached
            cut_short += table.replay_to is not None
            assert await table.verify() is None
            walk = TableWalk(Random(SEED), 0)
            replay(walk, table)
            walk.compare(table)
            if rng.random() < 0.5:
                await table.checkpoint()
                walk.compare(table)
                reached = walk.log[-1][2]
    assert cut_short, "no kill fell between two transactions of a checkpoint"


@pytest.mark.parametrize("where", ["reading", "writing"])
async def test_the_second_death_in_a_row_inside_the_index_gives_it_up(
    tmp_path: Path, where: str
) -> None:
    walk = await filled(str(tmp_path), 20)
    for _ in range(2):
        assert await said(ENDER, str(tmp_path), where) == (-9, "")

    async with opened_at(str(tmp_path)) as opened:
        assert opened.state is IndexState.DISCARDED
        assert "died" in str(opened.reason)
        assert opened.table.records == 0
        replay(walk, opened.table)
        await opened.table.checkpoint()
        walk.compare(opened.table)
    assert (tmp_path / "index" / "discarded.mdb").exists()
    async with opened_at(str(tmp_path)) as opened:
        assert opened.state is IndexState.READY
        walk.compare(opened.table)


async def test_a_signal_while_a_page_is_read_counts(tmp_path: Path) -> None:
    for _ in range(2):
        assert (await said(ENDER, str(tmp_path), "on a page that is gone"))[0] in {-7, -11}

    async with opened_at(str(tmp_path)) as opened:
        assert opened.state is IndexState.DISCARDED


async def test_every_commit_syncs_and_a_new_file_has_its_name_for_good(tmp_path: Path) -> None:
    disk = FaultyDisk(PosixDisk(str(tmp_path), threads=2))
    index = (await LmdbHome(disk, str(tmp_path)).open()).index

    assert disk.trouble.calls[-1] == "sync directory"
    assert isinstance(index, LmdbIndex)
    flags = index._environment.flags()  # noqa: SLF001 - no crash of a test's would show it
    assert flags["sync"]
    assert flags["metasync"]
    assert not flags["map_async"]
    assert not flags["writemap"]
    await index.close()


@pytest.mark.parametrize(
    "ends",
    [
        ["elsewhere", "elsewhere", "elsewhere"],
        ["reading", "elsewhere", "reading"],
        ["writing", "after a commit"],
    ],
)
async def test_deaths_elsewhere_or_by_chance_leave_the_index(
    tmp_path: Path, ends: list[str]
) -> None:
    walk = await filled(str(tmp_path), 20)
    for where in ends:
        assert await said(ENDER, str(tmp_path), where) == (-9, "")

    async with opened_at(str(tmp_path)) as opened:
        assert opened.state is IndexState.READY
        walk.compare(opened.table)


async def test_one_death_and_a_good_end_count_for_nothing(tmp_path: Path) -> None:
    await filled(str(tmp_path), 20)
    for _ in range(3):
        await said(ENDER, str(tmp_path), "reading")
        async with opened_at(str(tmp_path)) as opened:
            assert opened.state is IndexState.READY


@pytest.mark.parametrize("seed", range(10))
async def test_rot_is_found_or_does_no_harm(tmp_path: Path, seed: int) -> None:
    await filled(str(tmp_path), 40)
    rng = Random(seed)
    data = tmp_path / "index" / "data.mdb"
    with data.open("r+b") as file:
        pages = os.path.getsize(data) // 4096
        for _ in range(1 + 5 * (seed % 3)):
            at = rng.randrange(2 * (seed % 2), pages) * 4096 + rng.randrange(4096)
            file.seek(at)
            octet = file.read(1)[0]
            file.seek(at)
            file.write(bytes([octet ^ 1 << rng.randrange(8)]))
    ends = [await said(READER, str(tmp_path)) for _ in range(3)]

    codes = [code for code, _ in ends]
    words = [word for _, word in ends]
    assert all(code <= 0 for code in codes), ends  # a signal or a word, never a wrong answer
    if any(codes):  # two deaths, and the third start gives the index up
        assert words[-1] == "discarded" or words[-1] == "fresh", ends
    else:
        assert words[0] in {"right", "damaged", "discarded"}, ends


async def test_rot_above_the_leaves_hides_no_key(tmp_path: Path) -> None:
    keys = [Digest.of(b"%d" % number).key for number in range(2000)]

    def fill(writer: IndexWriter) -> None:
        for key in keys:
            writer.put(key, b"value")

    disk = PosixDisk(str(tmp_path), threads=2)
    home = LmdbHome(disk, str(tmp_path))
    index = (await home.open()).index
    await index.write(fill)
    await index.close()
    turn_over_a_key_of_each_branch(tmp_path / "index" / "data.mdb")

    index = (await home.open()).index
    found = 0
    for key in keys:
        try:
            assert index.get(key) == b"value"
            found += 1
        except Corrupt:
            pass
    assert 0 < found < len(keys)
    await index.close()
    await disk.close()


def turn_over_a_key_of_each_branch(data: Path) -> None:
    """In LMDB's pages: flags at byte 10, 1 in a branch; offsets of entries from byte 16 on."""
    content = bytearray(data.read_bytes())
    for page in range(2 * 4096, len(content), 4096):
        if content[page + 10] == 1:
            entry = page + int.from_bytes(content[page + 22 : page + 24], "little")
            content[entry + 9] ^= 0x20  # the second byte of the key of the fourth
    data.write_bytes(content)


@pytest.mark.parametrize("content", [b"no such file " * 1000, b"\0" * 40960, b""])
async def test_a_file_that_is_no_index_is_discarded(tmp_path: Path, content: bytes) -> None:
    walk = await filled(str(tmp_path), 20)
    (tmp_path / "index" / "data.mdb").write_bytes(content)

    async with opened_at(str(tmp_path)) as opened:
        assert opened.state is (IndexState.DISCARDED if content else IndexState.FRESH)
        assert opened.table.covered is None
        replay(walk, opened.table)
        await opened.table.checkpoint()
        walk.compare(opened.table)


async def test_after_a_failed_write_everything_is_there_and_the_next_one_succeeds(
    tmp_path: Path,
) -> None:
    walk = await filled(str(tmp_path), 10)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with opened_at(str(tmp_path)) as opened:
        table = opened.table
        for _ in range(30):
            walk.change(table)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # every write fails
        try:
            for _ in range(2):
                with pytest.raises(StorageFault):
                    await table.checkpoint()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        walk.compare(table)
        walk.change(table)
        assert await table.checkpoint() == walk.log[-1][2]
        walk.compare(table)
        assert await table.verify() is None
    async with opened_at(str(tmp_path)) as opened:
        assert opened.table.covered == walk.log[-1][2]
        walk.compare(opened.table)


async def test_a_cancelled_look_leaves_the_index_in_order(tmp_path: Path) -> None:
    disk = PosixDisk(str(tmp_path), threads=2)
    index = (await LmdbHome(disk, str(tmp_path)).open()).index

    def look(reader: IndexReader) -> None:
        for _ in range(1000):
            reader.after(b"", 100, below=b"\xff")

    looking = asyncio.create_task(index.read(look))
    await asyncio.sleep(0)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    await index.write(lambda writer: writer.put(b"key", b"value"))

    assert index.get(b"key") == b"value"
    await index.close()
    await disk.close()
