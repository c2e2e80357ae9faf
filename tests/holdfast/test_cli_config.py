"""Configuration files: what is read, what is refused, and in which words."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from pathlib import Path

import pytest

from gateway.config import GatewayConfig
from holdfast.config_file import load_gateway, load_node, render
from holdfast.log_lines import LogFormat
from node.config import NodeConfig, StoreKind
from ring.address import Address
from ring.errors import BadRequest, HoldfastError, LocalFault

CLUSTER = """
[cluster]
seed = "beans"
secret_file = "secret"

[[cluster.members]]
id = "node-1"
address = "10.0.0.1:7071"
zone = "a"

[[cluster.members]]
id = "node-2"
address = "10.0.0.2:7071"
zone = "b"
capacity = 2

[[cluster.members]]
id = "node-3"
address = "[fe80::1]:7071"
"""
DEPLOY = Path(__file__).parent.parent.parent / "deploy"
SECRET = "sixteen bytes or more\n"
NODE = """
[node]
id = "node-2"
data_dir = "data"
drain_s = 3
"""


def _write(folder: Path, text: str, secret: str = SECRET) -> str:
    (folder / "secret").write_text(secret)
    (folder / "secret").chmod(0o600)
    (folder / "file.toml").write_text(text)
    return str(folder / "file.toml")


def test_a_node_is_told_everything_by_its_file(tmp_path: Path) -> None:
    loaded = load_node(_write(tmp_path, CLUSTER + NODE + '[log]\nformat = "json"\n'), {})

    assert loaded.config == NodeConfig(
        id=loaded.config.id, data_dir=str(tmp_path / "data"), drain_s=3.0
    )
    assert loaded.config.id == "node-2"
    assert loaded.layout.nodes == ("node-1", "node-2", "node-3")
    assert loaded.layout.replicas == 3
    assert loaded.secret == b"sixteen bytes or more"
    assert loaded.log.format is LogFormat.JSON


def test_a_gateway_of_the_same_cluster_has_the_same_cluster_id(tmp_path: Path) -> None:
    node = load_node(_write(tmp_path, CLUSTER + NODE), {})
    gateway = load_gateway(_write(tmp_path, CLUSTER), {})

    assert gateway.layout == node.layout
    assert gateway.config == GatewayConfig()


def test_the_environment_overrides_the_process_and_nothing_else(tmp_path: Path) -> None:
    path = _write(tmp_path, CLUSTER + NODE)
    environ = {
        "HOLDFAST_NODE_ID": "node-3",
        "HOLDFAST_NODE_STORE": "memory",
        "HOLDFAST_NODE_ACCEPT_BLANK": "true",
        "HOLDFAST_NODE_DRAIN_S": "0.5",
        "HOLDFAST_GATEWAY": "http://elsewhere",
        "PATH": "/bin",
    }

    config = load_node(path, environ).config

    assert (config.id, config.store, config.drain_s) == ("node-3", StoreKind.MEMORY, 0.5)
    assert config.accept_blank is True


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        """
        [cluster]
        sed = "beans"
        replicas = "three"
        secret_file = "secret"
        members = [{id = "node 1", address = "nowhere"}, {id = "node-2"}]
        [node]
        id = 7
        listen = "x"
        data_dir = "data"
        store = "floppy"
        accept_blank = 1
        [logs]
        """,
    )

    with pytest.raises(BadRequest) as caught:
        load_node(path, {})

    assert caught.value.detail.splitlines() == [
        f"{path} cannot be used:",
        "  [logs]: unknown table; a node's file has [cluster], [node] and [log]",
        "  cluster.sed: unknown key; did you mean seed?",
        "  cluster.seed: is missing",
        "  cluster.members[1].id 'node 1': node id 'node 1' is not [a-z0-9][a-z0-9.-]{0,62}",
        "  cluster.members[2].address: is missing",
        "  cluster.replicas: must be a whole number, not a text ('three')",
        "  node.id: must be a text, not a whole number (7)",
        "  node.store: must be one of files, memory, pages, not a text ('floppy')",
        "  node.accept_blank: must be true or false, not a whole number (1)",
    ]


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ('id = "node-9"\ndata_dir = "d"', "'node-9' is no member; members are node-1, node-2"),
        ('id = "node-1"\ndata_dir = ""', "node.data_dir: must name a directory"),
        ('id = "node-1"\ndata_dir = "d"\nlisten = "7071"', "is not host:port"),
        ('id = "node-1"\ndata_dir = "d"\nhealth_listen = "a:b"', "node.health_listen: 'a:b' is"),
        ('id = "node-1"\ndata_dir = "d"\ndrain_s = -1', "no number of seconds"),
        ('id = "node-1"\ndata_dir = "d"\ndrain_s = nan', "no number of seconds"),
        ('id = "node-1"\ndata_dir = "d"\nabsent_s = 1', "absent_s: 1.0 is not at least 10"),
        ('id = "node-1"\ndata_dir = "d"\nscrub_period_s = nan', "is not at least 60"),
        ('id = "node-1"\ndata_dir = "d"\nrepair_bytes_per_s = 0', "is not at least 1"),
    ],
)
def test_a_setting_that_cannot_be_is_explained(tmp_path: Path, own: str, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        load_node(_write(tmp_path, f"{CLUSTER}\n[node]\n{own}\n"), {})

    assert words in caught.value.detail


def test_a_cluster_that_cannot_be_is_explained(tmp_path: Path) -> None:
    text = CLUSTER.replace('seed = "beans"', 'seed = ""\nreplicas = 9')

    with pytest.raises(BadRequest) as caught:
        load_gateway(_write(tmp_path, text), {})

    assert "cluster.seed: must not be empty" in caught.value.detail
    assert "cluster.members: replicas must be 1 to 7, not 9" in caught.value.detail


def test_a_gateway_that_everybody_could_reach_must_be_wanted(tmp_path: Path) -> None:
    path = _write(tmp_path, CLUSTER + '[gateway]\nlisten = "0.0.0.0:7070"\n')

    with pytest.raises(BadRequest, match="insecure = true"):
        load_gateway(path, {})
    allowed = load_gateway(path, {"HOLDFAST_GATEWAY_INSECURE": "true"})

    assert allowed.config.address == Address("0.0.0.0", 7070)


def test_a_variable_that_names_no_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"HOLDFAST_NODE_LISTN: no such setting; known are"):
        load_node(_write(tmp_path, CLUSTER + NODE), {"HOLDFAST_NODE_LISTN": "x"})
    with pytest.raises(BadRequest, match=r"node\.drain_s: must be a number, not a text"):
        load_node(_write(tmp_path, CLUSTER + NODE), {"HOLDFAST_NODE_DRAIN_S": "soon"})


def test_a_file_that_is_no_toml_or_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="is not TOML"):
        load_node(_write(tmp_path, "[node"), {})
    with pytest.raises(LocalFault, match=r"cannot read .*No such file"):
        load_node(str(tmp_path / "absent.toml"), {})
    (tmp_path / "file.toml").write_bytes(b"\xff")
    with pytest.raises(BadRequest, match="is not TOML"):
        load_node(str(tmp_path / "file.toml"), {})


@pytest.mark.parametrize(
    ("secret", "mode", "words"),
    [
        ("too short\n", 0o600, "a secret has 16 to 4096 bytes, this one 9"),
        ("x" * 5000, 0o600, "this one"),
        ("sixteen bytes or more", 0o604, "everybody on this machine may read the secret"),
    ],
)
def test_a_secret_that_is_none_is_refused(
    tmp_path: Path, secret: str, mode: int, words: str
) -> None:
    path = _write(tmp_path, CLUSTER + NODE, secret)
    (tmp_path / "secret").chmod(mode)

    with pytest.raises(BadRequest, match=words):
        load_node(path, {})


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path, CLUSTER + NODE)
    os.unlink(tmp_path / "secret")

    with pytest.raises(HoldfastError, match=r"cannot read the cluster secret .*secret"):
        load_node(path, {})


def test_what_serve_writes_is_read_back(tmp_path: Path) -> None:
    node = NodeConfig(id="node-1", data_dir='d"\\ä', listen="127.0.0.1:1", accept_blank=True)  # type: ignore[arg-type]  # a text will do here
    cluster = {
        "seed": "x",
        "secret_file": "secret",
        "replicas": 1,
        "members": [{"id": "node-1", "address": "127.0.0.1:1"}],
    }

    text = render({"node": dataclasses.asdict(node), "cluster": cluster})
    loaded = load_node(_write(tmp_path, text), {})

    assert loaded.config == dataclasses.replace(node, data_dir=str(tmp_path / 'd"\\ä'))


@pytest.mark.parametrize("text", ["", ":1", "a", "a:", "a:b", "a:70000", "[::1:1", "::1:1", "a :1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="host:port"):
        Address.parse(text)


def test_loopback_is_told_from_the_world() -> None:
    loopback = ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"]
    world = ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1"]

    assert all(Address.parse(text).is_loopback for text in loopback)
    assert not any(Address.parse(text).is_loopback for text in world)
    assert [str(Address.parse(text)) for text in loopback + world] == loopback + world


@pytest.mark.parametrize("name", ["node", "gateway"])
def test_the_examples_that_are_shipped_can_be_used(tmp_path: Path, name: str) -> None:
    text = (DEPLOY / f"{name}.toml").read_text()
    assert 'secret_file = "/run/secrets/cluster_secret"' in text
    path = _write(tmp_path, text.replace("/run/secrets/cluster_secret", "secret"))

    loaded = load_node(path, {}) if name == "node" else load_gateway(path, {})

    assert loaded.layout.nodes == ("node-1", "node-2", "node-3")


@pytest.mark.parametrize(("name", "kind"), [("node", NodeConfig), ("gateway", GatewayConfig)])
def test_every_setting_is_in_an_example_and_in_its_docstring(
    name: str, kind: type[NodeConfig | GatewayConfig]
) -> None:
    shown = tomllib.loads((DEPLOY / f"{name}.toml").read_text())[name]

    for field in dataclasses.fields(kind):
        assert field.name in shown
        assert f"{field.name}:" in str(kind.__doc__)
