"""The data directory of `holdfast serve`: made once, kept across runs, used by one at a time.

What is in it:
    serve.toml     what was decided when it was made; written last, so a directory without it was
                   never in use
    secret         the cluster secret
    serve.lock     held by the running `serve`
    children.lock  held by every process that it started, so that a new run waits for the last ones
    gateway.toml, node-1.toml ...   written anew by each run
    node-1/ ...    the nodes' data
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import structlog

from gateway.config import GatewayConfig
from holdfast.config_file import parse_toml, render
from holdfast.config_table import read_table
from holdfast.local_fault import local_faults
from holdfast.log_lines import LogConfig
from node.config import NodeConfig, StoreKind
from ring.errors import BadRequest, LocalFault
from ring.layout import Member
from ring.life import NodeId
from ring.limits import MEMBERS_MAX
from ring.placement import first_layout
from ring.seams import Randomness

VERSION: Final = 1
LAST_RUN_S: Final = 40.0
HOST: Final = "127.0.0.1"

# Below the range from which Linux takes ports for outgoing connections, so that none is in the way
# at the next start.
_PORT_FIRST: Final = 10_000
_PORT_COUNT: Final = 22_000
_PORT_TRIES: Final = 1_000
_LOCK_POLL_S: Final = 0.1
_SECRET_OCTETS: Final = 32
_SEED_OCTETS: Final = 16
_MADE_BEFORE_RECORD: Final = frozenset(
    ("serve.lock", "children.lock", "secret", ".serve.toml.tmp", ".secret.tmp", "lost+found")
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for; None for whatever the directory has, or the default."""

    nodes: int | None = None
    replicas: int | None = None
    store: StoreKind | None = None


@dataclass(frozen=True, slots=True)
class ServeMember:
    """One node: its id and its two ports on 127.0.0.1."""

    id: NodeId
    port: int
    health_port: int


@dataclass(frozen=True, slots=True)
class ServeRecord:
    """The content of serve.toml."""

    version: int
    seed: str
    replicas: int
    store: StoreKind
    members: tuple[ServeMember, ...]


class ServeDirectory:
    """An open data directory.  `path` is as the user gave it."""

    def __init__(self, path: str, record: ServeRecord, children_lock: int) -> None:
        self.path = path
        self.record = record
        self.children_lock = children_lock

    def file(self, name: str) -> str:
        """The path of something in it."""
        return os.path.join(self.path, name)

    def write_configurations(self, gateway: GatewayConfig, log_config: LogConfig) -> None:
        """Write the files that the processes are started with; raises LocalFault."""
        cluster = {
            "seed": self.record.seed,
            "replicas": self.record.replicas,
            "secret_file": "secret",
            "members": [
                {"id": member.id, "address": f"{HOST}:{member.port}"}
                for member in self.record.members
            ],
        }
        tables = {"cluster": cluster, "log": asdict(log_config)}
        self._write_config("gateway", {"gateway": asdict(gateway), **tables})
        for member in self.record.members:
            node = NodeConfig(
                id=member.id,
                data_dir=member.id,
                listen=f"{HOST}:{member.port}",
                health_listen=f"{HOST}:{member.health_port}",
                store=self.record.store,
                accept_blank=True,
            )
            self._write_config(member.id, {"node": asdict(node), **tables})

    def _write_config(self, name: str, tables: dict[str, dict[str, object]]) -> None:
        head = "# Written by `holdfast serve` whenever it starts; changes here are lost.\n\n"
        _write(self.path, f"{name}.toml", head + render(tables))


@contextlib.asynccontextmanager
async def opened(
    path: str, wishes: Wishes, randomness: Randomness
) -> AsyncIterator[ServeDirectory]:
    """Lock a data directory, and make what is in it at the first run.

    Raises BadRequest, in words, for a directory that is somebody else's, in use, or was made with
    other choices; LocalFault.
    """
    with local_faults("make", path):
        os.makedirs(path, mode=0o700, exist_ok=True)
    _refuse_foreign(path)
    with _file(path, "serve.lock") as lock, _file(path, "children.lock") as children_lock:
        if not _locked(lock):
            raise BadRequest(f"another `holdfast serve` is running on {path}")
        await _wait_for_last_run(path, children_lock)
        record = _read_record(path)
        if record is None:
            record = _new_record(wishes, randomness)
            _write(path, "secret", randomness.octets(_SECRET_OCTETS).hex() + "\n")
        else:
            _refuse_changes(path, record, wishes)
            record = _with_free_ports(record, randomness)
        _write_record(path, record)
        yield ServeDirectory(path, record, children_lock)


def _refuse_foreign(path: str) -> None:
    with local_faults("list", path):
        names = os.listdir(path)
    if "serve.toml" not in names:
        foreign = sorted(name for name in names if name not in _MADE_BEFORE_RECORD)
        if foreign:
            raise BadRequest(
                f"{path} was not made by `holdfast serve` and is not empty (it has"
                f" {foreign[0]!r}); name an empty or a new directory with --data-dir"
            )


@contextlib.contextmanager
def _file(path: str, name: str) -> Iterator[int]:
    with local_faults(f"open {name} in", path):
        descriptor = os.open(os.path.join(path, name), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _wait_for_last_run(path: str, descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    give_up_s = loop.time() + LAST_RUN_S
    waiting = False
    while not _locked(descriptor):
        if loop.time() > give_up_s:
            raise BadRequest(f"processes of an earlier run still use {path}; stop them first")
        if not waiting:
            log.info("waiting for processes of an earlier run to end", data_dir=path)
            waiting = True
        await asyncio.sleep(_LOCK_POLL_S)


def _read_record(path: str) -> ServeRecord | None:
    place = os.path.join(path, "serve.toml")
    if not os.path.lexists(place):
        return None
    tables = parse_toml(place)
    problems: list[str] = []
    record = read_table(ServeRecord, tables.get("serve"), "serve", problems)
    if record is not None and record.version != VERSION:
        problems.append(f"serve.version: {record.version} is not {VERSION}, the one that is known")
    if problems or record is None:
        raise BadRequest("\n  ".join([f"{place} cannot be used:", *problems]))
    return record


def _write_record(path: str, record: ServeRecord) -> None:
    table = asdict(record)
    table["members"] = list(table["members"])
    head = "# Made by `holdfast serve` for this directory; do not edit.\n\n"
    _write(path, "serve.toml", head + render({"serve": table}))


def _new_record(wishes: Wishes, randomness: Randomness) -> ServeRecord:
    nodes = 3 if wishes.nodes is None else wishes.nodes
    replicas = 3 if wishes.replicas is None else wishes.replicas
    if not 1 <= nodes <= MEMBERS_MAX:
        raise BadRequest(f"--nodes must be 1 to {MEMBERS_MAX}, not {nodes}")
    if replicas > nodes:
        raise BadRequest(
            f"{replicas} copies of each blob need at least {replicas} nodes, not {nodes};"
            f" say --nodes {replicas} or --replicas {nodes}"
        )
    ids = [NodeId(f"node-{number}") for number in range(1, nodes + 1)]
    first_layout([Member(id_, f"{HOST}:{at}") for at, id_ in enumerate(ids, 1)], replicas, "check")
    ports = _free_ports(2 * nodes, (), randomness)
    members = tuple(
        ServeMember(id_, port, health_port)
        for id_, port, health_port in zip(ids, ports[:nodes], ports[nodes:], strict=True)
    )
    seed = randomness.octets(_SEED_OCTETS).hex()
    return ServeRecord(VERSION, seed, replicas, wishes.store or StoreKind.PAGES, members)


def _refuse_changes(path: str, record: ServeRecord, wishes: Wishes) -> None:
    for name, kept, wished in (
        ("nodes", len(record.members), wishes.nodes),
        ("replicas", record.replicas, wishes.replicas),
        ("store", record.store.value, wishes.store and wishes.store.value),
    ):
        if wished is not None and wished != kept:
            raise BadRequest(
                f"{path} was made with --{name} {kept}, which this release cannot change to"
                f" {wished}; leave --{name} away, or name another directory with --data-dir"
            )


def _with_free_ports(record: ServeRecord, randomness: Randomness) -> ServeRecord:
    """The record, with other ports where somebody took one; addresses are no part of a cluster."""
    used = [port for member in record.members for port in (member.port, member.health_port)]
    moved = {port: 0 for port in used if not _is_free(port)}
    for port, new in zip(moved, _free_ports(len(moved), used, randomness), strict=True):
        log.warning("another process took a node's port; moving", port=port, new_port=new)
        moved[port] = new
    members = tuple(
        replace(
            member,
            port=moved.get(member.port, member.port),
            health_port=moved.get(member.health_port, member.health_port),
        )
        for member in record.members
    )
    return replace(record, members=members)


def _free_ports(count: int, avoided: Sequence[int], randomness: Randomness) -> list[int]:
    found: list[int] = []
    for _ in range(_PORT_TRIES + count):
        if len(found) == count:
            return found
        port = _PORT_FIRST + int.from_bytes(randomness.octets(4), "big") % _PORT_COUNT
        if port not in found and port not in avoided and _is_free(port):
            found.append(port)
    raise LocalFault(f"no {count} free ports were found on {HOST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _write(path: str, name: str, text: str) -> None:
    """Replace a file durably; nobody else may read it."""
    temporary = os.path.join(path, f".{name}.tmp")
    with local_faults(f"write {name} in", path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.rename(temporary, os.path.join(path, name))
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
