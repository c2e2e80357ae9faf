"""A node that answers as it is told: what the wire needs behind it, without stores or layouts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from node.handler import Asker, Begun, Response
from ring.admission import PutAnswer
from ring.codec import Sender
from ring.digest import Buffer, Digest
from ring.errors import Unsupported
from ring.life import Life, NodeId
from ring.messages import GetRecord, PutRecord, PutReply, RecordReply, Request
from ring.record import ABSENT, RecordKey, RecordKind, RecordState, live

LIFE = Life(1, 1, 7)


def key_of(value: bytes) -> RecordKey:
    """Where a value is filed."""
    return RecordKey(Digest.of(value))


def put_of(value: bytes) -> PutRecord:
    """A request to keep it at generation 1."""
    return PutRecord(key_of(value), RecordKind.DATA, len(value), 1, None)


class ScriptedNode:
    """Keeps what is put.  GetRecord is answered at once unless `slow_reads`.

    raises: instead of the answer of everything but GetRecord.  gate: waited for before that.
    answers: replaces the answer to a request, when it gives one.
    """

    def __init__(self) -> None:
        self.values: dict[RecordKey, bytes] = {}
        self.asked: list[tuple[Request, Asker]] = []
        self.raises: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.slow_reads = False
        self.voter = True
        self.answers: Callable[[Request], Response | None] = lambda request: None
        self.cancelled = 0
        self.under_way = 0
        self.under_way_most = 0
        self._sender = Sender(LIFE, ())

    def tell(self, life: Life, peers: tuple[tuple[NodeId, Life], ...]) -> None:
        """From now on it is in this life and knows of those."""
        self._sender = Sender(life, peers)

    def sender(self) -> Sender:
        return self._sender

    def handle_now(self, request: Request, asker: Asker) -> Response | None:
        if self.slow_reads or not isinstance(request, GetRecord):
            return None
        self.asked.append((request, asker))
        return self.answers(request) or self._found(request)

    def begin(self, request: Request, payload: Buffer, asker: Asker) -> Begun | None:
        return None

    async def handle(self, request: Request, payload: Buffer | None, asker: Asker) -> Response:
        self.asked.append((request, asker))
        self.under_way += 1
        self.under_way_most = max(self.under_way, self.under_way_most)
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1
        if self.raises is not None:
            raise self.raises
        scripted = self.answers(request)
        if scripted is not None:
            return scripted
        if isinstance(request, GetRecord):
            return self._found(request)
        if isinstance(request, PutRecord):
            assert payload is not None
            had = request.key in self.values
            self.values[request.key] = bytes(payload)
            return Response(PutReply(PutAnswer(live(1), 0, had)), None, self.voter)
        raise Unsupported("not in the script")

    def _found(self, request: GetRecord) -> Response:
        value = self.values.get(request.key)
        if value is None:
            return Response(RecordReply(ABSENT), None, self.voter)
        state = RecordState(RecordKind.DATA, len(value), live(1), held=True)
        return Response(RecordReply(state), value, self.voter)
