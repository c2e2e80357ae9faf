"""Removes chunks that no live blob needs.

Source of the rules: the exhaustive model of chunks (docs/ARCHITECTURE.md, Decisions).

1.  A chunk that nobody needs is left alone for a grace: since it was last put or verified here, or
    since this process found that nobody needs it and nobody put it again.  That saves work and
    uploads under way; what was acknowledged is safe without it.
2.  It is condemned first, and only then everybody is asked about its claimants: a commit that
    confirmed it before has its claim in the table by now, and one that comes later is told no.
3.  It goes, with its claims, when a cover said of each claimant, in this very round, that it has no
    live root, and nobody keeps its recipe in the trash.  Else it is pardoned.  Silence is no no.
4.  A chunk without claims, of an upload that was broken off, needs nobody's word.
5.  Before anything is condemned the claimants are asked once without it, because confirming a
    condemned chunk costs a commit that it is put again.  Those noes count for nothing later.

Why the grace counts from `verified_at_s`: putting a chunk sets it, also where a copy was here
already, and every claim of an upload comes with a put; so it is never older than the newest claim
of an upload under way, and it outlives a restart.  A scrub sets it as well, and may do so again and
again before a grace is over, hence the other way to count.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from node.collection.collection_settings import CollectionSettings
from node.collection.garbage_verdicts import GarbageVerdicts
from node.collection.lately import Lately
from node.cover_question import CoverQuestion
from node.local_store import LocalRecordStore
from ring.digest import Digest
from ring.limits import LIST_ENTRIES_MAX
from ring.record import RecordEntry, RecordKey, RecordState, is_live
from ring.seams import Clock

ALIVE_MAX: Final = 65_536
COLLECTED_MAX: Final = 65_536
NEEDED: Final = "a blob that is there needs them"
IN_TRASH: Final = "their blob is in the trash"
UNCOVERED: Final = "too few nodes answer for their blob"
_HINTED_GRACE: Final = 0.5  # of the grace: uploads end within that

OnCollected = Callable[[Sequence[RecordKey]], None]

class Collector:
    """on_collected: told what went, so that other nodes look at theirs."""

    def __init__(
        self,
        *,
        store: LocalRecordStore,
        question: CoverQuestion,
        clock: Clock,
        settings: CollectionSettings,
        counters: Counter[str],
        on_collected: OnCollected,
    ) -> None:
        self._store = store
        self._question = question
        self._clock = clock
        self._settings = settings
        self._counters = counters
        self._on_collected = on_collected
        self._alive: Lately[Digest] = Lately(settings.alive_memory_s, ALIVE_MAX)
        self._collected: Lately[RecordKey] = Lately(settings.collected_memory_s, COLLECTED_MAX)

    def was_collected(self, key: RecordKey) -> bool:
        """Whether this chunk went a moment ago, and is not to be fetched back for its claims."""
        return self._collected.has(key)

    def garbage_verdicts(self) -> GarbageVerdicts:
        """For a batch of repair."""
        return GarbageVerdicts(
            self._store, self._ask, lambda reason: reason != UNCOVERED, self.was_collected
        )

    def is_due(self, entry: RecordEntry, *, hinted: bool = False) -> bool:
        """Whether the grace of a chunk that nobody needs is over.

        A clock that jumped makes nobody wait for ever: the distance counts, not the direction.
        """
        state, grace_s = entry.state, self._settings.grace_s
        if hinted and state.claimed:
            grace_s *= _HINTED_GRACE
        if abs(self._clock.now_s() - state.verified_at_s) >= grace_s:
            return True
        now_s = asyncio.get_running_loop().time()
        condemned = self._store.disposal.condemned
        return now_s - condemned.idle_since_s(entry.key.raw, now_s) >= grace_s

    async def look_at(self, entries: Sequence[RecordEntry], *, hinted: bool = False) -> int:
        """Collect what may go of some chunks; how many went."""
        first = await self.judge([entry.key for entry in entries])
        condemned: dict[RecordKey, int] = {}
        collected: list[RecordKey] = []
        disposal = self._store.disposal
        try:
            for entry in entries:
                key, reason = entry.key, first[entry.key]
                if reason == NEEDED:
                    disposal.condemned.wake(key.raw)
                if reason is not None or not self.is_due(entry, hinted=hinted):
                    continue
                number = await disposal.condemn(key)
                if number is not None:
                    condemned[key] = number
            for key, reason in (await self.judge(list(condemned))).items():
                if reason is None and await disposal.collect(key, condemned[key]):
                    collected.append(key)
        finally:
            for key, number in condemned.items():
                if disposal.condemned.stands(key.raw, number):
                    disposal.condemned.pardon(key.raw)
            for key in collected:
                self._collected.add(key)
            if collected:
                self._counters["chunks_collected_total"] += len(collected)
                self._on_collected(collected)
        return len(collected)

    async def judge(self, keys: Sequence[RecordKey]) -> dict[RecordKey, str | None]:
        """Why each chunk has to stay; None when every claimant is gone, as was asked now."""
        reasons: dict[Digest, str | None] = {}
        verdicts: dict[RecordKey, str | None] = {}
        after: dict[RecordKey, Digest | None] = dict.fromkeys(keys)
        while after:
            pages: dict[RecordKey, tuple[list[Digest], bool]] = {}
            for key, start in after.items():
                pages[key] = await self._store.claims(key, start, LIST_ENTRIES_MAX)
            claimants = [one for page, _ in pages.values() for one in page]
            await self._ask([one for one in claimants if one not in reasons], reasons)
            after = {}
            for key, (page, done) in pages.items():
                needed = next((reasons[one] for one in page if reasons[one]), None)
                if needed is None and not done:
                    after[key] = page[-1]
                else:
                    verdicts[key] = needed
        return verdicts

    async def _ask(self, claimants: Sequence[Digest], reasons: dict[Digest, str | None]) -> None:
        """Why each claimant keeps its chunks; who was alive a moment ago still counts as alive."""
        alive = {one for one in claimants if self._alive.has(one)}
        reasons.update(dict.fromkeys(alive, NEEDED))
        unknown = [one for one in dict.fromkeys(claimants) if one not in alive]
        for one, finding in (await self._question.ask(unknown)).items():
            if finding.is_live:
                self._alive.add(one)
                reasons[one] = NEEDED
            elif not finding.covered:
                reasons[one] = UNCOVERED
            else:
                reasons[one] = None if finding.is_gone else IN_TRASH


def is_chunk(state: RecordState) -> bool:
    """Whether a record is here only as a chunk, or as what an upload left behind."""
    return state.exists and not (is_live(state.root) or state.is_tombstone or state.in_trash)
