"""The record store of a node, and another one in its place when its index is found to be damaged.

Rules:
1.  A store is answered from until it is found damaged, and not afterwards: an index that lost one
    row may lack others, and a node must not deny what it holds.  Meanwhile it says so in words,
    and whoever asks takes another node.
2.  Nothing is lost by it: what is damaged is an index, which opening makes anew from the log.  A
    log that is damaged too raises, as at any start.
3.  The next store is opened only when everything that the last one had begun has ended; where that
    takes too long the process ends instead, and a new one opens it.  Whoever only reads is given
    LEAVE_S to come to an end, and finds the store closed afterwards.
4.  The first time there is no waiting.  Each time soon after the last, the wait grows; after
    TRIES_MAX of them the node stays out of service until somebody looks: it is not the index then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import structlog

from node.local_store import LocalRecordStore
from ring.errors import DiskFull, StorageFault

StoreOpener = Callable[[], Awaitable[LocalRecordStore]]
StoreWork = Callable[[LocalRecordStore], Awaitable[None]]

MENDING: Final = "mending"
OUT_OF_SERVICE: Final = "out of service"
TRIES_MAX: Final = 5
WAIT_FIRST_S: Final = 1.0
WAIT_FACTOR: Final = 5.0  # 0, 1, 5, 25 and 125 seconds
CALM_S: Final = 3600.0
LEAVE_S: Final = 10.0

log = structlog.get_logger()


class StoreHolder:
    """Opens a store, and opens it again when that is needed.

    store: None before it is opened, while it is mended, and when that was given up.  trouble: the
    last two of these as a word for operators, empty otherwise; reason: the same in words.
    damaged_total, mended_total: how often it was found damaged, and is well again.
    """

    def __init__(self, open_store: StoreOpener) -> None:
        self.store: LocalRecordStore | None = None
        self.trouble = ""
        self.reason = ""
        self.damaged_total = 0
        self.mended_total = 0
        self._open_store = open_store
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()
        self._tries = 0
        self._mended_at_s = 0.0
        self._closing: asyncio.Task[bool] | None = None

    async def open(self) -> None:
        """Raises what opening raises; without effect when one is open."""
        if self.store is None:
            self.store = await self._open_store()

    @contextmanager
    def using(self, store: LocalRecordStore) -> Iterator[None]:
        """Keep `store` open meanwhile."""
        self._users += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def run(self, work: StoreWork) -> NoReturn:
        """Do `work`, which never ends by itself, with the store that is open; until cancelled.

        Raises what `work` does, Corrupt for a damaged log, StorageFault for rule 3.
        """
        while True:
            damage = await self._until_damaged(work)
            self.damaged_total += 1
            self.reason = f"its index is damaged and is made anew from the log: {damage}"
            self.trouble = MENDING
            await self._let_go()
            await self._wait_for_turn(damage)
            await self._open_again()

    async def close(self) -> None:
        """Close what is open; `run` must be over."""
        if self._closing is not None:
            await self._closing
        if self.store is not None:
            await self.store.close()

    # --- steps ------------------------------------------------------------------------------------

    async def _until_damaged(self, work: StoreWork) -> str:
        store = self.store
        assert store is not None

        async def do() -> None:
            await work(store)

        async with asyncio.TaskGroup() as group:
            working = group.create_task(do())
            damage = await store.until_damaged()
            working.cancel()
        return damage

    async def _let_go(self) -> None:
        """Rule 3."""
        store, self.store = self.store, None
        assert store is not None
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._unused.wait()
        except TimeoutError:
            log.warning("the store is closed while requests still use it", users=self._users)
        self._closing = asyncio.create_task(store.close())
        if not await asyncio.shield(self._closing):
            raise StorageFault("a store with a damaged index could not be closed in time")
        self._closing = None

    async def _wait_for_turn(self, damage: str) -> None:
        """Rule 4."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._mended_at_s > CALM_S:
            self._tries = 0
        self._tries += 1
        if self._tries > TRIES_MAX:
            self.trouble = OUT_OF_SERVICE
            self.reason = (
                f"its index was made anew {TRIES_MAX} times and is damaged again: {damage}.  The"
                " disk or the memory of this machine is bad: replace the node, or restart it to"
                " have it try again"
            )
            log.error("the index is given up", reason=self.reason)
            await asyncio.Event().wait()
        if self._tries > 1:
            await asyncio.sleep(WAIT_FIRST_S * WAIT_FACTOR ** (self._tries - 2))

    async def _open_again(self) -> None:
        """Go on trying while the disk does not let it: nothing else would do it."""
        loop = asyncio.get_running_loop()
        begun_s, wait_s, words = loop.time(), WAIT_FIRST_S, self.reason
        while True:
            try:
                self.store = await self._open_store()
            except (DiskFull, StorageFault) as error:
                self.reason = f"{words}; that failed and is tried again: {error.detail}"
                log.warning("the index cannot be made anew yet", error=error.detail)
                await asyncio.sleep(wait_s)
                wait_s = min(WAIT_FACTOR * wait_s, WAIT_FIRST_S * WAIT_FACTOR**2)
                continue
            self.trouble = self.reason = ""
            self.mended_total += 1
            self._mended_at_s = loop.time()
            log.warning("the index was made anew", took_s=round(self._mended_at_s - begun_s, 1))
            return
