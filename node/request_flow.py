"""Requests of one connection: decoded, worked on within bounds, answered.

Rules:
1.  What needs no waiting is answered on the spot; the rest becomes a job (node/work.py).
2.  A broken request gets an error as its answer and costs nobody else anything; a bug in the
    handler likewise, without a word about its insides.
3.  Nothing is read while too much is under way: jobs here, jobs in all, bytes of large values in
    memory, answers that the asker does not fetch.  So an asker bounds itself, and nobody else.
4.  A large value is charged from before its first byte is received or read until it is stored or
    has left; one that waits for its turn waits in line.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import structlog

from node.connection import Connection
from node.frame_sender import payload_bytes, span_of
from node.handler import Asker, Response
from node.serving import Serving
from node.work import Job
from ring.codec import (
    RejectedRequest,
    RequestEnvelope,
    Sender,
    decode_request,
    encode_error,
    encode_reply,
    frame,
)
from ring.digest import Buffer
from ring.errors import BadRequest, DeadlineExceeded, HoldfastError, Internal, PeerProtocol
from ring.limits import PAYLOAD_SMALL_BYTES_MAX
from ring.messages import GetRecord, PutRecord

log = structlog.get_logger()

# Why nothing is read for the moment: bits of one number.
_OWN_JOBS: Final = 1
_ALL_JOBS: Final = 2
_PAYLOADS: Final = 4
_ANSWERS: Final = 8
_DRAINING: Final = 16


class RequestFlow:
    """What arrives on one admitted connection, and what goes back.

    bulk: values are expected to be large, so a read is charged before it is begun.
    """

    def __init__(
        self, serving: Serving, connection: Connection, asker: Asker, *, bulk: bool
    ) -> None:
        self._serving = serving
        self._handler = serving.handler
        self._connection = connection
        self._asker = asker
        self._bulk = bulk
        self._sender_told: Sender | None = None
        self._holds = 0
        self._jobs = 0
        self._arriving_bytes = 0
        self._granted_bytes = 0
        self._wanted_bytes = 0
        self._parked: tuple[RequestEnvelope, Asker] | None = None
        self._over = False

    @property
    def held(self) -> bool:
        """Whether it is us who do not read."""
        return self._holds != 0

    def drain(self) -> None:
        """Take no new requests."""
        self._hold(_DRAINING)

    def end(self) -> None:
        """The connection is over: give back what it had for what it did not get to do."""
        self._over = True
        self._serving.payloads.withdraw(self._payload_granted)
        self._serving.work.allowance.withdraw(self._jobs_granted)
        self._serving.payloads.give_back(self._arriving_bytes + self._granted_bytes)
        self._arriving_bytes = self._granted_bytes = 0

    def wrote(self) -> None:
        """Answers may have left."""
        if self._holds & _ANSWERS:
            limit = self._serving.settings.queued_bytes_max // 2
            if self._connection.sender.queued_bytes <= limit:
                self._release(_ANSWERS)

    def payload_buffer(self, size_bytes: int) -> memoryview | None:
        """See FrameReader: None until the bytes are granted."""
        if self._granted_bytes:
            assert self._granted_bytes == size_bytes, (self._granted_bytes, size_bytes)
            self._granted_bytes = 0
        elif not self._serving.payloads.take_now(size_bytes):
            self._wait_for_payload(size_bytes)
            return None
        self._arriving_bytes = size_bytes
        return self._serving.slots.take(size_bytes)

    def request(self, envelope: memoryview, payload: Buffer | None) -> None:
        """Serve one request; raises PeerProtocol for one that cannot even be refused."""
        charge, self._arriving_bytes = self._arriving_bytes, 0
        try:
            asked = decode_request(envelope)
            if (payload is None) is isinstance(asked.request, PutRecord):
                wrong = "carries no value" if payload is None else "must not carry a value"
                error = BadRequest(f"this {type(asked.request).__name__} {wrong}")
                raise RejectedRequest(asked.request_id, error)
        except RejectedRequest as rejected:
            self._serving.payloads.give_back(charge)
            self._serving.counters["requests_rejected_total"] += 1
            self._fail(rejected.request_id, rejected.error)
            return
        except PeerProtocol:
            self._serving.payloads.give_back(charge)
            raise
        asker = self._asker
        if asker.epochs != asked.epochs:
            asker = self._asker = Asker(
                asker.name, asker.is_peer, asked.epochs, takes_spans=asker.takes_spans
            )
        if payload is not None:
            if not self._begun(asked, payload, asker, charge):
                self._start(asked, payload, asker, charge)
        elif not self._answered_now(asked, asker):
            self._start_unless_parked(asked, asker)

    def _answered_now(self, asked: RequestEnvelope, asker: Asker) -> bool:
        try:
            response = self._handler.handle_now(asked.request, asker)
        except HoldfastError as error:
            self._fail(asked.request_id, error)
            return True
        except Exception as error:  # noqa: BLE001 - a bug must not cost the other requests
            self._fail_for_bug(asked.request_id, error)
            return True
        if response is None:
            return False
        size = _memory_bytes(response)
        charge = size if size > PAYLOAD_SMALL_BYTES_MAX else 0
        self._serving.payloads.overdraw(charge)
        self._answer(asked.request_id, response, charge)
        return True

    def _begun(
        self, asked: RequestEnvelope, payload: Buffer, asker: Asker, charge: int
    ) -> bool:
        """Whether the request has begun, or was refused."""
        try:
            begun = self._handler.begin(asked.request, payload, asker)
        except HoldfastError as error:
            self._fail(asked.request_id, error)
        except Exception as error:  # noqa: BLE001 - a bug must not cost the other requests
            self._fail_for_bug(asked.request_id, error)
        else:
            if begun is None:
                return False
            ended = partial(self._job_ended, asked.request_id, charge)
            self._serving.work.follow(begun, self._deadline(asked), ended)
            self._job_started()
            return True
        self._serving.payloads.give_back(charge)
        return True

    def _start_unless_parked(self, asked: RequestEnvelope, asker: Asker) -> None:
        request = asked.request
        charge = request.bytes_max if self._bulk and isinstance(request, GetRecord) else 0
        if not charge or self._serving.payloads.take_now(charge):
            self._start(asked, None, asker, charge)
        else:
            self._parked = asked, asker
            self._wait_for_payload(charge)

    def _start(
        self, asked: RequestEnvelope, payload: Buffer | None, asker: Asker, charge: int
    ) -> None:
        self._serving.work.start(
            self._handler.handle(asked.request, payload, asker),
            self._deadline(asked),
            partial(self._job_ended, asked.request_id, charge),
        )
        self._job_started()

    def _deadline(self, asked: RequestEnvelope) -> float:
        patience_s = min(asked.deadline_ms / 1000, self._serving.settings.deadline_s_max)
        return self._serving.loop.time() + patience_s

    def _job_started(self) -> None:
        serving = self._serving
        self._jobs += 1
        if self._jobs >= serving.settings.jobs_per_connection_max:
            self._hold(_OWN_JOBS)
        if serving.work.allowance.full and not self._holds & _ALL_JOBS:
            self._hold(_ALL_JOBS)
            serving.work.allowance.wait(0, self._jobs_granted)

    def _job_ended(self, number: int, charge: int, job: Job) -> None:
        self._jobs -= 1
        self._serving.counters["deadline_exceeded_total"] += job.expired
        try:
            response = job.response()
        except HoldfastError as error:
            self._fail(number, error)
        except asyncio.CancelledError:
            self._fail(number, DeadlineExceeded("the work was not done in time"))
        except Exception as error:  # noqa: BLE001 - the top of the job's task
            self._fail_for_bug(number, error)
        else:
            kept = min(charge, _memory_bytes(response))
            self._serving.payloads.give_back(charge - kept)
            charge = 0
            self._answer(number, response, kept)
        self._serving.payloads.give_back(charge)
        if self._holds & _OWN_JOBS:
            self._release(_OWN_JOBS)

    def _answer(self, number: int, response: Response, charge: int) -> None:
        """charge: bytes of the allowance that are free again when the answer has left."""
        payload = response.payload
        span = span_of(payload)
        try:
            assert span is None or self._asker.takes_spans, "a span cannot be encrypted"
            told = self._handler.sender()
            news = None if told is self._sender_told else told
            envelope = encode_reply(number, response.reply, voter=response.voter, sender=news)
            head = frame(envelope, None if payload is None else payload_bytes(payload))
        except Exception as error:  # noqa: BLE001 - an answer that cannot be sent is a bug
            self._has_left(response, charge)
            self._fail_for_bug(number, error)
            return
        self._sender_told = told
        sent = None if span is None and not charge else partial(self._has_left, response, charge)
        self._connection.sender.send(head, payload, None, sent)
        self._hold_behind_answers()

    def _has_left(self, response: Response, charge: int) -> None:
        span = span_of(response.payload)
        if span is not None:
            span.close()
        self._serving.payloads.give_back(charge)

    def _fail(self, number: int, error: HoldfastError) -> None:
        self._connection.sender.send(frame(encode_error(number, error)))
        self._hold_behind_answers()

    def _fail_for_bug(self, number: int, error: Exception) -> None:
        self._serving.counters["internal_errors_total"] += 1
        log.error("a request failed unexpectedly", asker=self._asker.name, exc_info=error)
        self._fail(number, Internal("the node failed unexpectedly; its log says how"))

    def _hold_behind_answers(self) -> None:
        if self._connection.sender.queued_bytes > self._serving.settings.queued_bytes_max:
            self._hold(_ANSWERS)

    def _wait_for_payload(self, size_bytes: int) -> None:
        self._hold(_PAYLOADS)
        self._wanted_bytes = size_bytes
        self._serving.payloads.wait(size_bytes, self._payload_granted)

    def _payload_granted(self) -> None:
        parked, self._parked = self._parked, None
        if parked is not None:
            asked, asker = parked
            self._start(asked, None, asker, self._wanted_bytes)
        else:
            self._granted_bytes = self._wanted_bytes
        self._release(_PAYLOADS)

    def _jobs_granted(self) -> None:
        self._release(_ALL_JOBS)

    def _hold(self, reason: int) -> None:
        if not self._holds:
            self._connection.hold_frames()
        self._holds |= reason

    def _release(self, reason: int) -> None:
        self._holds &= ~reason
        if not self._holds and not self._over:
            self._connection.release_frames()


def _memory_bytes(response: Response) -> int:
    return 0 if span_of(response.payload) is not None else payload_bytes(response.payload)
