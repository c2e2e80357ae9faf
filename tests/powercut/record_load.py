"""A process that writes records as fast as it can and says what was acknowledged.

    python -m tests.powercut.record_load KIND ROOT LINES SEED OPERATIONS [COUNTER]

KIND is "records" or "files".  It first reads everything and says what it found.  It ends after so
many operations, or when it is killed.
"""

from __future__ import annotations

import asyncio
import sys
from random import Random
from typing import Final

from node.local_store import LocalRecordStore
from ring.record import NO_ROOT, RecordKind, Root, dead, generation_of, is_live, live
from tests.powercut.history import FOUND, MAY, MUST, NOTHING, State, Teller
from tests.powercut.kernel import die_with_parent
from tests.powercut.record_items import (
    CLAIMANTS,
    ITEMS,
    key_of,
    opened_store,
    state_of,
    value_of,
)

WRITERS: Final = 8


class Worker:
    """Writes its own items, one after the other."""

    def __init__(self, store: LocalRecordStore, teller: Teller, rng: Random) -> None:
        self._store = store
        self._teller = teller
        self._rng = rng

    async def work(self, items: list[int], operations: int) -> None:
        for _ in range(operations):
            await self._change(self._rng.choice(items))

    async def _change(self, item: int) -> None:
        store, key, draw = self._store, key_of(item), self._rng.random()
        root, held, claims = await state_of(store, item) or (NO_ROOT, 0, 0)
        generation = generation_of(Root(root))
        if draw < 0.5:
            generation = max(generation, 1) if is_live(Root(root)) else generation + 1
            after: State = (live(generation), 1, claims)
            self._teller.say(MAY, item, after)
            value = value_of(item)
            answer = await store.put_root(key, RecordKind.DATA, len(value), generation, value)
            assert answer.root == live(generation), answer
        elif draw < 0.75:
            after = (max(Root(root), dead(generation)), int(bool(held and claims)), claims)
            self._teller.say(MAY, item, after)
            await store.bury(key, generation)
        elif draw < 0.83:
            after = (0, 0, 0)
            self._teller.say(MAY, item, NOTHING)
            await store.drop(key)
        elif draw < 0.95:
            number = self._rng.randrange(len(CLAIMANTS))
            after = (root, 1, claims | 1 << number)
            self._teller.say(MAY, item, after)
            await store.put_chunk(key, CLAIMANTS[number], value_of(item))
        else:
            await store.verify(key)
            return
        state: State = after if any(after) else NOTHING
        self._teller.say(MUST, item, state)
        now = await state_of(store, item)
        assert now == state, (item, now, state)


async def main(  # noqa: PLR0917 - the arguments of a process
    kind: str, root: str, lines: str, seed: str, operations: str, counter: str | None = None
) -> None:
    """See the module."""
    die_with_parent()
    teller = Teller(lines, counter)
    rng = Random(int(seed))
    async with opened_store(kind, root) as opened:
        for item in range(ITEMS):
            teller.say(FOUND, item, await state_of(opened.store, item))
        workers = [
            (Worker(opened.store, teller, Random(rng.randrange(1 << 30))), first)
            for first in range(WRITERS)
        ]
        await asyncio.gather(
            *(
                worker.work(list(range(first, ITEMS, WRITERS)), int(operations) // WRITERS)
                for worker, first in workers
            )
        )
    teller.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
