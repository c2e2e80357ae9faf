"""Walking a directory: what is taken, what is left out, what is refused; reading its files."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.manifest import directory_checksum
from holdfast.tree import PIECE_BYTES, read_source, scan
from ring.digest import Digest
from ring.errors import InvalidManifest, LocalFault

HELLO = Digest.of(b"hello").hex
EMPTY = Digest.of(b"").hex


def put(path: Path, content: bytes = b"hello", mode: int = 0o644) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def lines(directory: Path, *, follow: bool = True) -> list[str]:
    """The manifest without its checksums."""
    entries = scan(str(directory), follow=follow).manifest.entries
    return [
        f"{entry.kind.value} {entry.mode:o} {entry.size_bytes} {entry.path}" for entry in entries
    ]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    directory.mkdir()
    directory.chmod(0o755)
    return directory


# --- what is taken --------------------------------------------------------------------------------


def test_an_empty_directory_has_the_name_that_snapdir_gives_it(root: Path) -> None:
    name = "bb83e51d36a3ffa25011d1ea67419da2ca7609d3537b993286d9bec752519acc"

    assert scan(str(root)).manifest.id.hex == name


def test_a_directory_with_a_file_has_the_name_that_snapdir_gives_it(root: Path) -> None:
    put(root / "a.txt")
    name = "5803426341cd88149ee1b981e8fa337b728d5cff9be5b92c3c4e1e214dc9d504"

    assert scan(str(root)).manifest.id.hex == name


def test_every_mode_bit_is_kept(root: Path) -> None:
    put(root / "s", mode=0o4755)
    put(root / "0", mode=0o400)
    (root / "d").mkdir()
    (root / "d").chmod(0o1777)

    assert lines(root) == ["D 755 10 ./", "F 400 5 ./0", "D 1777 0 ./d/", "F 4755 5 ./s"]


def test_large_files_are_hashed_in_pieces(root: Path) -> None:
    content = bytes(range(256)) * (3 * PIECE_BYTES // 256) + b"end"
    put(root / "large", content)

    assert scan(str(root)).manifest.files[0].digest == Digest.of(content)


def test_a_tree_may_be_deeper_than_the_stack(root: Path) -> None:
    depth = 1_200
    for _ in range(depth):
        (root / "new").mkdir()
        if (root / "d").exists():
            (root / "d").rename(root / "new" / "d")
        (root / "new").rename(root / "d")

    assert len(scan(str(root)).manifest.entries) == 1 + depth

    for _ in range(depth - 1):  # taken apart here: whoever clears up after tests is recursive
        (root / "d" / "d").rename(root / "old")
        (root / "d").rmdir()
        (root / "old").rename(root / "d")


def test_odd_names_are_taken(root: Path) -> None:
    names = [" ", "-rf", "#x", "a\\b", "a\rb", "a\tb", "\u2028", "é", "e\u0301", "x" * 255]
    for name in names:
        put(root / name)

    assert sorted(names) == [entry.path[2:] for entry in scan(str(root)).manifest.files]


def test_sources_are_absolute_and_in_order(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "d").mkdir()
    for name in ("b", "a", "d/é"):
        put(root / name)
    monkeypatch.chdir(root.parent)

    tree = scan("root/")

    assert tree.directory == str(root)
    assert [source for _, source in tree.sources()] == [
        str(root / name) for name in ("a", "b", "d/é")
    ]


def test_progress_counts_bytes_and_files(root: Path) -> None:
    put(root / "a", b"x" * (PIECE_BYTES + 1))
    put(root / "b", b"")
    seen: list[tuple[int, int]] = []

    scan(str(root), progress=lambda size_bytes, files: seen.append((size_bytes, files)))

    assert seen == sorted(seen)
    assert (PIECE_BYTES, 0) in seen
    assert seen[-1] == (PIECE_BYTES + 1, 2)


# --- links and other things -----------------------------------------------------------------------


def test_a_link_has_its_own_size_and_mode_and_the_content_of_its_target(root: Path) -> None:
    put(root / "target")
    (root / "d").mkdir()
    put(root / "d" / "f")
    (root / "file").symlink_to("target")
    (root / "folder").symlink_to("d")
    own_mode = f"{(root / 'file').lstat().st_mode & 0o7777:o}"

    assert [line for line in lines(root) if "fo" in line or "fi" in line] == [
        f"F {own_mode} 6 ./file",
        f"D {own_mode} 5 ./folder/",
        "F 644 5 ./folder/f",
    ]
    checksums = {entry.path: entry.checksum for entry in scan(str(root)).manifest.entries}
    assert checksums["./file"] == HELLO
    assert checksums["./folder/"] == checksums["./d/"] == directory_checksum([HELLO])


def test_links_can_be_left_out(root: Path) -> None:
    put(root / "target")
    (root / "file").symlink_to("target")
    (root / "folder").symlink_to(".")

    assert lines(root, follow=False) == ["D 755 5 ./", "F 644 5 ./target"]


def test_a_link_that_leads_nowhere_is_left_out(root: Path) -> None:
    put(root / "file")
    (root / "dangling").symlink_to("nothing")
    (root / "itself").symlink_to("itself")
    (root / "through").symlink_to("file/below")

    assert lines(root) == ["D 755 5 ./", "F 644 5 ./file"]


def test_pipes_sockets_and_devices_are_left_out(root: Path, tmp_path: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "to-pipe").symlink_to("pipe")
    (root / "to-device").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(root, os.O_RDONLY)
        try:
            listener.bind(f"/proc/self/fd/{here}/socket")  # its own name may be too long to bind
        finally:
            os.close(here)

        assert lines(root) == ["D 755 0 ./"]


def test_a_loop_is_followed_until_the_system_refuses(root: Path) -> None:
    put(root / "f")
    (root / "l").symlink_to(".")

    found = lines(root)

    links_max = 40  # of Linux, in one path
    assert len(found) == 2 * (links_max + 1)
    assert found[-1] == "F 644 5 ./" + "l/" * links_max + "f"


def test_loops_that_multiply_are_refused_in_words(root: Path) -> None:
    for name in ("a", "b"):
        (root / name).symlink_to(".")

    with pytest.raises(InvalidManifest, match="more than 1000 entries stand behind symbolic links"):
        scan(str(root), linked_entries_max=1_000)


def test_the_directory_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    put(root / "f")
    link = tmp_path / "link"
    link.symlink_to(root)
    own_mode = f"{link.lstat().st_mode & 0o7777:o}"

    assert lines(link) == [f"D {own_mode} 5 ./", "F 644 5 ./f"]
    assert scan(f"{link}/").manifest == scan(f"{link}/.").manifest == scan(str(link)).manifest
    assert scan(f"{link}/../root").manifest == scan(str(root)).manifest


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (b"a\nb", "line feed"),
        (b"a\r", "carriage return"),
        (b"\xff", "not UTF-8"),
        (b"caf\xe9", "not UTF-8"),
    ],
)
@pytest.mark.parametrize("make", [os.mkdir, lambda path: os.close(os.open(path, os.O_CREAT))])
def test_a_name_that_no_manifest_can_hold_is_refused_in_words(
    root: Path, name: bytes, words: str, make: Callable[[bytes], None]
) -> None:
    make(os.path.join(bytes(root), name))
    if make is os.mkdir and name.endswith(b"\r"):
        assert len(lines(root)) == 2  # the slash keeps it from the line's end
        return

    with pytest.raises(InvalidManifest, match=words) as refusal:
        scan(str(root))

    assert "\n" not in refusal.value.detail


def test_what_is_no_directory_is_refused(root: Path) -> None:
    put(root / "f")
    with pytest.raises(LocalFault, match="is not a directory"):
        scan(str(root / "f"))
    with pytest.raises(LocalFault, match="No such file or directory"):
        scan(str(root / "nothing"))


def test_a_file_that_changes_while_it_is_hashed_is_refused(root: Path) -> None:
    put(root / "growing", b"x" * (2 * PIECE_BYTES))

    def grow(size_bytes: int, _: int) -> None:
        if size_bytes == PIECE_BYTES:
            with (root / "growing").open("ab") as file:
                file.write(b"more")

    with pytest.raises(LocalFault, match="changed while it was read"):
        scan(str(root), progress=grow)


# --- reading --------------------------------------------------------------------------------------


async def test_a_source_is_read_in_pieces(root: Path) -> None:
    content = b"x" * (2 * PIECE_BYTES) + b"end"
    put(root / "f", content)
    tree = scan(str(root))

    pieces = [piece async for piece in read_source(tree.source(tree.manifest.files[0]))]

    assert [len(piece) for piece in pieces] == [PIECE_BYTES, PIECE_BYTES, 3]
    assert b"".join(pieces) == content


async def test_an_empty_source_has_no_pieces(root: Path) -> None:
    put(root / "f", b"")

    assert [piece async for piece in read_source(str(root / "f"))] == []


async def test_a_source_that_went_away_is_an_error_in_words(root: Path) -> None:
    with pytest.raises(LocalFault, match=r"cannot open '.*gone': No such file"):
        await anext(read_source(str(root / "gone")))


async def test_a_source_that_became_a_pipe_does_not_hang_the_reader(root: Path) -> None:
    os.mkfifo(root / "pipe")

    with pytest.raises(LocalFault, match="no longer a regular file"):
        await anext(read_source(str(root / "pipe")))
