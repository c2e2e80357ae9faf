"""What goes on behind a store while it is open: rejoining, repair, scrub, collection.

Rules:
1.  It yields to clients: its calls travel on connections of their own, and its copying is limited.
2.  It ends with the store: a store that is mended gets another caretaker, which begins anew.
3.  Messages between caretakers are answered only by a node that is admitted (node/service.py).
4.  A mistake of ours in one part is told, and the part begins anew after a while: a record that
    leads to it must not end every node that has it.
5.  A TaskGroup that is cancelled as one of its tasks fails raises the failure and not the
    cancellation, so a part that fails after the end was asked for is at its end.  For the same
    reason tasks of groups within a part keep the world's errors to themselves.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from node.care_report import CareReport
from node.care_settings import CareSettings
from node.collection.collection import Collection
from node.handler import Asker, Response
from node.heard_transport import HeardTransport
from node.incidents import Incidents
from node.local_store import LocalRecordStore
from node.membership import Membership
from node.rejoin import Rejoin
from node.repair.ledger_reader import LedgerReader
from node.repair.repair import Repair
from node.scrub.scrub import Scrub
from node.trends import Trends
from ring.errors import HoldfastError, Unsupported
from ring.messages import Request
from ring.operating import IncidentKind
from ring.record import RecordKey
from ring.seams import Clock, Transport

MISTAKE_WAIT_S: Final = 5.0
MISTAKE_WAIT_MAX_S: Final = 300.0

log = structlog.get_logger()


class Caretaker:
    """The background work of one node on one open store.

    counters: shared with the node's others, and with the caretakers before.
    served: how many questions of clients the node has answered so far.  incidents: what happened to
    records, likewise shared.
    """

    _is_over = False

    def __init__(
        self,
        *,
        membership: Membership,
        store: LocalRecordStore,
        transport: Transport,
        clock: Clock,
        settings: CareSettings,
        counters: Counter[str],
        served: Callable[[], int],
        incidents: Incidents,
    ) -> None:
        self._counters = counters
        self._incidents = incidents
        store.watch_bad_copies(self._bad_copy)
        heard = HeardTransport(transport, membership)
        self._rejoin = Rejoin(membership, store, heard)
        self.collection = Collection(
            membership=membership,
            store=store,
            transport=heard,
            clock=clock,
            settings=settings.collection,
            counters=counters,
        )
        self.repair = Repair(
            membership=membership,
            store=store,
            transport=heard,
            settings=settings.repair,
            counters=counters,
            served=served,
            incidents=incidents,
            garbage=self.collection.garbage_verdicts,
        )
        self.scrub = Scrub(
            membership=membership,
            store=store,
            transport=heard,
            clock=clock,
            settings=settings.scrub,
            counters=counters,
            served=served,
            incidents=incidents,
        )
        self._trends = Trends(counters, lambda: store.usage().bytes_stored)
        self.report = CareReport(
            membership=membership,
            store=store,
            clock=clock,
            repair=self.repair,
            ledger=LedgerReader(membership, store, self.repair, settings.repair),
            scrub=self.scrub,
            settings=settings,
            trends=self._trends,
            incidents=incidents,
            counters=counters,
        )
        self.collection.on_collected = self._collected
        self.collection.on_purged = self._purged

    async def run(self) -> None:
        """Everything, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_going("rejoin", self._rejoin.run))
            group.create_task(self._keep_going("repair", self.repair.run))
            group.create_task(self._keep_going("scrub", self.scrub.run))
            group.create_task(self._keep_going("trends", self._trends.run))
            group.create_task(self._keep_going("collection", self.collection.run))
            try:
                await asyncio.Event().wait()
            finally:
                self._is_over = True

    def _bad_copy(self, key: RecordKey, words: str, is_gone: bool) -> None:  # noqa: FBT001 - as told
        self._incidents.bad_copy(key, words, is_gone=is_gone)

    def _collected(self, keys: Sequence[RecordKey]) -> None:
        for key in keys:
            self._incidents.note(key, IncidentKind.COLLECTED, "no blob needs it any more")

    def _purged(self, keys: Sequence[RecordKey]) -> None:
        for key in keys:
            words = "every node that could lack the delete has confirmed it"
            self._incidents.note(key, IncidentKind.PURGED, words)

    async def _keep_going(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Rule 4."""
        wait_s = MISTAKE_WAIT_S
        while True:
            try:
                await work()
            except Exception as error:
                if self._is_over:
                    raise asyncio.CancelledError from error  # rule 5
                if is_of_the_world(error):
                    log.warning("background work waits", work=name, error=str(error))
                else:
                    self._tell_mistake(name, error)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, MISTAKE_WAIT_MAX_S)

    def _tell_mistake(self, name: str, error: Exception) -> None:
        self._counters["mistakes_total"] += 1
        context = {"message": f"{name} failed unexpectedly", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
        log.error("background work failed", work=name, exc_info=error)

    async def handle(self, request: Request, asker: Asker) -> Response:
        """Answer another caretaker's request; raises Unsupported for what is none."""
        response = await self.collection.handle(request)
        if response is None:
            response = await self.repair.handle(request, asker)
        if response is None:
            response = await self.report.handle(request)
        if response is not None:
            return response
        raise Unsupported(f"{type(request).__name__} is not served by this release")


def is_of_the_world(error: Exception) -> bool:
    """Whether an error, or each of a group, is the disk's or a peer's and no mistake of ours."""
    if isinstance(error, ExceptionGroup):
        return error.split(HoldfastError)[1] is None
    return isinstance(error, HoldfastError)
