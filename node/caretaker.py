"""What goes on behind a store while it is open: rejoining, repair, collection.

Rules:
1.  It yields to clients: its calls travel on connections of their own, and its copying is limited.
2.  It ends with the store: a store that is mended gets another caretaker, which begins anew.
3.  Messages between caretakers are answered only by a node that is admitted (node/service.py).
"""

from __future__ import annotations

import asyncio
from collections import Counter

from node.care_settings import CareSettings
from node.handler import Asker, Response
from node.heard_transport import HeardTransport
from node.local_store import LocalRecordStore
from node.membership import Membership
from node.rejoin import Rejoin
from ring.errors import Unsupported
from ring.messages import Request
from ring.seams import Clock, Transport


class Caretaker:
    """The background work of one node on one open store.

    counters: shared with the node's others, and with the caretakers before.
    """

    def __init__(
        self,
        *,
        membership: Membership,
        store: LocalRecordStore,
        transport: Transport,
        clock: Clock,
        settings: CareSettings,
        counters: Counter[str],
    ) -> None:
        heard = HeardTransport(transport, membership)
        self._rejoin = Rejoin(membership, store, heard)

    async def run(self) -> None:
        """Everything, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._rejoin.run())

    async def handle(self, request: Request, asker: Asker) -> Response:
        """Answer another caretaker's request; raises Unsupported for what is none."""
        raise Unsupported(f"{type(request).__name__} is not served by this release")
