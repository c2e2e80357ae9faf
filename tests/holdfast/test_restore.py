"""A manifest back on disk: what comes out, what stays, what is refused."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.destination import Destination
from holdfast.manifest import Manifest
from holdfast.restore import Restored, restore
from holdfast.tree import read_source, scan
from ring.digest import Digest
from ring.errors import DigestMismatch, LocalFault, NotFound
from tests.holdfast.trees import Blobs, file, folder, tree_of, write


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "out"


# --- what comes out -------------------------------------------------------------------------------


async def test_a_tree_comes_back_as_it_was(tmp_path: Path, out: Path) -> None:
    source = tmp_path / "source"
    write(source, {f"d{n % 3}/e/{n} é": b"%d" % (n % 7) * n for n in range(60)})
    (source / "none").mkdir()
    (source / "d1" / "e").chmod(0o1777)
    (source / "d0" / "e" / "0 é").chmod(0o4755)
    (source / "d0").chmod(0o555)
    tree = scan(str(source))
    sources = {entry.checksum: source for entry, source in tree.sources()}

    done = await restore(tree.manifest, str(out), lambda name: read_source(sources[name]))

    assert done.files_written == 60
    assert done.size_bytes == tree.manifest.entries[0].size_bytes
    assert scan(str(out)).manifest == tree.manifest
    assert tree_of(out) == tree_of(source)
    for directory in (source, out):
        (directory / "d0").chmod(0o755)


async def test_modes_come_back_in_full_also_those_that_lock_the_owner_out(out: Path) -> None:
    blobs = Blobs(b"setuid", b"locked")
    manifest = Manifest(
        (
            folder("./", 0o700),
            folder("./d/", 0o2755),
            folder("./none/", 0),
            folder("./none/below/", 0o500),
            file("./d/s", b"setuid", 0o6755),
            file("./none/below/f", b"locked", 0),
        )
    )

    await restore(manifest, str(out), blobs.fetch)

    modes = {path: (out / path).stat().st_mode & 0o7777 for path in (".", "d", "d/s", "none")}
    assert modes == {".": 0o700, "d": 0o2755, "d/s": 0o6755, "none": 0}
    (out / "none").chmod(0o700)
    below = out / "none" / "below"
    assert [below.stat().st_mode & 0o7777, (below / "f").stat().st_mode & 0o7777] == [0o500, 0]
    below.chmod(0o700)


async def test_directories_that_are_not_listed_are_made(out: Path) -> None:
    await restore(Manifest((file("./a/b/c", b"x"),)), str(out), Blobs(b"x").fetch)

    assert (out / "a" / "b" / "c").read_bytes() == b"x"


async def test_no_entries_make_an_empty_directory(out: Path) -> None:
    assert await restore(Manifest(()), str(out), Blobs().fetch) == Restored()
    assert list(out.iterdir()) == []


async def test_a_followed_link_comes_back_as_a_file_whatever_its_size_says(
    tmp_path: Path, out: Path
) -> None:
    write(tmp_path / "source", {"f": b"a long content"})
    (tmp_path / "source" / "link").symlink_to("f")
    manifest = scan(str(tmp_path / "source")).manifest
    blobs = Blobs(b"a long content")

    await restore(manifest, str(out), blobs.fetch)
    again = await restore(manifest, str(out), blobs.fetch)

    assert (out / "link").read_bytes() == b"a long content"
    assert not (out / "link").is_symlink()
    assert again.files_kept == 2


async def test_progress_counts_bytes_and_files(out: Path) -> None:
    seen: list[tuple[int, int]] = []
    manifest = Manifest((file("./a", b"12345"), file("./b", b"")))

    for _ in range(2):
        await restore(
            manifest,
            str(out),
            Blobs(b"12345", b"").fetch,
            progress=lambda size_bytes, files: seen.append((size_bytes, files)),
            jobs=1,
        )
        assert seen == sorted(seen)
        assert seen[-1] == (5, 2)
        seen.clear()


async def test_many_files_are_on_their_way_at_once_but_no_more_than_allowed(out: Path) -> None:
    now, most = 0, 0

    async def fetch(checksum: str) -> AsyncIterator[bytes]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(5):
            await asyncio.sleep(0)
        yield b"x"
        now -= 1

    await restore(Manifest(tuple(file(f"./{n}", b"x") for n in range(20))), str(out), fetch, jobs=3)

    assert (now, most) == (0, 3)


# --- what stays -----------------------------------------------------------------------------------


async def test_what_is_there_already_is_not_fetched_again(out: Path) -> None:
    manifest = Manifest((folder("./"), file("./a", b"aaaa", 0o600), file("./b", b"bbbb")))
    await restore(manifest, str(out), Blobs(b"aaaa", b"bbbb").fetch)
    before = (out / "a").stat()
    (out / "a").chmod(0o644)
    (out / "b").write_bytes(b"bbbB")
    blobs = Blobs(b"aaaa", b"bbbb")

    done = await restore(manifest, str(out), blobs.fetch)

    assert (done.files_kept, done.files_written, done.size_bytes) == (1, 1, 8)
    assert blobs.asked == [Digest.of(b"bbbb").hex]
    assert (out / "a").stat().st_ino == before.st_ino
    assert (out / "a").stat().st_mode == before.st_mode
    assert (out / "b").read_bytes() == b"bbbb"


async def test_what_the_manifest_does_not_name_is_left_alone(out: Path) -> None:
    write(out, {"mine": b"mine", "d/mine": b"mine"})

    await restore(Manifest((folder("./d/"), file("./d/f", b"x"))), str(out), Blobs(b"x").fetch)

    assert sorted(path.name for path in out.rglob("*")) == ["d", "f", "mine", "mine"]


async def test_a_file_with_a_second_name_keeps_its_mode_there(tmp_path: Path, out: Path) -> None:
    write(tmp_path, {"elsewhere": b"x"})
    (tmp_path / "elsewhere").chmod(0o600)
    out.mkdir(parents=True)
    (out / "f").hardlink_to(tmp_path / "elsewhere")

    await restore(Manifest((file("./f", b"x", 0o4777),)), str(out), Blobs(b"x").fetch)

    assert (tmp_path / "elsewhere").stat().st_mode & 0o7777 == 0o600
    assert (out / "f").stat().st_mode & 0o7777 == 0o4777


async def test_a_read_only_directory_that_is_there_is_opened_up_for_its_owner(out: Path) -> None:
    manifest = Manifest((folder("./", 0o500), folder("./d/", 0o555), file("./d/f", b"new")))
    write(out, {"d/f": b"old"})
    (out / "d").chmod(0o555)
    out.chmod(0o500)

    await restore(manifest, str(out), Blobs(b"new").fetch)

    assert tree_of(out) == {".": (0o500, None), "d": (0o555, None), "d/f": (0o644, b"new")}
    out.chmod(0o700)
    (out / "d").chmod(0o700)


async def test_a_pipe_in_the_way_of_a_file_is_replaced_without_waiting(out: Path) -> None:
    out.mkdir(parents=True)
    os.mkfifo(out / "f")

    await restore(Manifest((file("./f", b"x"),)), str(out), Blobs(b"x").fetch)

    assert (out / "f").read_bytes() == b"x"


# --- what is refused ------------------------------------------------------------------------------


async def test_other_bytes_than_promised_are_refused_and_leave_nothing(out: Path) -> None:
    async def fetch(checksum: str) -> AsyncIterator[bytes]:
        yield b"lies"

    write(out, {"f": b"old"})
    with pytest.raises(DigestMismatch) as refusal:
        await restore(Manifest((file("./f", b"truth"),)), str(out), fetch)

    assert Digest.of(b"truth").hex in refusal.value.detail
    assert Digest.of(b"lies").hex in refusal.value.detail
    assert tree_of(out).keys() == {".", "f"}
    assert (out / "f").read_bytes() == b"old"


async def test_the_first_error_ends_the_restore_and_leaves_no_temporary_file(out: Path) -> None:
    closed = 0

    async def fetch(checksum: str) -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            yield b"part"
            await asyncio.sleep(0)
            if checksum == Digest.of(b"3").hex:
                raise NotFound("3 is not there")
            await asyncio.Event().wait()
        finally:
            closed += 1

    manifest = Manifest((folder("./d/"), *(file(f"./d/{n}", b"%d" % n) for n in range(6))))
    with pytest.raises(NotFound, match="3 is not there"):
        await restore(manifest, str(out), fetch)

    assert closed == 6
    assert tree_of(out).keys() == {".", "d"}


async def test_a_cancelled_restore_leaves_no_temporary_file(out: Path) -> None:
    started = asyncio.Event()

    async def fetch(checksum: str) -> AsyncIterator[bytes]:
        yield b"part"
        started.set()
        await asyncio.Event().wait()

    manifest = Manifest((file("./a", b"a"), file("./b", b"b")))
    task = asyncio.create_task(restore(manifest, str(out), fetch))
    await started.wait()
    assert len(list(out.iterdir())) == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert list(out.iterdir()) == []


async def test_a_directory_in_the_way_of_a_file_and_the_reverse_are_refused(out: Path) -> None:
    write(out, {"d/f": b"", "f": b""})

    with pytest.raises(LocalFault, match=r"cannot write '\./d': Is a directory"):
        await restore(Manifest((file("./d", b"x"),)), str(out), Blobs(b"x").fetch)
    with pytest.raises(LocalFault, match=r"'\./f/' is in the way: it is not a directory"):
        await restore(Manifest((folder("./f/"),)), str(out), Blobs().fetch)
    with pytest.raises(LocalFault, match=r"'\./f/' is in the way"):
        await restore(Manifest((file("./f/x", b"x"),)), str(out), Blobs(b"x").fetch)
    with pytest.raises(LocalFault, match="Not a directory"):
        await restore(Manifest(()), str(out / "f"), Blobs().fetch)

    assert tree_of(out).keys() == {".", "d", "d/f", "f"}


async def test_a_name_that_is_too_long_is_refused_in_words(out: Path) -> None:
    with pytest.raises(LocalFault, match="File name too long"):
        await restore(Manifest((file("./" + "x" * 256, b"x"),)), str(out), Blobs(b"x").fetch)


async def test_no_temporary_name_is_a_name_of_the_manifest(out: Path) -> None:
    names = [f".holdfast-{os.getpid()}-{n}.tmp" for n in range(3)]

    with (
        Destination(str(out), frozenset(f"./{name}" for name in names)) as destination,
        destination.write("./z") as slow,
    ):
        slow.write(b"slow")
        for name in names:
            with destination.write(f"./{name}") as quick:
                quick.write(b"quick")
                quick.commit(0o644)
        slow.commit(0o644)

    assert (out / "z").read_bytes() == b"slow"
    assert [(out / name).read_bytes() for name in names] == [b"quick"] * 3


async def test_a_temporary_name_that_is_taken_is_left_alone(out: Path) -> None:
    taken = f".holdfast-{os.getpid()}-0.tmp"
    write(out, {taken: b"somebody's"})

    await restore(Manifest((file("./f", b"x"),)), str(out), Blobs(b"x").fetch)

    assert (out / taken).read_bytes() == b"somebody's"
    assert sorted(path.name for path in out.iterdir()) == [taken, "f"]
