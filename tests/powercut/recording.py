"""A disk, a file system on it, a process that writes to a store there: all that it did, in order.

The process runs several sessions; all but the last one end with a kill.  Meanwhile the kernel is
told to write back what it caches of random files, as it may do at any time.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Final

from msgspec import Struct

from tests.powercut import kernel
from tests.powercut.history import History, State, Wrong, lines_of
from tests.powercut.place import IMAGE_BYTES, MKFS
from tests.powercut.subjects import Subject
from tests.powercut.write_log import make_counter

SESSIONS: Final = 3
NODE: Final = "node"  # the store's directory on the disk
SESSION_S_MAX: Final = 120.0
_DEVICE_S_MAX: Final = 20.0
_WRITE_BACK_S: Final = 0.003
_WORDS_SHOWN: Final = 1500
_LINE_BYTES_BEFORE_KILL: Final = (6_000, 40_000)

Allowed = dict[int, frozenset[State]]


class Recording(Struct, frozen=True):
    """What is in a directory after a recording: base (the disk before), log, lines.

    before: what each item may have been at the beginning.
    """

    directory: str
    before: Allowed

    @property
    def base(self) -> str:
        return f"{self.directory}/base"

    @property
    def log(self) -> str:
        return f"{self.directory}/log"

    @property
    def lines(self) -> str:
        return f"{self.directory}/lines"

    def history(self) -> History:
        """Everything that was said; raises Wrong when a later session found what must not be."""
        history = History(self.before)
        history.add(lines_of(self.lines))
        return history


def make_disk(path: str, size_bytes: int = IMAGE_BYTES) -> None:
    """An empty ext4 file system in a file."""
    with open(path, "xb") as file:
        file.truncate(size_bytes)
    subprocess.run([*MKFS, path], check=True)


def record(
    directory: Path, subject: Subject, seed: int, base: Path | None, before: Allowed
) -> Recording:
    """Record the sessions; `base` is the disk to begin with (it is moved), None an empty one.

    Raises Wrong when a session fails.
    """
    directory.mkdir()
    recording = Recording(str(directory), before)
    if base is None:
        make_disk(recording.base)
    else:
        shutil.move(base, recording.base)
    rng = Random(seed)
    mount_point = directory / "mount"
    mount_point.mkdir()
    with block_device(directory) as device, kernel.mounted(device, str(mount_point)):
        root = str(mount_point / NODE)
        Path(root).mkdir(exist_ok=True)
        with written_back(root, Random(seed)):
            for number in range(SESSIONS):
                is_last = number == SESSIONS - 1
                run_session(
                    subject, root, str(directory), rng, kill=not is_last, counted=True
                )
    return recording


def run_session(
    subject: Subject, root: str, directory: str, rng: Random, *, kill: bool, counted: bool
) -> None:
    """One process from its start to its end; raises Wrong when it ends by itself with an error.

    directory: where its lines go, and what else it says; counted: a log's counter is there too.
    """
    module, *first = subject.load
    lines = f"{directory}/lines"
    arguments = [*first, root, lines, str(rng.randrange(1 << 30)), str(subject.operations)]
    if counted:
        arguments.append(f"{directory}/count")
    with open(f"{directory}/words", "wb") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], stdout=words, stderr=words
        )
        try:
            if kill:
                said = _size(lines) + rng.randrange(*_LINE_BYTES_BEFORE_KILL)
                _wait_until(lambda: _size(lines) > said, process)
                process.kill()
            status = process.wait(SESSION_S_MAX)
        finally:
            process.kill()
            process.wait()
    if status not in {0, -9} or (status and not kill):
        said_last = Path(f"{directory}/words").read_text()[-_WORDS_SHOWN:]
        raise Wrong(f"the process that writes ended with status {status}:\n{said_last}")


@contextmanager
def block_device(directory: Path) -> Iterator[str]:
    """A loop device over a recorded copy of the directory's `base`; the log is complete after."""
    target, counter = directory / "disk", directory / "count"
    target.touch()
    make_counter(str(counter))
    command = (directory / "base", target, directory / "log", counter)
    with ExitStack() as stack:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.powercut.block_device", *map(str, command)],
            stdout=subprocess.PIPE,
            start_new_session=True,  # it must outlive a Ctrl-C until nothing stands on it
        )
        stack.callback(_ended, process)
        assert process.stdout is not None
        with process.stdout:
            if process.stdout.readline() != b"ready\n":
                raise Wrong("the recorded block device did not start")
        stack.callback(kernel.unmount, str(target))
        with kernel.looped(str(target), direct=True) as device:
            yield device


@contextmanager
def written_back(root: str, rng: Random) -> Iterator[None]:
    """Write back random files below `root` while the block lasts."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(rng.random() * 2 * _WRITE_BACK_S):
            files = [os.path.join(at, name) for at, _, names in os.walk(root) for name in names]
            if files:
                kernel.write_back(rng.choice(sorted(files)))

    thread = threading.Thread(target=work, name="write-back", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_DEVICE_S_MAX)
    finally:
        process.kill()
        process.wait()


def _size(path: str) -> int:
    with suppress(FileNotFoundError):
        return os.stat(path).st_size
    return 0


def _wait_until(is_so: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not is_so():
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.005)
            return


def save_allowed(path: str, allowed: Allowed) -> None:
    """As JSON."""
    rows = [(item, sorted(states)) for item, states in sorted(allowed.items())]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(rows, file)


def load_allowed(path: str) -> Allowed:
    """What `save_allowed` saved."""
    with open(path, encoding="utf-8") as file:
        return {item: frozenset(map(tuple, states)) for item, states in json.load(file)}
