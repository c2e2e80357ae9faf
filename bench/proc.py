"""What Linux says about processes: kinship, age, CPU time, memory, listening ports.

Only processes that the harness started, and their descendants, are looked at. A process that is
gone while it is looked at is an ordinary answer (None or an empty list), never an error.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_TCP_LISTEN: Final = "0A"


@dataclass(frozen=True, slots=True)
class Stat:
    """Parts of /proc/PID/stat (see proc(5)); start_s is seconds since boot, steps of a tick."""

    pid: int
    parent: int
    session: int
    state: str
    cpu_s: float
    start_s: float


def parse_stat(text: str) -> Stat:
    """Read one line of /proc/PID/stat; the command in it may hold blanks and brackets."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return Stat(
        pid=int(head.split(" ", 1)[0]),
        parent=int(fields[1]),
        session=int(fields[3]),
        state=fields[0],
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS_PER_S,
        start_s=int(fields[19]) / _TICKS_PER_S,
    )


def parse_rss_anon_bytes(text: str) -> int:
    """RssAnon of a /proc/PID/status text in bytes; 0 for a process without memory (a zombie)."""
    for line in text.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def parse_listening(text: str) -> dict[str, int]:
    """Ports of the listening sockets of a /proc/net/tcp text, by the socket's inode."""
    ports = {}
    for line in text.splitlines()[1:]:
        fields = line.split()
        if fields[3] == _TCP_LISTEN:
            ports[fields[9]] = int(fields[1].rpartition(":")[2], 16)
    return ports


def stat(pid: int) -> Stat | None:
    """The process's stat, or None when there is no such process or only its zombie."""
    try:
        found = parse_stat((_PROC / str(pid) / "stat").read_text(errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if found.state in "ZX" else found


def rss_anon_bytes(pid: int) -> int:
    """Anonymous resident memory in bytes: heap and stacks, no files; 0 when it is gone."""
    try:
        return parse_rss_anon_bytes((_PROC / str(pid) / "status").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return 0


def arguments(pid: int) -> list[str]:
    """The command line, empty when the process is gone."""
    try:
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [part.decode(errors="replace") for part in raw.split(b"\0") if part]


def descendants(pid: int) -> list[Stat]:
    """All living children of `pid` and theirs, parents before children, then by pid."""
    by_parent: dict[int, list[Stat]] = {}
    for member in _everybody():
        by_parent.setdefault(member.parent, []).append(member)
    family: list[Stat] = []
    generation = by_parent.get(pid, [])
    while generation:
        family.extend(generation)
        generation = [child for member in generation for child in by_parent.get(member.pid, [])]
    return family


def session(leader: int) -> list[Stat]:
    """All living processes of the session that `leader` began, orphans included, by pid."""
    return [member for member in _everybody() if member.session == leader]


def _everybody() -> list[Stat]:
    pids = sorted(int(name) for name in os.listdir(_PROC) if name.isdigit())
    return [found for pid in pids if (found := stat(pid)) is not None]


def listening_ports(pid: int) -> list[int]:
    """TCP ports (IPv4) on which the process itself listens, ascending."""
    folder = _PROC / str(pid)
    try:
        links = [os.readlink(folder / "fd" / name) for name in os.listdir(folder / "fd")]
        ports = parse_listening((folder / "net" / "tcp").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return []
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    return sorted(port for inode, port in ports.items() if inode in inodes)


def boot_clock_s() -> float:
    """Seconds since boot, the clock of `Stat.start_s`."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def file_system(path: Path) -> str:
    """Type of the file system that holds `path`, by the longest mount point above it."""
    best, kind = "", "unknown"
    target = str(path.resolve())
    for line in (_PROC / "mounts").read_text().splitlines():
        _, mount, this_kind, *_ = line.split()
        inside = target == mount or target.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, this_kind
    return kind


def memory_available_bytes() -> int:
    """What the machine can give to new processes without swapping."""
    for line in (_PROC / "meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("every supported Linux has MemAvailable")
