"""Configuration files of nodes and gateways: read at start, written by `serve`.

A file is TOML with the table `[cluster]`, the same for all, `[node]` or `[gateway]`, and perhaps
`[log]`.  Relative paths count from the file's own directory.  Variables of the environment override
the process's own table: HOLDFAST_NODE_ID=node-2, HOLDFAST_GATEWAY_LISTEN=0.0.0.0:7070.
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from gateway.config import GatewayConfig
from holdfast.cluster_config import ClusterConfig
from holdfast.config_table import overridden, read_table
from holdfast.local_fault import local_faults
from holdfast.log_lines import LogConfig
from node.config import NodeConfig
from ring.errors import BadRequest
from ring.layout import Layout

# Engines mount a container's secrets here, readable by whoever lives in it: the mount is the fence.
MOUNTED_SECRETS: Final = "/run/secrets/"
SECRET_BYTES_MIN: Final = 16
SECRET_BYTES_MAX: Final = 4096
CONFIG_BYTES_MAX: Final = 16 * 1024 * 1024

T = TypeVar("T", NodeConfig, GatewayConfig)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """Everything that a process is built from."""

    config: T
    layout: Layout
    secret: bytes
    log: LogConfig


def load_node(path: str, environ: Mapping[str, str]) -> Loaded[NodeConfig]:
    """Read a node's file; raises BadRequest with all problems in words, or LocalFault."""
    loaded = _load(path, "node", NodeConfig, environ)
    config, layout = loaded.config, loaded.layout
    if layout.member(config.id) is None:
        known = ", ".join(layout.nodes)
        raise BadRequest(f"{path}: node.id: {config.id!r} is no member; members are {known}")
    return replace(loaded, config=replace(config, data_dir=_beside(path, config.data_dir)))


def load_gateway(path: str, environ: Mapping[str, str]) -> Loaded[GatewayConfig]:
    """Read a gateway's file; raises BadRequest with all problems in words, or LocalFault."""
    return _load(path, "gateway", GatewayConfig, environ)


def read_secret(path: str) -> bytes:
    """The cluster secret, without white space around it; raises BadRequest or LocalFault."""
    with local_faults("read the cluster secret", path), open(path, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        secret = file.read(SECRET_BYTES_MAX + 1).strip()
    exposed = stat.S_IWOTH if path.startswith(MOUNTED_SECRETS) else stat.S_IROTH | stat.S_IWOTH
    if mode & exposed:
        raise BadRequest(f"{path}: everybody on this machine may read the secret: chmod 600 it")
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        raise BadRequest(
            f"{path}: a secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes,"
            f" this one {len(secret)}"
        )
    return secret


def render(tables: Mapping[str, Mapping[str, object]]) -> str:
    """TOML with a table for each item; a value is a text, number, truth value or list of tables."""
    lines: list[str] = []
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        nested = {key: value for key, value in table.items() if isinstance(value, list)}
        lines += [f"{key} = {_scalar(table[key])}" for key in table if key not in nested]
        for key, rows in nested.items():
            for row in rows:
                lines += ["", f"[[{name}.{key}]]"]
                lines += [f"{column} = {_scalar(value)}" for column, value in row.items()]
    return "\n".join(lines[1:]) + "\n"


def _load(path: str, name: str, kind: type[T], environ: Mapping[str, str]) -> Loaded[T]:
    tables = parse_toml(path)
    problems: list[str] = [
        f"[{key}]: unknown table; a {name}'s file has [cluster], [{name}] and [log]"
        for key in tables
        if key not in {"cluster", "log", name}
    ]
    log = read_table(LogConfig, tables.get("log", {}), "log", problems)
    cluster = read_table(ClusterConfig, tables.get("cluster", {}), "cluster", problems)
    own: object = tables.get(name, {})
    if isinstance(own, dict):
        try:
            own = overridden(kind, own, f"HOLDFAST_{name.upper()}_", environ)
        except BadRequest as error:
            problems.append(error.detail)
    config = read_table(kind, own, name, problems)
    if problems or config is None or cluster is None or log is None:
        raise BadRequest("\n  ".join([f"{path} cannot be used:", *problems]))
    secret = read_secret(_beside(path, cluster.secret_file))
    return Loaded(config, cluster.layout, secret, log)


def parse_toml(path: str) -> dict[str, object]:
    """The tables of a file; raises BadRequest or LocalFault."""
    with local_faults("read", path), open(path, "rb") as file:
        data = file.read(CONFIG_BYTES_MAX)
    try:
        return tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadRequest(f"{path} is not TOML: {error}") from None


def _beside(path: str, other: str) -> str:
    return os.path.join(os.path.dirname(os.path.abspath(path)), other)


def _scalar(value: object) -> str:
    assert isinstance(value, str | int | float), value
    return json.dumps(value, ensure_ascii=False)
