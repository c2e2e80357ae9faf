"""One node's record store, from afar: `ring.seams.RecordStore` over a transport.

Rule: an answer of a node that may not vote is no answer to a question about records; it raises
Unavailable.  (What such a node was told to store, it may have stored.)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ring.admission import PutAnswer
from ring.control import FloorsReply, GetFloors
from ring.digest import Buffer, Digest
from ring.errors import PeerProtocol, TooLarge, Unavailable
from ring.life import NodeId
from ring.limits import KEYS_PER_REQUEST_MAX, LIST_ENTRIES_MAX, PAYLOAD_BYTES_MAX
from ring.listing import ClaimsReply, ListClaims, ListRecords, PageReply, check_page
from ring.messages import (
    Answer,
    BuryRecord,
    ConfirmChunks,
    CopyVerdict,
    FlagsReply,
    GetRecord,
    PutRecord,
    PutReply,
    RecordReply,
    Request,
    StatesReply,
    StatRecords,
    VerifyRecord,
    VerifyReply,
    expect,
)
from ring.record import RecordEntry, RecordKey, RecordKind, RecordState
from ring.seams import Transport


class NodeClient:
    """The records of `node`.  Raises what Transport.call raises.

    epochs: of the live layouts, asked before each call.  timeout_s: of each call.  bulk: values
    are expected to be larger than PAYLOAD_SMALL_BYTES_MAX.  background: yields to clients.
    """

    def __init__(
        self,
        transport: Transport,
        node: NodeId,
        epochs: Callable[[], tuple[int, ...]],
        timeout_s: float,
        *,
        background: bool = False,
        bulk: bool = False,
    ) -> None:
        self._transport = transport
        self._node = node
        self._epochs = epochs
        self._timeout_s = timeout_s
        self._background = background
        self._bulk = bulk

    async def put_root(
        self, key: RecordKey, kind: RecordKind, size_bytes: int, generation: int, value: Buffer
    ) -> PutAnswer:
        _check_length(value)
        request = PutRecord(key, kind, size_bytes, generation, None)
        return expect(await self._ask(request, value), PutReply).answer

    async def put_chunk(self, key: RecordKey, claimant: Digest | None, value: Buffer) -> PutAnswer:
        _check_length(value)
        request = PutRecord(key, RecordKind.DATA, len(value), 0, claimant)
        return expect(await self._ask(request, value), PutReply).answer

    async def get(self, key: RecordKey) -> tuple[RecordState, Buffer | None]:
        answer = await self._ask(GetRecord(key), bulk=self._bulk)
        state = expect(answer, RecordReply).state
        if state.held is (answer.payload is None):
            raise PeerProtocol(f"{self._node} says held={state.held} beside the opposite")
        return state, answer.payload

    async def stat(self, keys: Sequence[RecordKey]) -> list[RecordState]:
        found: list[RecordState] = []
        for start in range(0, len(keys), KEYS_PER_REQUEST_MAX):
            some = tuple(keys[start : start + KEYS_PER_REQUEST_MAX])
            states = expect(await self._ask(StatRecords(some)), StatesReply).states
            known = [state for state in states if state is not None]
            if len(known) != len(some):
                raise PeerProtocol(f"{self._node} gave {len(known)} states for {len(some)} keys")
            found += known
        return found

    async def confirm(self, claimant: Digest, chunks: Sequence[Digest]) -> list[bool]:
        confirmed: list[bool] = []
        for start in range(0, len(chunks), KEYS_PER_REQUEST_MAX):
            some = tuple(chunks[start : start + KEYS_PER_REQUEST_MAX])
            flags = expect(await self._ask(ConfirmChunks(claimant, some)), FlagsReply).flags
            if len(flags) != len(some):
                raise PeerProtocol(f"{self._node} gave {len(flags)} flags for {len(some)} chunks")
            confirmed += flags
        return confirmed

    async def bury(
        self, key: RecordKey, generation: int, *, keep_value: bool = False
    ) -> RecordState:
        request = BuryRecord(key, generation, not keep_value)
        return expect(await self._ask(request), RecordReply).state

    async def verify(self, key: RecordKey) -> CopyVerdict:
        return expect(await self._ask(VerifyRecord(key)), VerifyReply).verdict

    async def page(
        self, after: RecordKey | None, limit: int, *, roots_only: bool
    ) -> tuple[list[RecordEntry], bool]:
        request = ListRecords(after, min(limit, LIST_ENTRIES_MAX), roots_only)
        page = expect(await self._ask(request), PageReply)
        return list(page.entries), page.done

    async def claims(
        self, key: RecordKey, after: Digest | None, limit: int
    ) -> tuple[list[Digest], bool]:
        request = ListClaims(key, after, min(limit, LIST_ENTRIES_MAX))
        page = expect(await self._ask(request), ClaimsReply)
        return list(page.claimants), page.done

    async def floors(self) -> dict[int, int]:
        return dict(expect(await self._ask(GetFloors()), FloorsReply).floors)

    async def _ask(
        self, request: Request, payload: Buffer | None = None, *, bulk: bool = False
    ) -> Answer:
        answer = await self._transport.call(
            self._node,
            request,
            payload,
            epochs=self._epochs(),
            timeout_s=self._timeout_s,
            background=self._background,
            bulk=bulk,
        )
        if not answer.voter:
            raise Unavailable(f"node {self._node} may not answer for its records at present")
        return answer


async def every_claim(
    page: Callable[[Digest | None], Awaitable[tuple[Sequence[Digest], bool]]]
) -> list[Digest]:
    """All claimants of a chunk at a peer, of which `page` gets the next after one.

    Raises what `page` does, and PeerProtocol when its pages do not lead on.
    """
    claims: list[Digest] = []
    done = False
    while not done:
        after = claims[-1] if claims else None
        found, done = await page(after)
        check_page(after, found, done=done)
        claims += found
    return claims


def _check_length(value: Buffer) -> None:
    if len(value) > PAYLOAD_BYTES_MAX:
        raise TooLarge(f"a record holds at most {PAYLOAD_BYTES_MAX} bytes, not {len(value)}")
