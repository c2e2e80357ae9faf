"""The dialling end of a connection: proves itself, then hands answers to its link."""

from __future__ import annotations

import asyncio
from typing import Protocol

from node.connection import Connection
from node.handshake import HANDSHAKE_BYTES_MAX, AskerHandshake
from node.payload_slots import PayloadSlots
from ring.codec import frame
from ring.digest import Buffer
from ring.errors import HoldfastError, PeerProtocol, Unreachable
from ring.life import Life
from ring.limits import ENVELOPE_BYTES_MAX, PAYLOAD_BYTES_MAX


class AnswerTaker(Protocol):
    """Who asked."""

    def answered(self, envelope: memoryview, payload: Buffer | None) -> None:
        """An answer; raises PeerProtocol, which ends the connection."""

    def lost(self, error: HoldfastError) -> None:
        """The connection, once welcome, is over."""


class AskerConnection(Connection):
    """One connection to a node.  `welcome` is done when it may be used, or never will be."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handshake: AskerHandshake,
        slots: PayloadSlots,
        taker: AnswerTaker,
    ) -> None:
        super().__init__(loop, envelope_bytes_max=HANDSHAKE_BYTES_MAX, payload_bytes_max=0)
        self._handshake = handshake
        self._slots = slots
        self._taker = taker
        self._life: Life | None = None
        self._open = False
        self._reason: HoldfastError | None = None
        self.answers = 0
        self.welcome: asyncio.Future[Life] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.sender.send(frame(self._handshake.hello))

    def frame_received(self, envelope: memoryview, payload: Buffer | None) -> None:
        if self._open:
            self.answers += 1
            self._taker.answered(envelope, payload)
            return
        try:
            self._handshake_step(bytes(envelope))
        except HoldfastError as error:
            self._refuse(error)

    def payload_buffer(self, size_bytes: int) -> memoryview:
        return self._slots.take(size_bytes)

    def framing_broken(self, error: PeerProtocol) -> None:
        self._refuse(error)

    def ended(self, error: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(None)
        reason = self._reason
        if reason is None:
            words = "the connection broke" if error is None else f"the connection broke: {error}"
            reason = Unreachable(words)
        if self._open:
            self._open = False
            self._taker.lost(reason)
        elif not self.welcome.done():
            self.welcome.set_exception(reason)
            self.welcome.exception()  # nobody may be waiting any more, which is no fault

    def _handshake_step(self, envelope: bytes) -> None:
        if self._life is None:
            proof, self._life = self._handshake.prove(envelope)
            self.sender.send(frame(proof))
            return
        self._handshake.welcomed(envelope)
        self.envelope_bytes_max = ENVELOPE_BYTES_MAX
        self.payload_bytes_max = PAYLOAD_BYTES_MAX
        if not self.welcome.done():
            self._open = True
            self.welcome.set_result(self._life)

    def _refuse(self, error: HoldfastError) -> None:
        self._reason = error
        self.abort()
