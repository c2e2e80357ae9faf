"""The command `holdfast` as people type it, against a gateway's door over a store in memory."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry

from gateway.http.config import HttpConfig
from gateway.http.server import HttpDoor
from holdfast import __version__, cli
from node.host import HostClock, HostRandomness
from ring.digest import Algorithm, Digest
from ring.errors import Unavailable
from tests.fakes.memory_blob_store import MemoryBlobStore

ROOT = Path(__file__).parent.parent.parent
HELLO = Digest.of(b"hello")
NODES = [
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
STATUS = {
    "cluster_id": "c0ffee",
    "epoch": 1,
    "replicas": 3,
    "write_quorum": 2,
    "nodes": NODES,
    "summary": "node-3 of 3 nodes cannot vote: everything reads and writes",
    "healthy": False,
}


class Views:
    """What the door asks for operators."""

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
        self, folder: Path, store: MemoryBlobStore, captured: pytest.CaptureFixture[bytes]
    ) -> None:
        self.folder = folder
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


@pytest.fixture
async def shell(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> AsyncIterator[Shell]:
    structlog.configure(processors=[lambda *_: ""], logger_factory=structlog.ReturnLoggerFactory())
    store = MemoryBlobStore()
    door = HttpDoor(
        store,
        Views(),
        HttpConfig(),
        clock=HostClock(),
        randomness=HostRandomness(),
        registry=CollectorRegistry(),
    )
    host, port = await door.start("127.0.0.1", 0)
    monkeypatch.setenv("HOLDFAST_GATEWAY", f"http://{host}:{port}")
    monkeypatch.chdir(tmp_path)
    yield Shell(tmp_path, store, capsysbinary)
    await door.stop(deadline_s=5.0)
    structlog.reset_defaults()


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
    assert plain.text == (
        "node-3 of 3 nodes cannot vote: everything reads and writes\n"
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
        (("serve", "--store", "pages"), 2, "'pages' is not one of"),
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
