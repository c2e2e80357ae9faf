"""Whether chunks are worth being fetched or spoken of, for repair.

Made for one batch: what is asked about a claimant is asked after the batch began, and once, however
many chunks of it there are.  An upload that was broken off leaves thousands of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from node.local_store import LocalRecordStore
from ring.digest import Digest
from ring.limits import LIST_ENTRIES_MAX
from ring.record import RecordKey

Reasons = dict[Digest, str | None]


class GarbageVerdicts:
    """ask: why each claimant keeps its chunks, None for one that is gone as a cover says now.

    may_need: whether such a reason is that the chunk is needed, or may be.
    was_collected: whether a chunk went from here a moment ago.
    """

    def __init__(
        self,
        store: LocalRecordStore,
        ask: Callable[[Sequence[Digest], Reasons], Awaitable[None]],
        may_need: Callable[[str], bool],
        was_collected: Callable[[RecordKey], bool],
    ) -> None:
        self._store = store
        self._ask = ask
        self._may_need = may_need
        self._was_collected = was_collected
        self._asked: dict[Digest, asyncio.Future[str | None]] = {}

    async def is_garbage(self, key: RecordKey, claimants: Sequence[Digest]) -> bool:
        """Whether a chunk with these claims, of which nothing is here, is not worth fetching.

        Else a node would fetch back from the next what it has collected, and so for ever.
        """
        reasons = {reason for reason in await self._reasons(claimants) if reason is not None}
        if any(self._may_need(reason) for reason in reasons):
            return False
        return not reasons or self._was_collected(key)

    async def is_left_over(self, key: RecordKey) -> bool:
        """Whether nobody needs a chunk that is here, by the claims that are here."""
        after: Digest | None = None
        while True:
            page, done = await self._store.claims(key, after, LIST_ENTRIES_MAX)
            if any(reason is not None for reason in await self._reasons(page)):
                return False
            if done:
                return True
            after = page[-1]

    async def _reasons(self, claimants: Sequence[Digest]) -> list[str | None]:
        unknown = [one for one in dict.fromkeys(claimants) if one not in self._asked]
        loop = asyncio.get_running_loop()
        self._asked.update({one: loop.create_future() for one in unknown})
        answers = [self._asked[one] for one in claimants]  # one that fails is asked anew by others
        if unknown:
            await self._find_out(unknown)
        return [await answer for answer in answers]

    async def _find_out(self, unknown: Sequence[Digest]) -> None:
        reasons: Reasons = {}
        try:
            await self._ask(unknown, reasons)
        except BaseException as error:
            for one in unknown:  # the next to come asks again; who waits is told
                future = self._asked.pop(one)
                future.set_exception(error)
                future.exception()
            raise
        for one in unknown:
            self._asked[one].set_result(reasons[one])
