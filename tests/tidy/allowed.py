"""What may touch what: the arrows between packages and the few files behind each seam.

Data only, and the one place to change when a seam gets a new file: an entry says why. A path
pattern is matched with fnmatch (`*` crosses slashes) against the path from the root of the tree.
A name is dotted and covers everything below it: `random` covers `random.random`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PACKAGES: Final = ("ring", "node", "gateway", "holdfast")
FIRST_PARTY: Final = (*PACKAGES, "tests", "bench", "deploy")

# The arrows of docs/ARCHITECTURE.md. `holdfast` starts the others, so it may name all of them;
# nobody may name `holdfast`, and nothing that is installed may name what is not.
MAY_IMPORT: Final = {
    "ring": ("ring",),
    "node": ("ring", "node"),
    "gateway": ("ring", "gateway", "node.client", "node.transport"),
    "holdfast": ("ring", "node", "gateway", "holdfast"),
}

# What a module must not reach by way of others either, whatever the arrows allow each step: the
# half of a node that keeps bytes from a gateway, and the servers from the client library.
KEEPS_BYTES: Final = ("node.*store*", "node.*disk*", "node.posix_*", "node.service", "node.process")
MUST_NOT_REACH: Final = {
    "gateway": KEEPS_BYTES,
    "node.transport": KEEPS_BYTES,
    "node.client": KEEPS_BYTES,
    "holdfast.client": (*KEEPS_BYTES, "gateway", "gateway.*"),
}

# All that `ring` may import from outside. To add a name here, be sure that it does no I/O, reads no
# clock, draws no randomness, starts no thread and logs nothing.
RING_MAY_IMPORT: Final = frozenset(
    """
    __future__ abc array base64 binascii bisect blake3 collections contextlib copy dataclasses enum
    fractions functools hashlib heapq hmac ipaddress itertools math msgpack msgspec operator re
    string
    struct types typing uhashring urllib.parse zlib
    """.split()
)

FILE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 60  # from `def` to the last line, without the docstring

# Names that say nothing about what is inside; such a module grows for ever.
BANNED_MODULES: Final = frozenset(
    "util utils common helper helpers misc shared stuff tools lib core base".split()
)

# Spelt in two parts, so that this file does not mention them.
BANNED_WORDS: Final = tuple(a + b for a, b in (("TO", "DO"), ("FIX", "ME"), ("XX", "X")))
BANNED_MENTIONS: Final = tuple(
    a + b for a, b in (("../", "shared"), ("far", "m-"), ("/wo", "rk/"))
)


@dataclass(frozen=True, slots=True)
class Ban:
    """These names may be used in these files of the packages and in no others."""

    names: tuple[str, ...]
    only_in: tuple[str, ...]
    reason: str


DISK = "node/posix_*.py"
THREADS = "node/posix_threads.py"
PAGES = "node/pages/posix_*.py"  # the page store is synchronous and has a disk of its own
HOST = "node/host.py"
COMMAND = "holdfast/*"

OS_FILE_CALLS: Final = """
    access chmod chown close copy_file_range dup fchmod fdatasync fsync fstat ftruncate getxattr
    link listdir lstat makedirs mkdir mkfifo mkstemp open pread preadv preadv2 posix_fadvise
    posix_fallocate pwrite pwritev read readlink readv remove removedirs rename renames replace
    rmdir scandir sendfile setxattr stat statvfs symlink sync truncate unlink utime walk write
    writev path.exists path.getctime path.getmtime path.getsize path.isdir path.isfile path.islink
    path.ismount path.lexists path.realpath path.samefile
""".split()

BANS: Final = (
    Ban(
        names=(
            "time",
            "datetime.datetime.now",
            "datetime.datetime.today",
            "datetime.datetime.utcnow",
            "datetime.date.today",
        ),
        only_in=(HOST,),
        reason="time is an argument: Clock for the wall, loop.time() for deadlines",
    ),
    Ban(
        names=("random", "secrets", "uuid", "os.urandom", "os.getrandom"),
        only_in=(HOST,),
        reason="randomness is an argument: the simulator draws it from the seed",
    ),
    Ban(
        names=(
            "threading",
            "_thread",
            "concurrent.futures",
            "multiprocessing",
            "asyncio.to_thread",
            "*.run_in_executor",
        ),
        only_in=(THREADS, PAGES),
        reason="threads end determinism; only the real disk has them",
    ),
    Ban(
        names=(
            "builtins.open",
            "io.open",
            "fcntl",
            *(f"os.{name}" for name in OS_FILE_CALLS),
        ),
        only_in=(DISK, PAGES, COMMAND),
        reason="disk is an argument: the simulator's loses unsynced data",
    ),
    Ban(
        names=("pathlib.Path", "shutil", "tempfile", "glob"),
        only_in=(COMMAND,),
        reason="see the disk; a pure path is pathlib.PurePath or a str",
    ),
    Ban(
        names=("mmap",),
        only_in=("node/leased_memory.py", "node/payload_slots.py", "node/posix_guard.py", PAGES),
        reason="a mapped file does I/O where nobody waits; anonymous memory, aligned, is memory",
    ),
    Ban(
        names=("lmdb",),
        only_in=("node/index/lmdb_index.py",),
        reason="likewise; the index is an argument, and the simulator's is a file of its disk",
    ),
    Ban(
        names=(
            "subprocess",
            "asyncio.create_subprocess_exec",
            "asyncio.create_subprocess_shell",
            "os.fork",
            "os.execv",
            "os.execvp",
            "os.execve",
            "os.posix_spawn",
            "os.system",
        ),
        only_in=(COMMAND,),
        reason="only the command starts processes",
    ),
    Ban(
        names=("asyncio.wait", "asyncio.as_completed"),
        only_in=(),
        reason="both iterate over sets by address; collect through a queue or futures",
    ),
    Ban(
        names=("importlib", "builtins.__import__", "builtins.exec", "builtins.eval"),
        only_in=(),
        reason="what runs must be visible to whoever reads the imports",
    ),
)
