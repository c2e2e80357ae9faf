"""The real snapdir and Holdfast look at the same trees and must say the same, byte for byte."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.manifest import Manifest
from holdfast.restore import restore
from holdfast.tree import read_source, scan

snapdir = pytest.importorskip(
    "snapdir", reason="the snapdir package is not installed; install the test dependencies"
)

# A tree: file (mode, content), link (target), directory (mode, members).
File = tuple[int, bytes]
Tree = tuple[int, dict[str, "File | str | Tree"]]

NAMES = st.text(
    st.sampled_from("ab.-_ #\\~*'\"\t\ré€𝄞\u2028") | st.characters(max_codepoint=0x2FF), min_size=1
).map(lambda name: name.translate({0: None, 10: None, 47: None, 127: None})[:40].rstrip("\r"))
# Where links lead: a file and a directory beside the tree, nowhere. None leads upwards, because two
# of those name more paths than there is time for. (A link that leads through a file as if it were a
# directory is left out here like any that leads nowhere; snapdir gives up over it.)
TARGETS = ("{beside}/file", "{beside}/folder", "nothing")

FILES = st.tuples(
    st.sampled_from([0o600, 0o644, 0o755, 0o4755, 0o2711, 0o444]), st.binary(max_size=40)
)
FOLDER_MODES = st.sampled_from([0o700, 0o755, 0o1777, 0o2755, 0o555])


def folders(members: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    named = st.dictionaries(
        NAMES.filter(lambda name: name not in {"", ".", ".."}), members, max_size=5
    )
    return st.tuples(FOLDER_MODES, named)


TREES = folders(st.recursive(FILES | st.sampled_from(TARGETS), folders, max_leaves=12))


def build(where: Path, tree: object, beside: Path) -> None:
    match tree:
        case str(target):
            where.symlink_to(target.format(beside=beside))
        case (int(mode), bytes(content)):
            where.write_bytes(content)
            where.chmod(mode)
        case (int(mode), dict(members)):
            where.mkdir()
            for name, member in members.items():
                build(where / name, member, beside)
            where.chmod(mode)


def make_beside(where: Path) -> None:
    (where / "folder" / "deep").mkdir(parents=True)
    (where / "file").write_bytes(b"beside")
    (where / "folder" / "deep" / "f").write_bytes(b"deep")
    (where / "folder" / "pipe-to-be-left-out").symlink_to("/dev/null")
    os.mkfifo(where / "folder" / "pipe")


def open_up(where: Path) -> None:
    """Let the owner remove what is read-only."""
    for folder, _, _ in os.walk(where):
        Path(folder).chmod(0o755)


def theirs(directory: Path, *, no_follow: bool = False) -> tuple[str, str]:
    async def ask() -> tuple[str, str]:
        found = await snapdir.manifest(directory, no_follow=no_follow)
        return found.raw, await snapdir.id(directory, no_follow=no_follow)

    return asyncio.run(ask())


def ours(directory: Path, *, follow: bool = True) -> tuple[str, str]:
    manifest = scan(str(directory), follow=follow).manifest
    assert Manifest.parse(manifest.render()) == manifest
    return manifest.render().decode().removesuffix("\n"), manifest.id.hex


@settings(max_examples=80)
@given(TREES)
def test_any_tree_has_the_manifest_and_the_name_that_snapdir_gives_it(tree: object) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root, beside = Path(scratch, "root"), Path(scratch, "beside")
        make_beside(beside)
        build(root, tree, beside)

        assert ours(root) == theirs(root)
        assert ours(root, follow=False) == theirs(root, no_follow=True)

        open_up(root)


@settings(max_examples=20)
@given(TREES)
def test_snapdir_finds_its_own_name_in_what_we_restored(tree: object) -> None:
    """Links are left out: they are restored as what they led to, with the link's size in the text.

    setgid on a directory is inherited by what is made below it, in either tool.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root, copy = Path(scratch, "root"), Path(scratch, "copy")
        build(root, tree, Path(scratch))
        walked = scan(str(root), follow=False)
        sources = {entry.checksum: source for entry, source in walked.sources()}

        asyncio.run(
            restore(walked.manifest, str(copy), lambda checksum: read_source(sources[checksum]))
        )

        assert theirs(copy) == theirs(root, no_follow=True)

        open_up(root)
        open_up(copy)


def test_loops_and_links_at_the_root_agree(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "d" / "f").write_bytes(b"x")
    (root / "d" / "up").symlink_to("..")
    (root / "me").symlink_to("me")
    link = tmp_path / "link"
    link.symlink_to(root)

    for directory in (root, link, link / "d" / ".."):
        assert ours(directory) == theirs(directory)
        assert ours(directory, follow=False) == theirs(directory, no_follow=True)


def test_this_package_tree_has_the_name_that_snapdir_gives_it() -> None:
    directory = Path(os.__file__).parent / "json"

    assert ours(directory) == theirs(directory)
