"""Health, readiness and metrics of a node over plain HTTP, beside the node protocol.

    GET /healthz   200 while the process answers at all
    GET /readyz    200 when this node votes, else 503 with the reason in words
    GET /metrics   the Prometheus text format

Nothing here changes anything or needs the cluster secret, so it may be reached by whoever watches.
One request a connection, HTTP/1.0 style, and by hand: an HTTP framework would be a third of the
memory of an idle node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from node.care_metrics import care_families
from node.counter_words import words_of
from ring.address import Address
from ring.control import StatusReply
from ring.errors import BadRequest, HoldfastError
from ring.limits import KIB
from ring.operating import CareReply

CONNECTIONS_MAX: Final = 64
REQUEST_S: Final = 5.0
HEAD_BYTES_MAX: Final = 16 * KIB
_TEXT: Final = "text/plain; charset=utf-8"
_VOTER: Final = "voter"

AskStatus = Callable[[], Awaitable[StatusReply]]
AskCare = Callable[[], Awaitable[CareReply | None]]


class NodeHealth:
    """An HTTP server.  `await start()`, later `await stop()`.

    status: how the node is.  care: what goes on in the background.  counters: further counters for
    /metrics, by the prefix of their names.
    """

    def __init__(
        self, status: AskStatus, care: AskCare, counters: Mapping[str, Mapping[str, int]]
    ) -> None:
        self._status = status
        self._care = care
        self._counters = counters
        self._stopping = False
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[None], None] = {}

    async def start(self, address: Address) -> Address:
        """Listen; the address that it became.  Raises BadRequest."""
        try:
            self._server = await asyncio.start_server(
                self._accept, address.host, address.port, limit=HEAD_BYTES_MAX
            )
        except OSError as error:
            raise BadRequest(f"cannot listen on {address}: {error.strerror}") from error
        return Address(address.host, int(self._server.sockets[0].getsockname()[1]))

    def drain(self) -> None:
        """From now on not ready: who balances load should send nothing here."""
        self._stopping = True

    async def stop(self) -> None:
        """Close everything; idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._serving) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving[task] = None
        task.add_done_callback(self._serving.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, within REQUEST_S; whoever is slower or breaks off gets nothing."""
        try:
            async with asyncio.timeout(REQUEST_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._answer(head.split(b" ", 2)))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            writer.close()

    async def _answer(self, words: list[bytes]) -> bytes:
        method, path = [*words, b""][:2]
        if method not in {b"GET", b"HEAD"}:
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD\n")
        with_body = method == b"GET"
        match path.partition(b"?")[0]:
            case b"/healthz":
                return _response(HTTPStatus.OK, "ok\n", with_body=with_body)
            case b"/readyz":
                reason = await self._why_not_ready()
                status = HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK
                return _response(status, f"{reason or 'ready'}\n", with_body=with_body)
            case b"/metrics":
                return await self._metrics(with_body=with_body)
        return _response(HTTPStatus.NOT_FOUND, "see /healthz, /readyz, /metrics\n")

    async def _why_not_ready(self) -> str:
        if self._stopping:
            return "the node is stopping"
        try:
            status = await self._status()
        except HoldfastError as error:
            return error.detail
        return "" if status.state == _VOTER else f"{status.state}: {status.reason}"

    async def _metrics(self, *, with_body: bool) -> bytes:
        registry = CollectorRegistry()
        try:
            status, care = await self._status(), await self._care()
            registry.register(_Snapshot(status, care, self._counters))
        except HoldfastError as error:
            return _response(HTTPStatus.SERVICE_UNAVAILABLE, f"{error.detail}\n")
        text = generate_latest(registry).decode()
        return _response(HTTPStatus.OK, text, CONTENT_TYPE_LATEST, with_body=with_body)


def _response(
    status: HTTPStatus, text: str, kind: str = _TEXT, *, with_body: bool = True
) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + (body if with_body else b"")


class _Snapshot(Collector):
    """One status as metric families."""

    def __init__(
        self,
        status: StatusReply,
        care: CareReply | None,
        counters: Mapping[str, Mapping[str, int]],
    ) -> None:
        self._status = status
        self._care = care
        self._counters = counters

    def collect(self) -> list[Metric]:
        status = self._status
        state = GaugeMetricFamily(
            "holdfast_node_state", "1 for the state that the node is in", labels=("state",)
        )
        state.add_metric((status.state,), 1)
        families: list[Metric] = [
            state,
            GaugeMetricFamily(
                "holdfast_node_records", "Records, tombstones included", value=status.records
            ),
            GaugeMetricFamily(
                "holdfast_node_bytes_stored", "Bytes of values", value=status.bytes_stored
            ),
            GaugeMetricFamily("holdfast_node_bytes_free", "Room left", value=status.bytes_free),
        ]
        groups = {"holdfast_node": dict(status.counters), **self._counters}
        families += [
            CounterMetricFamily(
                f"{prefix}_{name.removesuffix('_total')}", words_of(name), value=value
            )
            for prefix, counters in groups.items()
            for name, value in sorted(counters.items())
        ]
        return families if self._care is None else families + care_families(self._care)
