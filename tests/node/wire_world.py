"""A server and transports on real sockets, as tests want them."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from node.handler import RequestHandler
from node.server import NodeServer, ServerSettings
from node.transport import Credentials, LinkSettings, TcpTransport
from ring.address import Address
from ring.life import NodeId
from tests.fakes.numbered_randomness import NumberedRandomness

CLUSTER: Final = "c1"
SECRET: Final = b"a secret of tests"
NODE: Final = NodeId("n1")
ABSENT: Final = NodeId("n9")
_TLS: Final = Path(__file__).parent / "tls"

FAST_RETRIES: Final = LinkSettings(retry_s_min=0.005, retry_s_max=0.02)


def server_tls() -> ssl.SSLContext:
    """What a node shows."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(_TLS / "certificate.pem", _TLS / "key.pem")
    return context


def asker_tls() -> ssl.SSLContext:
    """What an asker trusts."""
    return ssl.create_default_context(cafile=str(_TLS / "certificate.pem"))


@contextlib.asynccontextmanager
async def serving(
    handler: RequestHandler,
    *,
    settings: ServerSettings | None = None,
    tls: bool = False,
    port: int = 0,
) -> AsyncIterator[tuple[NodeServer, Address]]:
    """A server of node n1 on a port of its own."""
    server = NodeServer(
        handler,
        Credentials.of_node(CLUSTER, NODE, SECRET),
        NumberedRandomness(1),
        settings=settings,
        tls=server_tls() if tls else None,
    )
    address = await server.start("127.0.0.1", port)
    try:
        yield server, address
    finally:
        await server.drain(timeout_s=5.0)


@contextlib.asynccontextmanager
async def asking(
    address: Address,
    *,
    credentials: Credentials | None = None,
    settings: LinkSettings = FAST_RETRIES,
    tls: bool = False,
) -> AsyncIterator[TcpTransport]:
    """A transport that finds every node but ABSENT at `address`."""
    transport = TcpTransport(
        credentials or Credentials.of_gateway(CLUSTER, SECRET),
        lambda node: None if node == ABSENT else str(address),
        NumberedRandomness(2),
        settings=settings,
        tls=asker_tls() if tls else None,
    )
    try:
        yield transport
    finally:
        await transport.close()
