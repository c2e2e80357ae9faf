"""Keeps watch over nodes: tells `ring/suspicion.py` what calls come to, and tries suspects.

Rules:
1.  A round is a timer that runs only while there is something to judge.
2.  A probe is a question that the node was asked before: real work, at most one under way for each
    node and lane.  Writes are never repeated as probes; clients' own writes go to suspects too.
3.  The connections to a suspect that says nothing at all are given up, so that they are made anew:
    what a network swallowed is sent again later and later, and the node would be back long before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from ring.errors import (
    Corrupt,
    DigestMismatch,
    DiskFull,
    LayoutUnknown,
    Unreachable,
    WrongEpoch,
)
from ring.life import NodeId
from ring.messages import Answer, Request
from ring.suspicion import PROBED, Lane, Suspicion, Tally

PROBE_TIMEOUT_S: Final = 1.0
NO_FAULTS: Final = (Corrupt, DigestMismatch, DiskFull, LayoutUnknown, WrongEpoch)
"""Errors that a well node answers with, at once."""

log = structlog.get_logger()


class Probe(Protocol):
    """How to ask a node once more; see Vigil."""

    def __call__(self, node: NodeId, request: Request, *, bulk: bool) -> asyncio.Future[Answer]:
        """A call with a deadline of PROBE_TIMEOUT_S."""


def _keep(node: NodeId) -> None:
    """Where connections are not made, none is given up."""


def _nothing() -> None:
    """Nobody has to be told."""


class Vigil:
    """One per gateway.  Must be made inside a running loop.

    hang_up: gives up the connections to a node on which nothing comes back.  when_suspect: called
    as a node becomes suspect.
    """

    def __init__(self, probe: Probe) -> None:
        self.suspicion = Suspicion()
        self.hang_up: Callable[[NodeId], None] = _keep
        self.when_suspect: Callable[[], None] = _nothing
        self.probes_total = 0
        self._probe = probe
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._idle_rounds = 0
        self._is_closed = False
        self._probing: dict[Tally, asyncio.Future[Answer]] = {}
        self._suspects: dict[NodeId, list[Lane]] = {}

    def asked(self, tally: Tally, request: Request) -> None:
        """A call is made."""
        tally.asked += 1
        tally.question = request
        if self._timer is None:
            self._begin()

    def ended(
        self,
        tally: Tally,
        error: BaseException | None,
        asked_at_s: float,
        is_voter: bool = True,  # noqa: FBT001, FBT002 - by position, because every answer pays for it
    ) -> None:
        """A call has come to an answer, or to an error; not for calls that were cancelled.

        is_voter: a node that may not vote is as good as silent to whoever reads.
        """
        now_s = self._loop.time()
        if error is None and is_voter and not tally.doubted:
            # What Suspicion.answered would do, without a call: nearly every answer comes here.
            tally.good += 1
            tally.failures = 0
            tally.elapsed_s += now_s - asked_at_s
        elif error is None or isinstance(error, NO_FAULTS):
            if not is_voter and tally.lane in PROBED:
                self.failed(tally)
                return
            self.suspicion.answered(tally, now_s - asked_at_s, now_s)
            self._tell()
        elif isinstance(error, Unreachable):
            self.failed(tally)
        else:
            self.suspicion.late(tally, now_s)

    def late(self, node: NodeId, lane: Lane) -> None:
        """Others were asked because this node took too long."""
        self.suspicion.late(self.suspicion.tallies(node)[lane], self._loop.time())

    def failed(self, tally: Tally) -> None:
        """It cannot be reached, or its answers are of no use."""
        total = self.suspicion.suspected_total
        self.suspicion.failed(tally, self._loop.time())
        if self.suspicion.suspected_total != total:
            self._tell()
            if self._timer is None:
                self._begin()

    def close(self) -> None:
        """Watch no more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for probe in list(self._probing.values()):
            probe.cancel()

    def _begin(self) -> None:
        if self._is_closed:
            return
        self._idle_rounds = 0
        self.suspicion.begin(self._loop.time())
        self._timer = self._loop.call_later(self.suspicion.settings.round_s, self._round)

    def _round(self) -> None:
        self._timer = None
        settings, now_s = self.suspicion.settings, self._loop.time()
        is_idle = self.suspicion.is_idle()
        self.suspicion.judge(now_s)
        self._tell()
        self._send_probes()
        for node in self.suspicion.mute(now_s):
            self.hang_up(node)
        self._idle_rounds = self._idle_rounds + 1 if is_idle else 0
        rounds_max = settings.quiet_rounds_max if self.suspicion.has_doubts else 1
        if self._idle_rounds <= rounds_max and not self._is_closed:
            self._timer = self._loop.call_later(settings.round_s, self._round)

    def _send_probes(self) -> None:
        for tally in self.suspicion.probes(self._loop.time()):
            question = tally.question
            if question is None or tally in self._probing or self._is_closed:
                continue
            self.probes_total += 1
            asked_at_s = self._loop.time()
            is_bulk = tally.lane is Lane.VALUES
            probe = self._probe(tally.node, question, bulk=is_bulk)
            self._probing[tally] = probe
            probe.add_done_callback(
                lambda probe, tally=tally, asked_at_s=asked_at_s: self._probed(  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
                    probe, tally, asked_at_s
                )
            )

    def _probed(self, probe: asyncio.Future[Answer], tally: Tally, asked_at_s: float) -> None:
        del self._probing[tally]
        if probe.cancelled():
            return
        error = probe.exception()
        is_voter = error is not None or probe.result().voter
        self.ended(tally, error, asked_at_s, is_voter=is_voter)
        if error is None and is_voter:
            self._send_probes()  # the next one may be due by now

    def _tell(self) -> None:
        """Log who became suspect and who is well again."""
        suspects = self.suspicion.suspects()
        if suspects == self._suspects:
            return
        before, self._suspects = self._suspects, suspects
        for node, lanes in suspects.items():
            if set(lanes) - set(before.get(node, ())):
                names = [lane.name.lower() for lane in lanes]
                log.warning("a node is passed over: it does not do its work", node=node, at=names)
                self.when_suspect()
        for node in before:
            if node not in suspects:
                log.info("a node does its work again", node=node)
