"""What the connections of one door share: the routes, the bounds, the books."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate
from typing import Final

from aiohttp.http_parser import RawRequestMessage
from prometheus_client import CollectorRegistry, ProcessCollector

from gateway.http.admission import Admission
from gateway.http.blobs import BlobHandlers
from gateway.http.config import HttpConfig
from gateway.http.fault_log import FaultLog
from gateway.http.host import check_host
from gateway.http.metrics import DoorMetrics
from gateway.http.operator_views import OperatorHandlers, OperatorViews
from gateway.http.request import Handler, Request, Route
from gateway.http.router import Router
from ring.errors import BadRequest
from ring.seams import BlobStore, Clock, Randomness

_VERSIONS: Final = ((1, 0), (1, 1))
_HOSTS_REMEMBERED: Final = 256
_ID_BYTES: Final = 4


class Service:
    """One per door; connections come and go."""

    def __init__(
        self,
        store: BlobStore,
        views: OperatorViews,
        config: HttpConfig,
        *,
        clock: Clock,
        randomness: Randomness,
        registry: CollectorRegistry,
    ) -> None:
        self.config = config
        self.admission = Admission(config)
        self.faults = FaultLog(config.fault_lines_max)
        self.operators = OperatorHandlers(views, registry)
        self.metrics = DoorMetrics(
            {
                "requests_in_flight": lambda: self.admission.requests,
                "body_bytes_in_flight": lambda: self.admission.body_bytes,
                "refused_busy": lambda: self.admission.refused,
                "connections_open": lambda: self.connections,
            }
        )
        registry.register(self.metrics)
        ProcessCollector(registry=registry)
        self.connections = 0
        self.generic = b""
        self._router = Router(_routes(BlobHandlers(store, self.admission), self.operators))
        self._clock = clock
        self._hosts: dict[str, None] = {}
        self._id_prefix = randomness.octets(_ID_BYTES).hex()
        self._ids = 0
        self.refresh()

    def refresh(self) -> None:
        """Once per sweep: the date that answers carry, room in the log."""
        date = formatdate(self._clock.now_s(), usegmt=True)
        self.generic = f"Server: holdfast\r\nDate: {date}\r\n".encode("ascii")
        self.faults.sweep()

    def request_id(self) -> str:
        """A name for a request that went wrong, the same in the answer and in the log."""
        self._ids += 1
        return f"{self._id_prefix}-{self._ids}"

    def route(self, message: RawRequestMessage, request: Request) -> Handler:
        """Find out what a parsed head asks for, and let it in.

        Raises what router.py, host.py and admission.py raise.
        """
        headers = message.headers
        if message.version not in _VERSIONS:
            raise BadRequest("only HTTP/1.0 and HTTP/1.1 are spoken here")
        host = headers.get("Host")
        if host is None:
            host = ""  # HTTP/1.0; the parser refuses HTTP/1.1 without it
        elif host not in self._hosts:
            check_host(host)
            if len(self._hosts) >= _HOSTS_REMEMBERED:
                self._hosts.clear()
            self._hosts[host] = None
        route, request.digest, request.parameters = self._router.find(
            request.method, message.path, host
        )
        request.route = route.name
        request.is_read = not route.writes
        if "Expect" in headers:
            request.body.expect(headers["Expect"])
        if route.counted:
            self.admission.enter()
            request.is_admitted = True
        return route.handler


def _routes(blobs: BlobHandlers, operators: OperatorHandlers) -> Mapping[str, Mapping[str, Route]]:
    def operator(name: str, handler: Handler) -> Mapping[str, Route]:
        route = Route(name, handler, counted=False)
        return {"GET": route, "HEAD": route}

    begin = Route("gc", operators.collect, counted=False, writes=True)
    page = Route("list", blobs.page, parameters=("after", "limit"))
    post = Route("blobs", blobs.post, parameters=("algo",), writes=True)
    return {
        "/v1/blobs": {"GET": page, "HEAD": page, "POST": post},
        "/v1/blobs/{digest}": {
            "GET": Route("blob", blobs.get),
            "HEAD": Route("blob", blobs.head),
            "PUT": Route("blob", blobs.put, writes=True),
            "DELETE": Route("blob", blobs.delete, parameters=("now",), writes=True),
        },
        "/healthz": operator("healthz", operators.health),
        "/readyz": operator("readyz", operators.ready),
        "/metrics": operator("metrics", operators.metrics),
        "/v1/status": operator("status", operators.status),
        "/v1/admin/where/{digest}": operator("where", operators.where),
        "/v1/admin/why/{digest}": operator("why", operators.why),
        "/v1/admin/repair": {
            **operator("repair", operators.care),
            "POST": Route("repair", operators.repair, counted=False, writes=True),
        },
        "/v1/admin/scrub": {
            **operator("scrub", operators.care),
            "POST": Route("scrub", operators.scrub, counted=False, writes=True),
        },
        "/v1/admin/undelete/{digest}": {"POST": Route("undelete", blobs.undelete, writes=True)},
        "/v1/admin/gc": {**operator("gc", operators.garbage), "POST": begin},
    }
