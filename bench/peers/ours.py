"""Holdfast's column, and the column of the bare handler, which is a limit and no peer."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench import blobs
from bench.bare import running_bare
from bench.cluster import running_cluster
from bench.deadline import Deadline
from bench.payload import Payload
from bench.peers.door import Door, Durability, Part, System
from bench.plan import REPLICAS, Plan
from holdfast import __version__

_ROOT: Final = Path(__file__).parent.parent.parent
_PUT: Final = "/v1/blobs?algo=blake3"


def holdfast(plan: Plan) -> System:
    """The cluster of `holdfast serve`, with the arguments of the plan."""
    arguments = " ".join(plan.serve_arguments) or "its defaults"
    return System(
        key="holdfast",
        name="Holdfast",
        version=" ".join(part for part in (__version__, _commit()) if part),
        part=Part.OURS,
        durability=Durability(
            copies=str(REPLICAS),
            synced="2, with the name",
            words="a PUT is answered when 2 of 3 copies are synced, each under its digest; the "
            "third follows",
        ),
        door=f"`holdfast serve` with {arguments}; POST of small bodies, PUT of large ones under "
        "their BLAKE3",
        running=lambda deadline: _cluster(plan, deadline),
    )


def bare_handler(plan: Plan) -> System:
    """An aiohttp server that keeps nothing: what the machine and the load generator allow."""
    return System(
        key="bare",
        name="bare aiohttp",
        version=version("aiohttp"),
        part=Part.LIMIT,
        durability=Durability(copies="0", synced="0", words="nothing is kept"),
        door="the same requests as Holdfast, bodies discarded, answers from memory",
        running=lambda deadline: _bare(plan.folder, deadline),
    )


@contextmanager
def _cluster(plan: Plan, deadline: Deadline) -> Iterator[Door]:
    with running_cluster(plan, deadline) as cluster:
        yield Door(cluster.port, "POST", _PUT, _small_path, _large_paths)


@contextmanager
def _bare(folder: Path, deadline: Deadline) -> Iterator[Door]:
    def large_paths(_name: str, payload: Payload) -> tuple[str, str]:
        return "/v1/blobs/any", f"/stream?bytes={payload.size_bytes}"

    with running_bare(folder, deadline) as bare:
        yield Door(bare.port, "POST", _PUT, _small_path, large_paths)


def _small_path(_name: str, content: bytes) -> str:
    return blobs.path(content)


def _large_paths(_name: str, payload: Payload) -> tuple[str, str]:
    path = f"/v1/blobs/{payload.digest('blake3')}"
    return path, path


def _commit() -> str:
    """The commit that is measured, `+` behind it when files differ; empty outside of git."""
    try:
        told = subprocess.run(
            ["git", "-C", str(_ROOT), "describe", "--always", "--dirty=+"],
            capture_output=True, text=True, timeout=10, check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return told.stdout.strip()
