"""One client connection: takes requests in order, has them answered, ends.

Rules:
1.  One task per connection does everything that waits; the callbacks of the transport only queue.
2.  An error before the first byte of an answer becomes a problem; after it, the end of the
    connection (outbound.py).
3.  A client that goes away ends its reads; a write whose body has arrived runs to its end.
4.  Where a body was not read to its end, the connection ends with the answer, and what still comes
    is thrown away for a moment, so that the client reads the answer before it sees the end
    (RFC 9112 9.6).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from aiohttp import EMPTY_PAYLOAD, StreamReader
from aiohttp.http_parser import RawRequestMessage

from gateway.http.answer import Answer, Stream, head
from gateway.http.body import Body
from gateway.http.headers import NO_HEADERS
from gateway.http.outbound import Outbound
from gateway.http.phase import Phase, Watch
from gateway.http.problem import internal_problem, problem
from gateway.http.request import (
    STATUS_BROKEN_OFF,
    STATUS_CLIENT_GONE,
    UNPARSED,
    Request,
)
from gateway.http.service import Service
from ring.errors import Busy, DeadlineExceeded, HoldfastError, RequestTimeout

_GO_ON: Final = b""
_GO_ON_1_0: Final = b"Connection: keep-alive\r\n"
_CLOSE: Final = b"Connection: close\r\n"
_STORE_IS_LATE: Final = "the store did not answer in time"


class Connection(Outbound):
    """A protocol for the event loop's server.

    `alive` holds every connection from its first moment until nothing of it is left: neither its
    transport nor its task.  `on_end` is called then.
    """

    __slots__ = (
        "_alive",
        "_gave_up",
        "_no_body",
        "_on_end",
        "_request",
        "_service",
        "_task",
        "_watch",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        service: Service,
        alive: dict[Connection, None],
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(loop, service.config)
        self._service = service
        self._alive = alive
        self._on_end = on_end
        self._task: asyncio.Task[None] | None = None
        self._request: Request | None = None
        self._no_body = Body(self, EMPTY_PAYLOAD, 0, service.config.blob_bytes_max)
        self._watch = Watch(loop.time())
        self._gave_up = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._alive[self] = None
        self._service.metrics.connections_total += 1
        self._service.connections += 1
        if self._service.connections > self._config.connections_max:
            self._turn_away()
            return
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(self._check_end)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._service.connections -= 1
        if self._task is not None and self._request is not None and self._request.is_read:
            self._task.cancel()
        self._check_end(self._task)

    def stop(self) -> None:
        """End after the answer that is due, if any."""
        self._queue.clear()
        self._is_ended = True
        self._wake()

    def abort(self) -> asyncio.Task[None] | None:
        """End now; the task to wait for."""
        self.cut()
        if self._task is not None:
            self._task.cancel()
        return self._task

    def sweep(self, now_s: float) -> None:
        """Look whether somebody kept this connection waiting for too long."""
        in_body = self.phase is Phase.BODY
        if self._watch.is_overdue(
            self._config,
            now_s,
            self.phase,
            step=self.step,
            request=self.request,
            moved_bytes=self._payload.total_bytes if in_body else self.taken_bytes(),
        ):
            self._give_up()

    def _give_up(self) -> None:
        """The patience is over; what follows depends on who was being waited for."""
        match self.phase:
            case Phase.FRESH | Phase.IDLE:
                self.stop()
            case Phase.HEAD:
                self.refuse(RequestTimeout("the head of the request did not come to its end"))
            case Phase.BODY:
                self.refuse(RequestTimeout("the body came too slowly"))
            case Phase.STORE if self._task is not None:
                self._gave_up = True
                self._task.cancel()
            case Phase.ANSWER | Phase.LINGER | Phase.STORE:
                if self.phase is Phase.ANSWER:
                    self._service.metrics.failed("slow_reader")
                    self._service.faults.noticed("a client stopped reading", peer=self._peer())
                self.cut()

    async def _run(self) -> None:
        try:
            keeps = True
            while keeps and (incoming := await self.next_request()) is not None:
                if isinstance(incoming, HoldfastError):
                    keeps = await self._serve_unparsed(incoming)
                else:
                    keeps = await self._serve(*incoming)
            await self._linger()
        except Exception:  # noqa: BLE001 - top of a task: logged, counted, and the connection ends
            self._crashed(Request(UNPARSED, NO_HEADERS, self._no_body))
        finally:
            if self.transport is not None:
                self.enter(Phase.ANSWER)  # until the kernel has taken what is still buffered
                self.transport.close()

    async def _serve(self, message: RawRequestMessage, payload: StreamReader) -> bool:
        """Answer one request; whether the connection goes on."""
        started_s, sent_before = self._loop.time(), self.sent_bytes
        self.enter(Phase.STORE)
        body = self._no_body if payload is EMPTY_PAYLOAD else self._body(message, payload)
        request = self._request = Request(message.method, message.headers, body)
        try:
            answer = await self._answer(message, request)
            request.status = STATUS_BROKEN_OFF
            connection = self._connection_field(message, body)
            await self.send(answer, self._service.generic, connection, request.method)
            request.status = answer.status
            if answer.code:
                self._say(request, answer.code, answer.detail)
            return connection is not _CLOSE
        except HoldfastError as error:
            self._say(request, error.code, error.detail)
            return False
        except ConnectionError:
            request.status = STATUS_CLIENT_GONE
            return False
        except asyncio.CancelledError:
            if not self._gave_up:
                request.status = STATUS_CLIENT_GONE
                raise
            self._say(request, DeadlineExceeded.code, _STORE_IS_LATE)
            return False
        finally:
            self._request = None
            if request.is_admitted:
                self._service.admission.leave()
            self._service.metrics.done(
                (request.route, request.method, request.status),
                self._loop.time() - started_s,
                body.received,
                self.sent_bytes - sent_before,
            )

    async def _answer(self, message: RawRequestMessage, request: Request) -> Answer | Stream:
        """What the handler says, or the problem that came up instead."""
        try:
            handler = self._service.route(message, request)
            return await handler(request)
        except HoldfastError as error:
            return self._refusal(request, error)
        except asyncio.CancelledError:
            if not self._gave_up or self._task is None:
                raise
            self._task.uncancel()
            self._gave_up = False
            self._is_ended = True
            return self._refusal(request, DeadlineExceeded(_STORE_IS_LATE))
        except Exception:  # noqa: BLE001 - top of a request: answered, logged and counted
            if self.transport is None:
                raise ConnectionResetError("the client went away") from None
            self._crashed(request)
            return internal_problem(request.id)

    async def _serve_unparsed(self, error: HoldfastError) -> bool:
        """Say why something was no request; nothing can follow it."""
        self.enter(Phase.STORE)
        request = Request(UNPARSED, NO_HEADERS, self._no_body)
        answer = self._refusal(request, error)
        with contextlib.suppress(ConnectionError):
            await self.send(answer, self._service.generic, _CLOSE, UNPARSED)
            request.status = answer.status
        self._say(request, answer.code, answer.detail)
        self._service.metrics.done((request.route, request.method, request.status), 0.0, 0, 0)
        return False

    def _body(self, message: RawRequestMessage, payload: StreamReader) -> Body:
        length = None if message.chunked else message.headers.get("Content-Length")
        size_bytes = None if length is None else int(length)
        return Body(self, payload, size_bytes, self._config.blob_bytes_max)

    def _connection_field(self, message: RawRequestMessage, body: Body) -> bytes:
        """Whether the connection goes on after this answer, as the answer says it."""
        if message.should_close or not body.is_over:
            return _CLOSE
        if (self._had_last or self._is_ended) and not self._queue:
            return _CLOSE
        return _GO_ON if message.version == (1, 1) else _GO_ON_1_0

    async def _linger(self) -> None:
        """Throw away what the client still sends, until it ends or the patience is over."""
        transport = self.transport
        if transport is None or not (self._had_last or self._queue or self._body_is_open()):
            return
        self._queue.clear()
        self._had_last = True
        self._parser = None
        self.enter(Phase.LINGER)
        if transport.can_write_eof():
            transport.write_eof()
        self._resume_transport_reading()
        while self.transport is not None and not self._is_eof:
            await self._sleep()

    def _refusal(self, request: Request, error: HoldfastError) -> Answer:
        request.id = self._service.request_id()
        return problem(error, request_id=request.id, retry_after_s=self._config.retry_after_s)

    def _turn_away(self) -> None:
        """One connection too many: say so and end, without a task."""
        self._had_last = True
        self._service.metrics.connections_refused += 1
        error = Busy(f"{self._config.connections_max} connections are open, and more are not taken")
        answer = self._refusal(Request(UNPARSED, NO_HEADERS, self._no_body), error)
        generic, size_bytes = self._service.generic, len(answer.body)
        self._write(head(answer.status, generic, answer.fields, size_bytes, _CLOSE) + answer.body)
        self.enter(Phase.ANSWER)
        if self.transport is not None:
            self.transport.close()

    def _say(self, request: Request, code: str, detail: str) -> None:
        self._service.metrics.failed(code)
        self._service.faults.refused(request, code=code, detail=detail, peer=self._peer())

    def _crashed(self, request: Request) -> None:
        request.id = self._service.request_id()
        self._service.metrics.failed("crash")
        self._service.faults.crashed(request, peer=self._peer())

    def _peer(self) -> str:
        name = None if self.transport is None else self.transport.get_extra_info("peername")
        return f"{name[0]}:{name[1]}" if name else "-"

    def _check_end(self, _task: asyncio.Task[None] | None) -> None:
        """Whichever ends last, transport or task, ends the connection."""
        if self.transport is None and (self._task is None or self._task.done()):
            self._alive.pop(self, None)
            self._on_end()
