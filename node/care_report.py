"""What operators are told of a node's background work, and the orders that they can give.

Rules:
1.  It reads and starts; it decides nothing.
2.  What is not known yet is left out of the figures, never told as 0.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from node.care_settings import CareSettings
from node.handler import Response
from node.incidents import Incidents
from node.local_store import LocalRecordStore
from node.membership import Membership
from node.repair.ledger_reader import LedgerReader
from node.repair.repair import Repair
from node.scrub.scrub import Scrub
from node.trends import Trends
from ring.errors import Corrupt, StorageFault
from ring.messages import Request
from ring.operating import (
    PLACES_MAX,
    REMARK_CHARACTERS_MAX,
    CareOrder,
    CareReply,
    ExplainRecord,
    GetCare,
    RecordStory,
    StartCare,
    StartedReply,
)
from ring.record import RecordKey
from ring.seams import Clock

_CLAIMS_TOLD: Final = 1_000
_TROUBLES_TOLD: Final = 10
_WRONG_TOLD: Final = 10


class CareReport:
    """Over the parts of one caretaker."""

    def __init__(
        self,
        *,
        membership: Membership,
        store: LocalRecordStore,
        clock: Clock,
        repair: Repair,
        ledger: LedgerReader,
        scrub: Scrub,
        settings: CareSettings,
        trends: Trends,
        incidents: Incidents,
        counters: Counter[str],
    ) -> None:
        self._membership = membership
        self._store = store
        self._clock = clock
        self._repair = repair
        self._ledger = ledger
        self._scrub = scrub
        self._settings = settings
        self._trends = trends
        self._incidents = incidents
        self._counters = counters

    async def handle(self, request: Request) -> Response | None:
        """Answer an operator's gateway; None for what is no such question."""
        match request:
            case GetCare():
                return Response(await self.care())
            case StartCare(CareOrder.REPAIR):
                return Response(StartedReply(self._repair.start_now()))
            case StartCare():
                return Response(StartedReply(self._scrub.start_now()))
            case ExplainRecord(key):
                votes = self._membership.votes(key.digest.partition)
                return Response(await self._story(key), None, votes)
        return None

    def further_counters(self) -> dict[str, int]:
        """What stands beside the counters of the node in its metrics."""
        queue = self._repair.queue
        reasons = {
            f"repair_queued_{reason.removeprefix('hint: ').replace(' ', '_')}_total": count
            for reason, count in sorted(queue.by_reason.items())
        }
        return {
            **reasons,
            "repair_queue_overflow_total": queue.overflow_total,
            "repair_rounds_total": self._repair.rounds,
            "scrub_laps_asked_total": self._scrub.laps_asked,
            "scrub_laps_done_total": self._scrub.laps_done,
        }

    async def care(self) -> CareReply:
        """The ledger, the figures and what is worth a remark."""
        try:
            counted, reason = await self._ledger.count()
        except (Corrupt, StorageFault) as error:
            counted, reason = None, error.detail
        partitions, copies, size_bytes = self._scrub.left
        repair = self._repair
        usage = self._store.usage()
        figures = {
            "bad_copies_found": usage.quarantined_total + usage.lost_total,
            "made_up_for": len(repair.copier.absent),
            "now_s": self._now_s(),
            "repair_copied_bytes": self._counters["repair_copied_bytes_total"],
            "repair_kept_for_others": repair.handoff.waiting,
            "repair_queue": len(repair.queue),
            "repair_rounds": repair.rounds,
            "repair_troubles": len(repair.copier.troubles),
            "reserve_bytes": self._settings.collection.free_bytes_min,
            "scrub_bytes_left": size_bytes,
            "scrub_copies_left": copies,
            "scrub_laps": self._scrub.laps_done,
            "scrub_laps_asked": self._scrub.laps_asked,
            "scrub_partitions_left": partitions,
            "scrub_period_s": int(self._settings.scrub.period_s),
            "scrub_read_bytes": (
                self._counters["scrub_bytes_total"] + self._counters["scrub_blob_bytes_total"]
            ),
            "scrub_unreadable": len(self._scrub.unreadable),
            "scrub_wrong_recipes": len(self._scrub.wrong_recipes),
        }
        for name in ("repair_copied_bytes_total", "scrub_bytes_total", "scrub_copies_total"):
            rate = self._trends.rate(name)
            if rate is not None:
                figures[f"{name.removesuffix('_total')}_per_s"] = int(rate)
        growth = self._trends.growth()
        if growth is not None:
            figures["growth_span_s"] = int(growth.span_s)
            figures["grown_bytes"] = max(0, growth.grown_bytes)
        return CareReply(counted, _short(reason), tuple(sorted(figures.items())), self._remarks())

    def _remarks(self) -> tuple[str, ...]:
        remarks = [
            f"{key.digest}: {words}"
            for key, words in list(self._scrub.wrong_recipes.items())[:_WRONG_TOLD]
        ]
        remarks += [
            f"{suspect.key.digest}: cannot be read here: {suspect.words}"
            for suspect in self._scrub.unreadable.suspects[:_TROUBLES_TOLD]
        ]
        remarks += [
            f"{key.digest}: {words}"
            for key, words in list(self._repair.copier.troubles.items())[:_TROUBLES_TOLD]
        ]
        if self._scrub.unreadable.overflow:
            remarks.append("so many copies cannot be read that the disk must be failing")
        absent = self._repair.copier.absent
        if absent:
            remarks.append(f"away for long, so that others make up for it: {', '.join(absent)}")
        return tuple(map(_short, remarks))

    async def _story(self, key: RecordKey) -> RecordStory:
        (state,) = await self._store.stat((key,))
        claims, done = await self._store.claims(key, None, _CLAIMS_TOLD)
        places = await self._store.quarantined(key)
        return RecordStory(
            state=state,
            claims=len(claims),
            claims_done=done,
            incidents=self._incidents.of(key),
            is_waiting=self._repair.queue.has(key),
            is_left_over=key in self._repair.left_over,
            trouble=_short(self._repair.copier.troubles.get(key, "")),
            quarantined=tuple(places[-PLACES_MAX:]),
            now_s=self._now_s(),
        )

    def _now_s(self) -> int:
        return max(0, int(self._clock.now_s()))


def _short(words: str) -> str:
    return words[:REMARK_CHARACTERS_MAX]
