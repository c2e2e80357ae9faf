"""Nothing is ever written, read or given a mode outside the destination."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.destination import Destination
from holdfast.manifest import Manifest
from holdfast.restore import restore
from ring.errors import UnsafePath
from tests.holdfast.trees import Blobs, file, folder, tree_of, write


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "out"


@pytest.mark.parametrize("path", ["./../evil", "/tmp/evil", "./a/../../evil", "./a\0b"])
def test_a_manifest_with_a_path_that_escapes_cannot_be_restored(path: str) -> None:
    with pytest.raises(UnsafePath):
        file(path, b"x")


@pytest.mark.parametrize("text", ["./a", "./a/b/c"])
async def test_a_link_among_the_directories_of_the_destination_is_refused(
    tmp_path: Path, out: Path, text: str
) -> None:
    outside = tmp_path / "outside"
    (outside / "b").mkdir(parents=True)
    outside.chmod(0o750)
    out.mkdir(parents=True)
    (out / "a").symlink_to(outside)

    for manifest in (
        Manifest((file(f"{text}/f", b"x"),)),
        Manifest((folder("./a/", 0o777), folder("./a/b/", 0o777))),
    ):
        with pytest.raises(UnsafePath, match="is a symbolic link in the destination"):
            await restore(manifest, str(out), Blobs(b"x").fetch)

    assert tree_of(outside).keys() == {".", "b"}
    assert outside.stat().st_mode & 0o7777 == 0o750


@pytest.mark.parametrize("target", ["victim", "nothing", "folder"])
async def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(
    tmp_path: Path, out: Path, target: str
) -> None:
    write(tmp_path, {"victim": b"x", "folder/f": b""})
    (tmp_path / "victim").chmod(0o600)
    out.mkdir(parents=True)
    (out / "f").symlink_to(tmp_path / target)

    await restore(Manifest((file("./f", b"x", 0o777),)), str(out), Blobs(b"x").fetch)

    assert not (out / "f").is_symlink()
    assert (out / "f").read_bytes() == b"x"
    assert not (tmp_path / "nothing").exists()
    assert (tmp_path / "victim").stat().st_mode & 0o7777 == 0o600


async def test_a_link_planted_while_a_file_is_on_its_way_is_not_followed(
    tmp_path: Path, out: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()

    async def fetch(checksum: str) -> AsyncIterator[bytes]:
        (out / "d").rename(tmp_path / "moved")
        (out / "d").symlink_to(outside)
        yield b"x"

    with pytest.raises(UnsafePath, match="symbolic link"):
        await restore(Manifest((folder("./d/", 0o777), file("./d/f", b"x"))), str(out), fetch)

    assert list(outside.iterdir()) == []
    assert outside.stat().st_mode & 0o7777 != 0o777


def test_every_way_into_a_directory_refuses_a_link(tmp_path: Path, out: Path) -> None:
    outside = tmp_path / "outside"
    write(outside, {"f": b"x"})
    out.mkdir(parents=True)
    (out / "d").symlink_to(outside)

    with Destination(str(out), frozenset()) as destination:
        for enter in (
            lambda: destination.make("./d/", 0o700),
            lambda: destination.make("./d/e/", None),
            lambda: destination.settle("./d/", 0o777),
            lambda: destination.find("./d/f"),
            lambda: destination.write("./d/f"),
        ):
            with pytest.raises(UnsafePath):
                enter()
        assert destination.find("./d") is None

    assert list(tree_of(outside)) == [".", "f"]


async def test_the_destination_itself_may_be_reached_through_a_link(
    tmp_path: Path, out: Path
) -> None:
    out.mkdir(parents=True)
    (tmp_path / "link").symlink_to(out)

    await restore(Manifest((file("./f", b"x"),)), str(tmp_path / "link"), Blobs(b"x").fetch)

    assert (out / "f").read_bytes() == b"x"
