"""What the command says when it cannot do what it was told."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast import __version__
from ring.digest import Digest
from tests.holdfast.cli_shell import HELLO, ROOT, Shell, running_shell


@pytest.fixture
async def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> AsyncIterator[Shell]:
    async with running_shell(tmp_path, monkeypatch, capsysbinary) as running:
        yield running


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("get", "blake3:abc"), 2, "blake3 needs 64 hex digits, got 3"),
        (("get", HELLO.hex), 2, f"did you mean blake3:{HELLO.hex}"),
        (("rm",), 2, "Missing argument"),
        (("frobnicate",), 2, "No such command"),
        (("ls", "--timeout", "-1"), 2, "-1"),
        (("put", "absent"), 1, "cannot read 'absent': No such file or directory"),
        (("put", ".", "absent"), 1, "cannot read 'absent'"),
        (("put", ".", "."), 1, "one directory, or files"),
        (("put", ".", "--algo", "sha256"), 1, "BLAKE3"),
        (("get", str(HELLO), "--json"), 1, "--json needs -o"),
        (("ls", "--gateway", "localhost:7070"), 1, "is not the URL of a gateway"),
        (("ls", "--gateway", "http://127.0.0.1:1"), 1, "`holdfast serve` starts a cluster"),
        (("node", "--config", "absent.toml"), 1, "cannot read 'absent.toml'"),
        (("gateway", "--config", "absent.toml"), 1, "cannot read 'absent.toml'"),
        (("serve", "--listen", "0.0.0.0:7070"), 2, "--insecure"),
        (("serve", "--listen", "127.0.0.1:0"), 2, "name a port"),
        (("serve", "--store", "tape"), 2, "'tape' is not one of"),
    ],
)
async def test_a_mistake_is_explained(
    shell: Shell, arguments: tuple[str, ...], code: int, words: str
) -> None:
    said = await shell(*arguments)

    assert words in said.err
    assert (said.code, said.out) == (code, b"")


async def test_a_cluster_that_cannot_be_is_not_begun(shell: Shell) -> None:
    said = await shell.process("serve", "--nodes", "2")

    assert said.code == 1
    assert "say --nodes 3 or --replicas 2" in said.err


async def test_a_directory_in_the_way_is_not_replaced_by_a_file(shell: Shell) -> None:
    await shell.store.put(HELLO, b"hello")
    (shell.folder / "out").mkdir()

    into = await shell("get", str(HELLO), "-o", "out")
    below = await shell("get", str(HELLO), "-o", "absent/file")

    assert (into.code, below.code) == (1, 1)
    assert "is a directory" in into.err
    assert "there is no directory 'absent'" in below.err
    assert os.listdir(shell.folder / "out") == []


async def test_a_device_is_written_to_and_not_replaced(shell: Shell) -> None:
    await shell.store.put(HELLO, b"hello")

    said = await shell("get", str(HELLO), "-o", "/dev/null")

    assert said.code == 0
    assert not Path("/dev/null").is_file()


async def test_the_version_and_every_commands_help_are_printed(shell: Shell) -> None:
    version = await shell("--version")
    overview = await shell("--help")

    assert version.text == f"holdfast {__version__}\n"
    for name in ("serve", "put", "get", "has", "rm", "ls", "stat", "admin", "node", "gateway"):
        assert f"\n  {name} " in overview.text


async def test_a_reader_that_goes_away_is_no_bug(shell: Shell) -> None:
    data = os.urandom(5_000_000)
    await shell.store.put(Digest.of(data), data)

    process = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m holdfast get {Digest.of(data)} | head -c 10 | wc -c",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    out, err = await process.communicate()

    assert (out.strip(), err) == (b"10", b"")
