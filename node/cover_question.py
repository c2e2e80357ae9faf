"""What covers say of digests, asked by a node: in batches, in the background, by Cover's rules.

Rules:
1.  An answer counts from a voter, in a life that nobody is known to have seen the end of, under
    the layouts that the question began with; this node's own counts while it votes.
2.  No cover, no conclusion: a finding that is not `covered` says nothing about absence.
3.  All that one step asks of a node travels together.

`Survey` decides without I/O; `CoverQuestion` asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from node.local_store import LocalRecordStore
from node.membership import Membership
from ring.cover import Cover
from ring.digest import Digest
from ring.errors import HoldfastError, PeerProtocol
from ring.layout import LiveLayouts
from ring.life import Life, NodeId
from ring.limits import KEYS_PER_REQUEST_MAX
from ring.messages import StatesReply, StatRecords, expect
from ring.quorum import Placement
from ring.record import ABSENT, RecordKey, RecordState, is_live
from ring.seams import Transport
from ring.write_quorum import Outcome

ANSWER_TIMEOUT_S: Final = 5.0
DIGESTS_MAX: Final = KEYS_PER_REQUEST_MAX  # looked at together; more are asked about in turns

States = Sequence[RecordState | None]
Question = tuple[NodeId, tuple[Digest, ...]]


class CoverFinding(Struct, frozen=True):
    """What is known of a digest.

    covered: a cover answered.  newest: the state with the highest root in any answer, `ABSENT` when
    there was none.  holders: who said that it holds a value, whatever its root.
    """

    covered: bool
    newest: RecordState
    holders: tuple[NodeId, ...]

    @property
    def is_live(self) -> bool:
        """Whether a put is the newest thing that was heard of; needs no cover."""
        return is_live(self.newest.root)

    @property
    def is_gone(self) -> bool:
        """Whether a cover knows of no live root, and nobody has it in the trash."""
        return self.covered and not self.is_live and not self.holders


UNKNOWN: Final = CoverFinding(covered=False, newest=ABSENT, holders=())


class Survey:
    """The covers of several digests, and what was answered so far."""

    def __init__(self, placements: Mapping[Digest, Placement]) -> None:
        self._covers = {digest: Cover(placement) for digest, placement in placements.items()}
        self._states: dict[Digest, dict[NodeId, RecordState]] = {one: {} for one in placements}
        self._lives: dict[NodeId, Life] = {}
        self._changed: dict[Digest, None] = dict.fromkeys(placements)

    @property
    def lives(self) -> list[tuple[NodeId, Life]]:
        """Who answered, and in which life."""
        return list(self._lives.items())

    def next_questions(self) -> list[Question]:
        """Whom to ask about what now; each is to be reported once by `answered` or `failed`."""
        asked: dict[NodeId, list[Digest]] = {}
        for digest in self._changed:
            for node in self._covers[digest].next_targets():
                asked.setdefault(node, []).append(digest)
        self._changed.clear()
        return [
            (node, tuple(digests[start : start + KEYS_PER_REQUEST_MAX]))
            for node, digests in asked.items()
            for start in range(0, len(digests), KEYS_PER_REQUEST_MAX)
        ]

    def answered(
        self, node: NodeId, life: Life, digests: Sequence[Digest], states: States
    ) -> None:
        """A node's states, None where it may not vote."""
        known = self._lives.setdefault(node, life)
        if known.process != life.process:
            self.superseded(node)
            self._lives[node] = life
        for digest, state in zip(digests, states, strict=True):
            cover = self._covers[digest]
            if state is None:
                cover.failed(node)
            else:
                self._states[digest][node] = state
                cover.answered(node, state.root)
            self._changed[digest] = None

    def failed(self, node: NodeId, digests: Sequence[Digest]) -> None:
        """A node was silent or refused."""
        for digest in digests:
            self._covers[digest].failed(node)
            self._changed[digest] = None

    def superseded(self, node: NodeId) -> None:
        """The life in which a node answered is over."""
        self._lives.pop(node, None)
        for digest, states in self._states.items():
            if states.pop(node, None) is not None:
                self._covers[digest].superseded(node)
                self._changed[digest] = None

    def findings(self) -> dict[Digest, CoverFinding]:
        """What is known by now."""
        return {digest: self._finding(digest) for digest in self._covers}

    def _finding(self, digest: Digest) -> CoverFinding:
        states = self._states[digest]
        newest = max(states.values(), key=lambda state: (state.root, state.held), default=ABSENT)
        return CoverFinding(
            covered=self._covers[digest].outcome is Outcome.COMMITTED,
            newest=newest,
            holders=tuple(node for node, state in states.items() if state.held),
        )


class CoverQuestion:
    """Asks the nodes that a survey names, this one without a message."""

    def __init__(
        self,
        membership: Membership,
        store: LocalRecordStore,
        transport: Transport,
        *,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self._membership = membership
        self._store = store
        self._transport = transport
        self._timeout_s = timeout_s

    async def ask(self, digests: Sequence[Digest]) -> dict[Digest, CoverFinding]:
        """A finding for each digest; raises what this node's own store raises."""
        distinct = list(dict.fromkeys(digests))
        found: dict[Digest, CoverFinding] = {}
        for start in range(0, len(distinct), DIGESTS_MAX):
            found |= await self._ask_some(distinct[start : start + DIGESTS_MAX])
        return found

    async def _ask_some(self, digests: Sequence[Digest]) -> dict[Digest, CoverFinding]:
        live, since = self._membership.layouts.live, self._membership.receiver_since
        survey = Survey({digest: live.placement(digest) for digest in digests})
        waiting: dict[asyncio.Task[tuple[Life, States] | None], Question] = {}
        arrived: asyncio.Queue[asyncio.Task[tuple[Life, States] | None]] = asyncio.Queue()
        try:
            while True:
                self._drop_superseded(survey)
                for question in survey.next_questions():
                    task = asyncio.create_task(self._answer(question, live))
                    task.add_done_callback(arrived.put_nowait)
                    waiting[task] = question
                if not waiting:
                    break
                task = await arrived.get()
                node, asked = waiting.pop(task)
                answer = task.result()
                if answer is None:
                    survey.failed(node, asked)
                else:
                    survey.answered(node, answer[0], asked, answer[1])
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        if live is not self._membership.layouts.live or since != self._membership.receiver_since:
            return dict.fromkeys(digests, UNKNOWN)
        return survey.findings()

    async def _answer(
        self, question: Question, live: LiveLayouts
    ) -> tuple[Life, States] | None:
        """States with the life that tells them; None when the node did not answer."""
        node, digests = question
        keys = tuple(RecordKey(digest) for digest in digests)
        membership = self._membership
        if node == membership.node:
            own = await self._store.stat(keys)
            votes = [membership.votes(digest.partition) for digest in digests]
            states = [state if vote else None for state, vote in zip(own, votes, strict=True)]
            return membership.life, states
        try:
            answer = await self._transport.call(
                node,
                StatRecords(keys),
                epochs=live.epochs,
                timeout_s=self._timeout_s,
                background=True,
            )
            told = expect(answer, StatesReply).states
            if len(told) != len(keys):
                raise PeerProtocol(f"{node} gave {len(told)} states for {len(keys)} records")
        except HoldfastError:
            return None
        return answer.life, told

    def _drop_superseded(self, survey: Survey) -> None:
        for node, life in survey.lives:
            if node != self._membership.node and not self._membership.knows_no_later(node, life):
                survey.superseded(node)
