"""Calls to nodes over TCP: the production `ring.seams.Transport`.

One connection to each node for each class of traffic (node/handshake.py), made when first needed.
What the gateway needs of the wire is named here.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Final

from node.asker_connection import AskerConnection
from node.handshake import NONCE_BYTES, AskerHandshake, ConnectionClass, Credentials
from node.link import Call, Link, LinkSettings, Unacknowledged
from node.payload_slots import PayloadSlots
from ring.address import Address
from ring.digest import Buffer
from ring.errors import BadRequest, Unreachable
from ring.life import Life, NodeId
from ring.limits import PAYLOAD_SMALL_BYTES_MAX
from ring.messages import Request
from ring.seams import Randomness

__all__ = ["Credentials", "LinkSettings", "PayloadSlots", "TcpTransport"]

AddressOf = Callable[[NodeId], str | None]


class TcpTransport:
    """See ring.seams.Transport.  To be made and used inside one running loop; `await close()`.

    credentials: who asks.  address_of: host:port of a node, asked at every attempt to connect, None
        for a node that is not known (any more).
    tls: encrypts every connection; the node's certificate must name the host of its address.
    slots: where large values arrive; a value returns there when its last view is gone.
    counters: what happened since the start, by name, for metrics.
    """

    def __init__(
        self,
        credentials: Credentials,
        address_of: AddressOf,
        randomness: Randomness,
        *,
        settings: LinkSettings | None = None,
        tls: ssl.SSLContext | None = None,
        slots: PayloadSlots | None = None,
    ) -> None:
        self._credentials = credentials
        self._address_of = address_of
        self._randomness = randomness
        self._settings = settings or LinkSettings()
        self._tls = tls
        self._slots = slots or PayloadSlots()
        self._links: dict[tuple[NodeId, ConnectionClass], Link] = {}
        self._unacknowledged: dict[NodeId, Unacknowledged] = {}
        self._closed = False
        self.counters: Counter[str] = Counter()

    def call(
        self,
        node: NodeId,
        request: Request,
        payload: Buffer | None = None,
        *,
        epochs: tuple[int, ...],
        timeout_s: float,
        background: bool = False,
        bulk: bool = False,
    ) -> Call:
        """See ring.seams.Transport; the call is a future."""
        if background:
            kind = ConnectionClass.BACKGROUND
        elif bulk or (payload is not None and len(payload) > PAYLOAD_SMALL_BYTES_MAX):
            kind = ConnectionClass.BULK
        else:
            kind = ConnectionClass.CONTROL
        link = self._links.get((node, kind)) or self._link(node, kind)
        return link.call(request, payload, epochs, timeout_s)

    def hang_up(self, node: NodeId) -> None:
        """Give up connections to a node on which calls wait and nothing came back of late.

        Called again and again while that lasts; each time says that it still does.
        """
        for kind in ConnectionClass:
            link = self._links.get((node, kind))
            if link is not None:
                link.hang_up_if_silent()

    async def close(self) -> None:
        """Fail every call under way and close every connection."""
        self._closed = True
        for link in list(self._links.values()):
            await link.close()

    def _link(self, node: NodeId, kind: ConnectionClass) -> Link:
        async def dial(link: Link) -> tuple[AskerConnection, Life]:
            return await self._dial(link, kind)

        link = self._links[node, kind] = Link(
            node,
            dial,
            settings=self._settings,
            unacknowledged=self._unacknowledged.setdefault(node, Unacknowledged()),
            randomness=self._randomness,
            counters=self.counters,
        )
        if self._closed:
            link.refuse()
        return link

    async def _dial(self, link: Link, kind: ConnectionClass) -> tuple[AskerConnection, Life]:
        """Connect and be welcome, or raise Unreachable or the node's refusal."""
        written = self._address_of(link.node)
        if written is None:
            raise Unreachable("no address is known")
        timeout_s: Final = self._settings.connect_timeout_s
        connection: AskerConnection | None = None
        loop = asyncio.get_running_loop()
        nonce = self._randomness.octets(NONCE_BYTES)
        handshake = AskerHandshake(self._credentials, link.node, kind, nonce)
        try:
            address = Address.parse(written)
            async with asyncio.timeout(timeout_s):
                _, connection = await loop.create_connection(
                    lambda: AskerConnection(loop, handshake, self._slots, link),
                    address.host,
                    address.port,
                    ssl=self._tls,
                )
                return connection, await connection.welcome
        except TimeoutError as error:
            raise Unreachable(f"{written} did not answer within {timeout_s} s") from error
        except (OSError, UnicodeError, BadRequest) as error:
            raise Unreachable(f"cannot connect to {written}: {error}") from error
        finally:
            if connection is not None and not _is_welcome(connection):
                connection.abort()


def _is_welcome(connection: AskerConnection) -> bool:
    welcome = connection.welcome
    return welcome.done() and not welcome.cancelled() and welcome.exception() is None
