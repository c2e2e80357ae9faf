"""The command `holdfast` as people type it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ring.digest import Algorithm, Digest
from ring.errors import Unavailable
from tests.holdfast.cli_shell import HELLO, STATUS, Shell, running_shell


@pytest.fixture
async def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> AsyncIterator[Shell]:
    async with running_shell(tmp_path, monkeypatch, capsysbinary) as running:
        yield running


async def test_a_file_is_put_and_comes_back(shell: Shell) -> None:
    (shell.folder / "in.txt").write_bytes(b"hello")

    put = await shell("put", "in.txt")
    got = await shell("get", str(HELLO), "-o", "out.txt")
    printed = await shell("get", str(HELLO))

    assert (put.code, put.text, put.err) == (0, f"{HELLO}\n", "")
    assert (got.code, got.out) == (0, b"")
    assert (shell.folder / "out.txt").read_bytes() == b"hello"
    assert (printed.code, printed.out) == (0, b"hello")
    assert sorted(os.listdir(shell.folder)) == ["in.txt", "out.txt"]


async def test_several_files_are_listed_with_their_names_in_order(shell: Shell) -> None:
    for name in ("b", "a"):
        (shell.folder / name).write_text(name)
    wanted = [(name, Digest.of(name.encode(), Algorithm.SHA256)) for name in ("b", "a")]

    put = await shell("put", "b", "a", "--algo", "sha256")
    again = await shell("put", "b", "a", "--algo", "sha256", "--json")

    assert put.text == "".join(f"{digest}  {name}\n" for name, digest in wanted)
    assert again.json == {
        "stored": [
            {"path": name, "digest": str(digest), "size": 1, "created": False}
            for name, digest in wanted
        ]
    }


async def test_standard_input_and_pipes_are_put_as_they_come(shell: Shell) -> None:
    data = os.urandom(3_000_000)
    large = await shell.process("put", "-", stdin=data)
    empty = await shell.process("put", "-", "--algo", "sha512")

    assert large.text == f"{Digest.of(data)}\n"
    assert shell.store.blobs[Digest.of(data)] == data
    assert empty.text == f"{Digest.of(b'', Algorithm.SHA512)}\n"


async def test_a_directory_is_put_and_restored(shell: Shell) -> None:
    tree = shell.folder / "tree"
    (tree / "below/empty").mkdir(parents=True)
    (tree / "a file").write_bytes(b"hello")
    (tree / "below/twin").write_bytes(b"hello")
    (tree / "below/tool").write_bytes(b"#!/bin/sh\n")
    (tree / "below/tool").chmod(0o755)

    put = await shell("put", "tree", "--json")
    manifest = str(put.json["digest"])
    got = await shell("get", manifest, "-o", "copy", "--json")
    text = await shell("get", manifest)
    raw = await shell("get", manifest, "-o", "manifest.txt", "--raw")

    assert put.json == {
        "digest": manifest,
        "path": "tree",
        "files": 3,
        "size": 20,
        "stored": 2,
        "created": 2,
    }
    assert got.json["files"] == 3
    assert (shell.folder / "copy/below/twin").read_bytes() == b"hello"
    assert (shell.folder / "copy/below/empty").is_dir()
    assert (shell.folder / "copy/below/tool").stat().st_mode & 0o777 == 0o755
    assert text.text.startswith("D ")
    assert raw.code == 0
    assert (shell.folder / "manifest.txt").read_bytes() == text.out


async def test_a_tree_whose_files_are_gone_is_not_restored_in_silence(shell: Shell) -> None:
    (shell.folder / "tree").mkdir()
    (shell.folder / "tree/file").write_bytes(b"hello")
    put = await shell("put", "tree")
    await shell("rm", str(HELLO))

    got = await shell("get", put.text.strip(), "-o", "copy")

    assert got.code == 1
    assert str(HELLO) in got.err


async def test_has_says_yes_and_no(shell: Shell) -> None:
    other = Digest.of(b"other")
    await shell.store.put(HELLO, b"hello")

    both = await shell("has", str(HELLO), str(other))
    one = await shell("has", str(HELLO), "--json")

    assert (both.code, both.text) == (1, f"yes      {HELLO}\nno       {other}\n")
    assert (one.code, one.json) == (0, {"blobs": [{"digest": str(HELLO), "there": "yes"}]})


async def test_has_does_not_take_silence_for_absence(shell: Shell) -> None:
    shell.store.faults.error = Unavailable("too few nodes answered")

    said = await shell("has", str(HELLO), "--timeout", "0")

    assert (said.code, said.text) == (1, f"unknown  {HELLO}\n")
    assert str(HELLO) in said.err


async def test_rm_deletes_and_absent_is_fine(shell: Shell) -> None:
    await shell.store.put(HELLO, b"hello")

    first = await shell("rm", str(HELLO), "--json")
    second = await shell("rm", str(HELLO))

    assert (first.code, first.json) == (0, {"deleted": [str(HELLO)]})
    assert (second.code, second.text) == (0, "")
    assert not shell.store.blobs


async def test_a_deleted_blob_comes_back_until_it_is_gone_for_good(shell: Shell) -> None:
    await shell.store.put(HELLO, b"hello")
    await shell("rm", str(HELLO))

    back = await shell("admin", "undelete", str(HELLO))
    there = await shell("admin", "undelete", str(HELLO), "--json")
    await shell("rm", "--now", str(HELLO))
    gone = await shell("admin", "undelete", str(HELLO))

    assert (back.code, back.text) == (0, f"{HELLO} is back\n")
    assert there.json == {"digest": str(HELLO), "size": 5, "restored": False}
    assert (gone.code, gone.text) == (1, "")
    assert f"nothing of {HELLO} is left" in gone.err


async def test_gc_says_what_goes_and_why(shell: Shell) -> None:
    said = await shell("admin", "gc", "--dry-run")
    dry = await shell("admin", "gc", "--dry-run", "--json")
    begun = await shell("admin", "gc", "--json")

    assert said.text == (
        "NODE    WHAT    FATE      RECORDS  SIZE     WHY\n"
        "node-1  chunks  goes now  1,200    5.0 GiB  no blob needs them\n"
        "node-1  trash   stays     1        7 B      its time is not over\n"
        "node-3 did not say: no answer\n"
    )
    assert (dry.json["begun"], begun.json["begun"]) == (False, True)


async def test_ls_shows_everything_however_many_pages_it_takes(shell: Shell) -> None:
    for number in range(1_500):
        data = str(number).encode()
        await shell.store.put(Digest.of(data), data)
    wanted = [(str(digest), len(data)) for digest, data in sorted(shell.store.blobs.items())]

    plain = await shell("ls")
    value = await shell("ls", "--json")
    rest = await shell("ls", "--after", wanted[-2][0])

    assert plain.text == "".join(f"{digest}  {size}\n" for digest, size in wanted)
    assert value.json == {"blobs": [{"digest": digest, "size": size} for digest, size in wanted]}
    assert rest.text == f"{wanted[-1][0]}  {wanted[-1][1]}\n"


async def test_ls_of_nothing_is_nothing(shell: Shell) -> None:
    assert (await shell("ls")).out == b""
    assert (await shell("ls", "--json")).json == {"blobs": []}


async def test_stat_says_the_size(shell: Shell) -> None:
    await shell.store.put(HELLO, b"hello")
    shell.store.faults.confirmed = False

    plain = await shell("stat", str(HELLO))
    value = await shell("stat", str(HELLO), "--json")

    assert plain.text.splitlines()[0] == f"{HELLO}  5"
    assert "may have been deleted" in plain.text
    assert value.json == {"digest": str(HELLO), "size": 5, "confirmed": False}


@pytest.mark.parametrize("command", ["get", "stat"])
async def test_what_is_not_there_is_an_error_in_words(shell: Shell, command: str) -> None:
    said = await shell(command, str(HELLO))

    assert (said.code, said.out) == (1, b"")
    assert said.err.startswith("holdfast: ")


async def test_nothing_is_left_of_a_get_that_failed(shell: Shell) -> None:
    digest = Digest.of(bytes(1_000_000))
    shell.store.blobs[digest] = bytes(999_999) + b"!"
    shell.store.generations[digest] = 1

    to_file = await shell("get", str(digest), "-o", "out", "--timeout", "0")
    printed = await shell("get", str(digest), "--timeout", "0")

    assert (to_file.code, printed.code) == (1, 1)
    assert os.listdir(shell.folder) == []
    assert len(printed.out) < 1_000_000


async def test_a_get_that_was_cut_goes_on_where_it_was(shell: Shell) -> None:
    data = os.urandom(1_000_000)
    await shell.store.put(Digest.of(data), data)
    shell.store.faults.reading = (500_000, Unavailable("a node is away"))

    said = await shell("get", str(Digest.of(data)), "-o", "out")

    assert (said.code, said.err) == (0, "")
    assert (shell.folder / "out").read_bytes() == data


async def test_status_says_what_works_and_who_is_away(shell: Shell) -> None:
    plain = await shell("admin", "status")
    value = await shell("admin", "status", "--json")

    assert value.json == STATUS
    assert plain.text.startswith(
        "1 of 3 nodes cannot vote (node-3): everything reads and writes\n"
        "\n"
        "cluster c0ffee, layout 1: 3 copies of every blob, stored when 2 are\n"
        "\n"
        "NODE    STATE        RECORDS  STORED   FREE     QUARANTINED  ZONE     ADDRESS\n"
        "node-1  voter        1,234    5.0 MiB  7.0 GiB  2            default  10.0.0.1:7071\n"
        "node-2  voter        1,234    5.0 MiB  7.0 GiB  2            default  10.0.0.2:7071\n"
        "node-3  unreachable  -        -        -        -            default  10.0.0.1:7071"
        "  no answer\n"
    )


async def test_where_names_each_copy(shell: Shell) -> None:
    said = await shell("admin", "where", str(HELLO))

    assert said.text == (
        f"{HELLO}: partition {HELLO.partition} of layout 1\n"
        "\n"
        "NODE    ROLE   COPY         ROOT\n"
        "node-1  owner  present      live(1)\n"
        "node-3  owner  unreachable  -        no answer\n"
    )
