"""The data directory of `serve`: made once, kept, and nobody else's."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.config import GatewayConfig
from holdfast.config_file import load_gateway, load_node
from holdfast.log_lines import LogConfig
from holdfast.serve_directory import ServeDirectory, ServeRecord, Wishes, opened
from node.config import StoreKind
from node.host import HostRandomness
from ring.errors import BadRequest


@asynccontextmanager
async def _opened(
    path: Path, nodes: int | None = None, replicas: int | None = None, **more: StoreKind
) -> AsyncIterator[ServeDirectory]:
    wishes = Wishes(nodes, replicas, more.get("store"))
    async with opened(str(path), wishes, HostRandomness()) as directory:
        yield directory


async def _record(path: Path, *wishes: int) -> ServeRecord:
    async with _opened(path, *wishes) as directory:
        return directory.record


async def test_the_first_run_makes_everything_that_the_processes_need(tmp_path: Path) -> None:
    async with _opened(tmp_path / "data") as directory:
        directory.write_configurations(GatewayConfig(), LogConfig())

    nodes = [load_node(str(tmp_path / f"data/node-{n}.toml"), {}) for n in (1, 2, 3)]
    gateway = load_gateway(str(tmp_path / "data/gateway.toml"), {})

    assert [node.config.id for node in nodes] == ["node-1", "node-2", "node-3"]
    assert [node.config.data_dir for node in nodes] == [
        str(tmp_path / f"data/node-{n}") for n in (1, 2, 3)
    ]
    assert all(node.layout == gateway.layout for node in nodes)
    assert all(node.secret == gateway.secret for node in nodes)
    assert gateway.layout.replicas == 3
    ports = {node.config.address.port for node in nodes}
    ports |= {node.config.health_address.port for node in nodes if node.config.health_address}
    assert len(ports) == 6


async def test_nobody_else_may_read_what_is_in_it(tmp_path: Path) -> None:
    async with _opened(tmp_path / "data") as directory:
        directory.write_configurations(GatewayConfig(), LogConfig())

    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()]
    assert set(modes) == {0o600}
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


async def test_the_second_run_finds_what_the_first_one_made(tmp_path: Path) -> None:
    first = await _record(tmp_path / "data", 5, 2)
    secret = (tmp_path / "data/secret").read_bytes()

    again = await _record(tmp_path / "data")
    same = await _record(tmp_path / "data", 5, 2)

    assert first == again == same
    assert (tmp_path / "data/secret").read_bytes() == secret


async def test_two_clusters_are_two_clusters(tmp_path: Path) -> None:
    one = await _record(tmp_path / "one")
    two = await _record(tmp_path / "two")

    assert one.seed != two.seed
    assert (tmp_path / "one/secret").read_bytes() != (tmp_path / "two/secret").read_bytes()


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (Wishes(nodes=4), "was made with --nodes 3"),
        (Wishes(replicas=2), "was made with --replicas 3"),
        (Wishes(store=StoreKind.MEMORY), "was made with --store pages"),
    ],
)
async def test_other_choices_than_those_of_the_first_run_are_refused(
    tmp_path: Path, wishes: Wishes, words: str
) -> None:
    await _record(tmp_path / "data")

    with pytest.raises(BadRequest, match=words):
        async with opened(str(tmp_path / "data"), wishes, HostRandomness()):
            pass


@pytest.mark.parametrize(
    ("nodes", "replicas", "words"),
    [
        (2, None, "say --nodes 3 or --replicas 2"),
        (0, 1, "--nodes must be 1 to 256"),
        (3, 0, "replicas must be 1 to 7"),
        (300, 3, "--nodes must be 1 to 256"),
    ],
)
async def test_a_cluster_that_cannot_be_is_refused_and_leaves_nothing_in_use(
    tmp_path: Path, nodes: int, replicas: int | None, words: str
) -> None:
    with pytest.raises(BadRequest, match=words):
        async with _opened(tmp_path / "data", nodes, replicas):
            pass

    assert (await _record(tmp_path / "data")).replicas == 3


async def test_somebody_elses_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("chapter 1")

    with pytest.raises(BadRequest, match=r"was not made by `holdfast serve` .*thesis\.tex"):
        await _record(tmp_path)

    assert os.listdir(tmp_path) == ["thesis.tex"]


async def test_a_first_run_that_was_interrupted_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "serve.lock").touch()
    (tmp_path / "secret").write_text("half a sec")
    (tmp_path / ".serve.toml.tmp").touch()

    record = await _record(tmp_path)

    assert len(record.members) == 3
    assert len((tmp_path / "secret").read_text()) > 32


async def test_a_second_serve_is_refused_at_once(tmp_path: Path) -> None:
    async with _opened(tmp_path / "data"):
        with pytest.raises(BadRequest, match="another `holdfast serve` is running"):
            await _record(tmp_path / "data")


async def test_a_new_run_waits_for_the_last_process_of_the_old_one(tmp_path: Path) -> None:
    async with _opened(tmp_path / "data") as directory:
        orphan = os.dup(directory.children_lock)
    with capture_logs() as lines:
        starting = asyncio.create_task(_record(tmp_path / "data"))
        while not lines:
            await asyncio.sleep(0.01)
        assert not starting.done()

        os.close(orphan)
        record = await starting

    assert len(record.members) == 3
    assert lines[0]["event"] == "waiting for processes of an earlier run to end"


async def test_a_node_moves_when_another_process_took_its_port(tmp_path: Path) -> None:
    before = await _record(tmp_path / "data")
    taken = before.members[1].port
    with socket.socket() as other, capture_logs() as lines:
        other.bind(("127.0.0.1", taken))
        other.listen()
        after = await _record(tmp_path / "data")

    assert after.members[1].port != taken
    assert after.members[0] == before.members[0]
    assert dataclasses.replace(after, members=()) == dataclasses.replace(before, members=())
    assert [line["port"] for line in lines] == [taken]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[serve", "is not TOML"),
        ("", "serve: must be a table"),
        ("[serve]\nversion = 1", "serve.seed: is missing"),
    ],
)
async def test_a_record_that_cannot_be_read_is_not_replaced(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "serve.toml").write_text(text)

    with pytest.raises(BadRequest, match=words):
        await _record(tmp_path)

    assert (tmp_path / "serve.toml").read_text() == text


async def test_the_record_of_a_later_release_is_refused(tmp_path: Path) -> None:
    await _record(tmp_path)
    record = (tmp_path / "serve.toml").read_text()
    (tmp_path / "serve.toml").write_text(record.replace("version = 1", "version = 2"))

    with pytest.raises(BadRequest, match=r"serve\.version: 2 is not 1"):
        await _record(tmp_path)
