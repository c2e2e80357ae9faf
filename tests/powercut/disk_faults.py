"""Faults of a real disk under a running page record store.

Each scenario makes a disk of its own, says in a line what happened, and raises Wrong when a promise
was broken.  Faults: the file system turns read-only, is full, is frozen; the device refuses writes
for a while.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from node.local_store import LocalRecordStore
from node.recordlog.log_tail import RETRY_S
from ring.errors import DiskFull, HoldfastError, StorageFault
from ring.record import RecordKind, dead, live
from tests.powercut import kernel
from tests.powercut.history import NOTHING, State, Wrong
from tests.powercut.record_items import (
    ITEMS,
    SETTINGS,
    judge,
    key_of,
    opened_store,
    state_of,
    value_of,
)
from tests.powercut.recording import block_device, make_disk
from tests.powercut.write_log import Counter

FAILURES: Final = 12
FULL_DISK_BYTES: Final = 24 << 20
LEFT_FREE_BYTES: Final = 512 << 10
RECOVERS_S: Final = 20.0
SEGMENTS_MAX: Final = 150
# A reserve that the deletes of a full disk fit into: a block of 4 KiB each.
ROOMY: Final = replace(SETTINGS, log=replace(SETTINGS.log, reserve_bytes=2 * ITEMS * 4096))
_FIRST: Final = range(ITEMS // 2)
_LATER: Final = range(ITEMS // 2, ITEMS)
_FROZEN_S: Final = 2.0

Allowed = dict[int, frozenset[State]]
Scenario = Callable[[Path], str]


class Keeper:
    """Puts and deletes, and remembers what was promised.

    refused: how often the store said no, by the name of the error.
    """

    def __init__(self, store: LocalRecordStore, allowed: Allowed) -> None:
        self.refused: dict[str, int] = {}
        self.acked = 0
        self.allowed = allowed
        self._store = store

    async def put(self, item: int, generation: int = 1) -> bool:
        """Whether it was acknowledged; raises Wrong for a refusal that is not about the disk."""
        value, after = value_of(item), (live(generation), 1, 0)
        put = self._store.put_root(
            key_of(item), RecordKind.DATA, len(value), generation, value
        )
        return await self._change(item, after, put)

    async def bury(self, item: int, generation: int) -> bool:
        """Likewise."""
        return await self._change(
            item, (dead(generation), 0, 0), self._store.bury(key_of(item), generation)
        )

    async def put_all(self, items: Iterable[int], generation: int = 1) -> int:
        """How many were acknowledged."""
        outcomes = await asyncio.gather(*(self.put(item, generation) for item in items))
        return sum(outcomes)

    async def puts_again(self, item: int, generation: int) -> bool:
        """Whether a put succeeds before long."""
        for _ in range(int(RECOVERS_S / RETRY_S)):
            if await self.put(item, generation):
                return True
            await asyncio.sleep(RETRY_S)
        return False

    async def _change(self, item: int, after: State, change: Awaitable[object]) -> bool:
        before = self.allowed.get(item, frozenset({NOTHING}))
        self.allowed[item] = before | {after}
        try:
            await change
        except (StorageFault, DiskFull) as error:
            name = type(error).__name__
            self.refused[name] = self.refused.get(name, 0) + 1
            return False
        except HoldfastError as error:
            raise Wrong(f"a fault of the disk is called {error!r}") from error
        self.allowed[item] = frozenset({after})
        self.acked += 1
        return True


def _require(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise Wrong(otherwise)


async def _starts_and_keeps(root: str, allowed: Allowed) -> None:
    """A start on the healthy disk has everything, and puts succeed."""
    async with opened_store("records", root) as opened:
        keeper = Keeper(opened.store, await judge(opened.store, allowed))
        _require(await keeper.put(0, 1000), "no put succeeds after a new start")


def _prepared(place: Path, size_bytes: int | None = None) -> tuple[str, str]:
    place.mkdir()
    image, mount_point = str(place / "base"), str(place / "mount")
    make_disk(image, *(() if size_bytes is None else (size_bytes,)))
    Path(mount_point).mkdir()
    return image, mount_point


def read_only(place: Path) -> str:
    """The file system turns read-only, as ext4 does by itself after an error."""
    image, mount_point = _prepared(place)
    words: list[str] = []
    with kernel.looped(image) as device:
        flags = kernel.MS_NOATIME
        with kernel.mounted(device, mount_point, flags, "errors=remount-ro") as root:
            allowed = asyncio.run(_go_read_only(root, device, words))
        _repair(device)
        with kernel.mounted(device, mount_point) as root:
            asyncio.run(_starts_and_keeps(f"{root}/node", allowed))
    words.append("after umount, e2fsck -p and a new start everything is there")
    return "; ".join(words)


async def _go_read_only(root: str, device: str, words: list[str]) -> Allowed:
    remount = kernel.MS_REMOUNT | kernel.MS_NOATIME
    async with opened_store("records", f"{root}/node") as opened:
        keeper = Keeper(opened.store, {})
        _require(await keeper.put_all(_FIRST) == len(_FIRST), "a healthy disk refused")
        words.append(f"remount,ro: {_said(kernel.mount, device, root, remount | 1)}")
        trigger = f"/sys/fs/ext4/{os.path.basename(device)}/trigger_fs_error"
        Path(trigger).write_text("power cut tests")
        acked = await keeper.put_all(_LATER)
        _require(acked == 0, f"{acked} puts were acknowledged on a read-only disk")
        words.append(f"forced read-only by an ext4 error: puts said {_counts(keeper.refused)}")
        for _ in range(3):  # also after a checkpoint that failed
            await judge(opened.store, keeper.allowed)
            await asyncio.sleep(0.2)
        words.append("reads went on")
        words.append(f"remount,rw: {_said(kernel.mount, device, root, remount)}")
        if _takes_files(root):
            _require(await keeper.puts_again(ITEMS - 1, 2), "it can be written to, puts fail")
            words.append("then puts succeed")
        else:
            words.append("still it takes no files until it is mounted anew")
        return keeper.allowed


def _said(call: Callable[[str, str, str, int], None], *arguments: str | int) -> str:
    device, root, flags = arguments
    try:
        call(str(device), str(root), "ext4", int(flags))
    except OSError as error:
        return f"refused ({error.strerror})"
    return "done"


def _counts(refused: dict[str, int]) -> str:
    return ", ".join(f"{name} {count} times" for name, count in sorted(refused.items()))


def full_disk(place: Path) -> str:
    """A small file system is filled up, deleted from, and goes on."""
    image, mount_point = _prepared(place, FULL_DISK_BYTES)
    with kernel.looped(image) as device:
        with kernel.mounted(device, mount_point) as root:
            words, allowed = asyncio.run(_fill(f"{root}/node", f"{root}/ballast"))
        with kernel.mounted(device, mount_point) as root:
            asyncio.run(_starts_and_keeps(f"{root}/node", allowed))
    return f"{words}; a new start has everything"


async def _fill(root: str, ballast: str) -> tuple[str, Allowed]:
    async with opened_store("records", root, ROOMY) as opened:
        keeper = Keeper(opened.store, {})
        _require(await keeper.put_all(_FIRST) == len(_FIRST), "a disk with room refused")
        await _good_times(root)
        _fill_with_zeros(ballast)
        generation = 1
        while len(keeper.refused) == 0 and generation < 200:
            generation += 1
            for item in range(ITEMS):
                await keeper.put(item, generation)
        _require(set(keeper.refused) == {"DiskFull"}, f"refusals: {keeper.refused}")
        await judge(opened.store, keeper.allowed)
        full_after, buried = keeper.acked, 0
        for item in range(0, ITEMS, 2):
            buried += await keeper.bury(item, generation + 1)
        _require(buried == ITEMS // 2, f"{buried} of {ITEMS // 2} deletes on the full disk")
        recovers = await keeper.puts_again(1, generation + 2)
        _require(recovers, "no put succeeds after half of everything was deleted")
        newest = max(int(name.stem) for name in Path(root).glob("*/*.seg"))
        _require(newest < SEGMENTS_MAX, f"segment {newest} was begun: values move in circles")
        os.unlink(ballast)
        _require(await keeper.puts_again(3, generation + 2), "no put succeeds with room again")
        await judge(opened.store, keeper.allowed)
    return (
        f"full after {full_after} puts ({_counts(keeper.refused)}); {buried} deletes acknowledged "
        "on the full disk; puts went on without more room"
    ), keeper.allowed


async def _good_times(root: str) -> None:
    """Until the reserves are filled."""
    async with asyncio.timeout(RECOVERS_S):
        while not os.path.exists(f"{root}/bulk/reserve"):
            await asyncio.sleep(0.01)


def _fill_with_zeros(path: str) -> None:
    """All but a little of the disk."""
    with open(path, "wb") as file:
        found = os.fstatvfs(file.fileno())
        with suppress(OSError):  # the store takes room too
            file.write(bytes(max(0, found.f_bavail * found.f_frsize - LEFT_FREE_BYTES)))
            os.fsync(file.fileno())


def frozen(place: Path) -> str:
    """The file system holds all writes back for a while."""
    image, mount_point = _prepared(place)
    with (
        kernel.looped(image) as device,
        kernel.mounted(device, mount_point, options="commit=1") as root,
    ):
        words, allowed = asyncio.run(_freeze(root))
        asyncio.run(_starts_and_keeps(f"{root}/node", allowed))
    return words


async def _freeze(root: str) -> tuple[str, Allowed]:
    async with opened_store("records", f"{root}/node") as opened:
        keeper = Keeper(opened.store, {})
        await keeper.put_all(_FIRST)
        # Another process thaws: who stands still in a page fault does not.
        thaw = await asyncio.create_subprocess_exec(
            "sh", "-c", f'sleep {_FROZEN_S} && fsfreeze --unfreeze "$0"', root
        )
        await asyncio.to_thread(kernel.freeze, root, on=True)
        puts = asyncio.create_task(keeper.put_all(_LATER))
        readable = turns = 0
        for item in _FIRST:
            if thaw.returncode is None:
                readable += await _reads(opened.store, item)
        while thaw.returncode is None:
            turns += 1
            await asyncio.sleep(0.01)
        acked = await asyncio.wait_for(puts, RECOVERS_S)
        _require(thaw.returncode == 0, "the file system could not be thawed")
        await judge(opened.store, keeper.allowed)
    stood = "went on" if turns > 10 else "stood still"
    return (
        f"frozen for {_FROZEN_S} s: {readable} of {len(_FIRST)} reads answered, the event loop "
        f"{stood}; thawed: {acked} of {len(_LATER)} puts acknowledged"
    ), keeper.allowed


async def _reads(store: LocalRecordStore, item: int) -> bool:
    try:
        found = await asyncio.wait_for(state_of(store, item), 1.0)
    except TimeoutError:
        return False
    return found == (live(1), 1, 0)


def failing_device(place: Path) -> str:
    """The device answers writes and flushes with EIO for a while, then is well again."""
    _, mount_point = _prepared(place)
    with block_device(place) as device:
        with kernel.mounted(device, mount_point) as root:
            words, allowed = asyncio.run(_fail(f"{root}/node", Counter(str(place / "count"))))
        _repair(device)
        with kernel.mounted(device, mount_point) as root:
            asyncio.run(_starts_and_keeps(f"{root}/node", allowed))
    return f"{words}; mounted anew, a start has everything"


async def _fail(root: str, counter: Counter) -> tuple[str, Allowed]:
    healed, items = 0, iter(list(_LATER) * 2)
    async with opened_store("records", root) as opened:
        keeper = Keeper(opened.store, {})
        await keeper.put_all(_FIRST)
        for generation in range(2, 2 + FAILURES):
            counter.fail(1 + generation % 3)
            while not counter.has_failed:
                await keeper.put(next(items), generation)
            if not _takes_files(os.path.dirname(root)):
                break
            item = generation % ITEMS
            _require(await keeper.puts_again(item, generation), "the device is well, puts fail")
            healed += 1
        await judge(opened.store, keeper.allowed)
    said = f"{healed} times healed by itself, puts had said {_counts(keeper.refused)}"
    if healed < FAILURES:
        said += "; then a failure hit the journal and ext4 gave itself up"
    return said, keeper.allowed


def _takes_files(root: str) -> bool:
    """Whether the file system still does what it is for."""
    try:
        with open(f"{root}/probe", "wb") as file:
            os.fsync(file.fileno())
    except OSError:
        return False
    return True


def _repair(device: str) -> None:
    """What an operator does with a file system that gave itself up."""
    done = subprocess.run(["e2fsck", "-p", device], check=False, capture_output=True, text=True)
    _require(done.returncode <= 1, f"e2fsck: {done.stdout}{done.stderr}")


SCENARIOS: Final[dict[str, Scenario]] = {
    "read-only": read_only,
    "full disk": full_disk,
    "frozen disk": frozen,
    "failing device": failing_device,
}
