"""The dialled end of a connection: admits the asker, then lets its requests flow.

Rules:
1.  Nothing is served before the asker proved the cluster secret, and a stranger holds little: one
    of few places, a small frame, no payload, a few seconds.
2.  A refusal, and the farewell to a peer that breaks the framing, is an error in words.
3.  A peer that leaves something half transferred is given up in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from node.connection import Connection
from node.handler import Asker
from node.handshake import (
    HANDSHAKE_BYTES_MAX,
    NONCE_BYTES,
    ConnectionClass,
    NodeHandshake,
    Role,
    refusal,
)
from node.request_flow import RequestFlow
from node.serving import Serving
from ring.codec import frame
from ring.digest import Buffer
from ring.errors import Busy, HoldfastError, PeerProtocol
from ring.limits import ENVELOPE_BYTES_MAX, PAYLOAD_BYTES_MAX

_GATEWAY_NAME: Final = "gateway"


class AskedConnection(Connection):
    """One connection of an asker.  made, over: called when it begins and when it has ended."""

    def __init__(
        self,
        serving: Serving,
        made: Callable[[AskedConnection], None],
        over: Callable[[AskedConnection], None],
    ) -> None:
        super().__init__(
            serving.loop, envelope_bytes_max=HANDSHAKE_BYTES_MAX, payload_bytes_max=0
        )
        self._serving = serving
        self._made = made
        self._over = over
        self._handshake: NodeHandshake | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._flow: RequestFlow | None = None
        self._seen = (0, 0)
        self._seen_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        serving = self._serving
        serving.counters["connections_total"] += 1
        serving.strangers += 1
        self._made(self)
        if serving.draining or serving.strangers > serving.settings.strangers_max:
            serving.counters["connections_refused_total"] += 1
            self.abort()
            return
        self._patience = self.loop.call_later(
            serving.settings.handshake_timeout_s, self._lose_patience
        )

    def ended(self, error: Exception | None) -> None:
        if self._flow is None:
            self._serving.strangers -= 1
        else:
            self._serving.admitted -= 1
            self._flow.end()
        self._stop_patience()
        self._over(self)

    def wrote(self) -> None:
        """See Connection."""
        super().wrote()
        if self._flow is not None:
            self._flow.wrote()

    def frame_received(self, envelope: memoryview, payload: Buffer | None) -> None:
        if self._flow is not None:
            self._flow.request(envelope, payload)
            return
        try:
            self._handshake_step(bytes(envelope))
        except HoldfastError as error:
            self._serving.counters["handshakes_failed_total"] += 1
            self._serving.log.warning("an asker was not admitted", error=error.detail)
            self._farewell(error)

    def payload_buffer(self, size_bytes: int) -> memoryview | None:
        assert self._flow is not None, "strangers may not send payloads"
        return self._flow.payload_buffer(size_bytes)

    def framing_broken(self, error: PeerProtocol) -> None:
        self._serving.counters["protocol_violations_total"] += 1
        self._serving.log.warning("a peer broke the protocol", error=error.detail)
        self._farewell(error)

    def drain(self) -> None:
        """Take no new requests; a stranger is sent away."""
        if self._flow is None:
            self.abort()
        else:
            self._flow.drain()

    def check_progress(self, now: float) -> None:
        """Give up on a peer that leaves something half transferred; called now and then."""
        seen = (self.received_bytes, self.sender.written_bytes)
        receiving = self.mid_frame and not (self._flow is not None and self._flow.held)
        if seen != self._seen or not (receiving or self.sender.queued_bytes > 0):
            self._seen, self._seen_at = seen, now
        elif now - self._seen_at > self._serving.settings.stall_s:
            self._serving.counters["connections_stalled_total"] += 1
            self.abort()

    def _handshake_step(self, envelope: bytes) -> None:
        serving = self._serving
        if self._handshake is None:
            life = serving.handler.sender().life
            nonce = serving.randomness.octets(NONCE_BYTES)
            self._handshake = NodeHandshake(serving.credentials, life, nonce)
            self.sender.send(frame(self._handshake.challenge(envelope)))
            return
        welcome = self._handshake.admit(envelope)
        if serving.admitted >= serving.settings.connections_max:
            raise Busy(f"{serving.admitted} connections are open, which is the limit")
        serving.strangers -= 1
        serving.admitted += 1
        self._stop_patience()
        is_peer = self._handshake.role is Role.NODE
        name = self._handshake.name if is_peer else _GATEWAY_NAME
        asker = Asker(name, is_peer, (), takes_spans=not self.encrypted)
        bulk = self._handshake.kind is not ConnectionClass.CONTROL
        self._flow = RequestFlow(serving, self, asker, bulk=bulk)
        self.envelope_bytes_max = ENVELOPE_BYTES_MAX
        self.payload_bytes_max = PAYLOAD_BYTES_MAX
        self.sender.send(frame(welcome))

    def _farewell(self, error: HoldfastError) -> None:
        self.stop_frames()
        self.sender.send(frame(refusal(error)))
        self.close()

    def _lose_patience(self) -> None:
        self._serving.counters["handshakes_failed_total"] += 1
        self.abort()

    def _stop_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
