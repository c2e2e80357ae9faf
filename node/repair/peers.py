"""Questions of one caretaker to others, over connections that yield to clients.

Rules:
1.  An answer counts from a node that may vote on the question, in a life that nobody knows to be
    over.  Anything else raises Unavailable.
2.  Layouts are those in force at the call; a peer that lives by others refuses.
3.  Who has been silent for `SILENT_S` is not asked, which is Unavailable: a frozen peer would let
    every question wait for its deadline.  Introductions go on, and end the silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from node.client import every_claim
from node.membership import SILENT_S, Membership
from ring.comparing import (
    DescribeRecords,
    Description,
    DescriptionsReply,
    FactsReply,
    HintReason,
    HintRecords,
    HintReply,
    ListFacts,
    PrefixSum,
    SumPrefixes,
    SumsReply,
)
from ring.digest import Buffer, Digest
from ring.errors import HoldfastError, PeerProtocol, Unavailable
from ring.life import NodeId
from ring.limits import KEYS_PER_REQUEST_MAX, LIST_ENTRIES_MAX
from ring.listing import ClaimsReply, ListClaims
from ring.messages import (
    Answer,
    ConfirmChunks,
    CopyVerdict,
    FlagsReply,
    GetRecord,
    RecordReply,
    Request,
    VerifyRecord,
    VerifyReply,
    expect,
)
from ring.record import RecordKey, RecordState
from ring.seams import Transport

HINTS_PER_REQUEST: Final = 1_000

log = structlog.get_logger()


class Peers:
    """Each call raises what Transport.call raises, Unavailable (rules 1, 3) or PeerProtocol."""

    def __init__(
        self, membership: Membership, transport: Transport, timeout_s: float
    ) -> None:
        self._membership = membership
        self._transport = transport
        self._timeout_s = timeout_s

    async def sums(
        self, peer: NodeId, prefixes: Sequence[str], absent: tuple[NodeId, ...]
    ) -> tuple[PrefixSum, ...]:
        """See SumPrefixes."""
        answer = await self._ask(peer, SumPrefixes(tuple(prefixes), absent))
        sums = expect(answer, SumsReply).sums
        if len(sums) != len(prefixes):
            raise PeerProtocol(f"{peer} gave {len(sums)} sums for {len(prefixes)} prefixes")
        return sums

    async def facts(
        self, peer: NodeId, prefixes: Sequence[str], absent: tuple[NodeId, ...]
    ) -> tuple[tuple[RecordKey, int], ...] | None:
        """See ListFacts."""
        answer = await self._ask(peer, ListFacts(tuple(prefixes), absent))
        return expect(answer, FactsReply).facts

    async def describe(
        self, peer: NodeId, keys: Sequence[RecordKey]
    ) -> list[Description | None]:
        """See DescribeRecords."""
        found: list[Description | None] = []
        for start in range(0, len(keys), KEYS_PER_REQUEST_MAX):
            some = tuple(keys[start : start + KEYS_PER_REQUEST_MAX])
            answer = await self._ask(peer, DescribeRecords(some), votes=False)
            described = expect(answer, DescriptionsReply).descriptions
            if len(described) != len(some):
                raise PeerProtocol(f"{peer} described {len(described)} of {len(some)} records")
            found += described
        return found

    async def described(
        self, peer: NodeId, keys: Sequence[RecordKey]
    ) -> dict[RecordKey, Description]:
        """As far as the peer answers and may vote; empty when it does not.  Raises nothing."""
        try:
            found = await self.describe(peer, keys)
        except HoldfastError as error:
            log.debug("repair: a peer is silent", peer=peer, error=error.detail)
            return {}
        pairs = zip(keys, found, strict=True)
        return {key: description for key, description in pairs if description is not None}

    async def value(self, peer: NodeId, key: RecordKey) -> tuple[RecordState, Buffer | None]:
        """State and, when held, the bytes, which are not verified yet."""
        answer = await self._ask(peer, GetRecord(key))
        return expect(answer, RecordReply).state, answer.payload

    async def claims(self, peer: NodeId, key: RecordKey) -> list[Digest]:
        """All claimants."""

        async def page(after: Digest | None) -> tuple[Sequence[Digest], bool]:
            answer = await self._ask(peer, ListClaims(key, after, LIST_ENTRIES_MAX))
            reply = expect(answer, ClaimsReply)
            return reply.claimants, reply.done

        return await every_claim(page)

    async def confirm(
        self, peer: NodeId, claimant: Digest, chunks: Sequence[Digest]
    ) -> list[bool]:
        """See ConfirmChunks; false too for chunks that the peer may not vote on."""
        confirmed: list[bool] = []
        for start in range(0, len(chunks), KEYS_PER_REQUEST_MAX):
            some = tuple(chunks[start : start + KEYS_PER_REQUEST_MAX])
            answer = await self._ask(peer, ConfirmChunks(claimant, some), votes=False)
            flags = expect(answer, FlagsReply).flags
            if len(flags) != len(some):
                raise PeerProtocol(f"{peer} gave {len(flags)} flags for {len(some)} chunks")
            confirmed += flags
        return confirmed

    async def verify(self, peer: NodeId, key: RecordKey) -> CopyVerdict:
        """Have the peer hash its copy."""
        return expect(await self._ask(peer, VerifyRecord(key)), VerifyReply).verdict

    async def hint(
        self, peer: NodeId, reason: HintReason, keys: Sequence[RecordKey]
    ) -> int:
        """Tell a peer what to look at; how many records it will look at."""
        accepted = 0
        for start in range(0, len(keys), HINTS_PER_REQUEST):
            some = tuple(keys[start : start + HINTS_PER_REQUEST])
            answer = await self._ask(peer, HintRecords(reason, some), votes=False)
            accepted += expect(answer, HintReply).accepted
        return accepted

    async def tell(self, peer: NodeId, reason: HintReason, keys: Sequence[RecordKey]) -> int:
        """As `hint`; how many of the records it was told of, none when it did not answer."""
        try:
            await self.hint(peer, reason, keys)
        except HoldfastError as error:
            log.debug("repair: a hint did not arrive", peer=peer, error=error.detail)
            return 0
        return len(keys)

    async def _ask(self, peer: NodeId, request: Request, *, votes: bool = True) -> Answer:
        if peer in self._membership.silent_for(SILENT_S):
            raise Unavailable(f"{peer} has been silent for {SILENT_S:.0f} s or longer")
        answer = await self._transport.call(
            peer,
            request,
            epochs=self._membership.layouts.live.epochs,
            timeout_s=self._timeout_s,
            background=True,
        )
        if votes and not answer.voter:
            raise Unavailable(f"{peer} may not answer for its records at present")
        if not self._membership.knows_no_later(peer, answer.life):
            raise Unavailable(f"{peer} answered in a life that is over")
        return answer
