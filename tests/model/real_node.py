"""A real node, made from an image of everything that it remembers, and imaged again afterwards.

What is real: `NodeService` with its `Membership` and layouts, the record store in memory, the
caretaker that answers other nodes.  Work on one message is done at once and wholly: what happens
between two steps of one store's operation is the business of the store's own tests.

Left out: the disk (a state is durable when it is there), how a process starts (the image is of one
that has introduced itself), and what is only counted or told to operators.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from copy import copy
from itertools import count
from typing import Any, TypeVar

from msgspec import Struct

from node.care_settings import CareSettings
from node.caretaker import Caretaker
from node.handler import Asker
from node.local_store import LocalRecordStore
from node.marker import ALL_PARTITIONS, Marker
from node.memory_disk import MemoryDisk
from node.memory_store import MemoryRecordStore
from node.record_change import RecordChange
from node.service import NodeService
from ring.control import Lives
from ring.digest import Buffer
from ring.errors import HoldfastError
from ring.layout import Layout, LiveLayouts
from ring.life import Knowledge, Life, NodeId
from ring.limits import GIB
from ring.messages import Answer, Request
from ring.record import RecordKey, RecordKind
from tests.fakes.manual_clock import ManualClock
from tests.fakes.served_request import served
from tests.model.frozen import Numbers
from tests.model.step_loop import step_loop

T = TypeVar("T")


class Image(Struct, frozen=True):
    """All that a node remembers.

    rows: row (node/record_row.py) by RecordKey.raw.  values: by key and kind.  dropped: records
    forgotten, by partition.  next_condemned: the number of the next condemnation.  heard: lives
    that answers told of.  epochs, earlier: of the layouts that live and of those that are over.
    """

    marker: Marker
    peers: Lives
    heard: Lives
    epochs: tuple[int, ...]
    earlier: tuple[int, ...] = ()
    receiver_since: int = 0
    rows: tuple[tuple[bytes, int], ...] = ()
    claims: tuple[tuple[bytes, bytes], ...] = ()
    floors: tuple[tuple[int, int], ...] = ()
    values: tuple[tuple[RecordKey, RecordKind, bytes], ...] = ()
    dropped: tuple[tuple[int, int], ...] = ()
    condemned: tuple[tuple[bytes, int], ...] = ()
    next_condemned: int = 1


class Message(Struct, frozen=True):
    """One request on its way.  asker: index of a node, -1 for a gateway."""

    asker: int
    node: int
    request: Request
    payload: bytes | None
    epochs: tuple[int, ...]


class Cluster(Struct, frozen=True):
    """What never changes: nodes by index, layouts by epoch, how nodes look after themselves."""

    nodes: tuple[NodeId, ...]
    layouts: dict[int, Layout]
    live: dict[tuple[int, ...], LiveLayouts]
    care: CareSettings


class _Nonce:
    """The nonce of a process; afterwards octets that nobody looks at."""

    def __init__(self, nonce: int) -> None:
        self._next = nonce

    def octets(self, size: int) -> bytes:
        return self._next.to_bytes(size, "big")


def nonce_of(node: int, incarnation: int, boot: int) -> int:
    """Of the only process that such a life has."""
    return 1 + node + 16 * boot + 256 * incarnation


class _Nowhere:
    """The transport of a node that only answers."""

    def call(self, node: NodeId, *_args: object, **_facts: object) -> Any:
        raise AssertionError(f"a question to {node} while answering another")


class RealNode:
    """One node of a cluster; `load` before anything else."""

    def __init__(self, cluster: Cluster, index: int, images: Numbers[Image]) -> None:
        self.index = index
        self.cluster = cluster
        self.clock = ManualClock()
        self._images = images
        self._loop = step_loop()
        self._disk = MemoryDisk(GIB)
        self._loaded: int | None = None
        self.service: NodeService
        self.store: MemoryRecordStore

    @property
    def node(self) -> NodeId:
        """Its name."""
        return self.cluster.nodes[self.index]

    def load(self, number: int) -> None:
        """Be the node of that image."""
        if self._loaded == number:
            return
        self._loaded = number
        image = self._images[number]
        self.store = store = MemoryRecordStore(self.clock)
        table = store.table
        vars(table.sums)["is_complete"] = True
        table.apply(
            RecordChange(
                rows=dict(image.rows), claims=list(image.claims), floors=dict(image.floors)
            )
        )
        vars(table.sums)["_dropped"].update(dict(image.dropped))
        store.values.values.update({(key, kind): value for key, kind, value in image.values})
        condemned = vars(store.disposal.condemned)
        condemned["_numbers"] = dict(image.condemned)
        condemned["_next"] = count(image.next_condemned)
        self._load_service(image, store)

    def _load_service(self, image: Image, store: MemoryRecordStore) -> None:
        async def opened() -> LocalRecordStore:
            return store

        nonce = nonce_of(self.index, image.marker.incarnation, image.marker.boot)
        with self._loop.running():
            self.service = service = NodeService(
                node=self.node,
                first_layout=self.cluster.layouts[1],
                disk=self._disk,
                open_store=opened,
                transport=_Nowhere(),
                clock=self.clock,
                randomness=_Nonce(nonce),
                accept_blank=True,
                care=self.cluster.care,
            )
        service.layouts.live = self.cluster.live[image.epochs]
        service.layouts.earlier = {one: self.cluster.layouts[one] for one in image.earlier}
        self._loop.finish(vars(service)["_holder"].open())
        membership = service.membership
        membership.marker = image.marker
        membership.receiver_since = image.receiver_since
        membership.settled.set()
        facts = vars(membership)
        facts["_knowledge"] = Knowledge(dict(image.peers))
        facts["_heard"] = Knowledge(dict(image.heard))
        facts["_sender"] = self._sender()

    def _sender(self) -> Any:
        vars_of = self.service.membership
        type(vars_of).__dict__["_refresh_sender"](vars_of)
        return vars_of.sender()

    def image(self) -> int:
        """The number of its image as it is now."""
        membership, store = self.service.membership, self.store
        table, facts = vars(store.table), vars(membership)
        assert membership.marker is not None
        marker = membership.marker
        if marker.voting is not ALL_PARTITIONS and marker.voting == ALL_PARTITIONS:
            marker = Marker(
                marker.cluster_id, marker.node, marker.incarnation, marker.boot, ALL_PARTITIONS
            )
        layouts = self.service.layouts
        layouts.live = self.cluster.live[layouts.live.epochs]  # the product looks whether it is it
        rows = tuple(sorted(table["_rows"].items()))
        condemned = vars(store.disposal.condemned)
        number = self._images.of(
            Image(
                marker=marker,
                peers=tuple(facts["_knowledge"].items()),
                heard=tuple(facts["_heard"].items()),
                epochs=self.service.layouts.live.epochs,
                earlier=tuple(sorted(self.service.layouts.earlier)),
                receiver_since=membership.receiver_since,
                rows=rows,
                claims=tuple(pair for key, _ in rows for pair in table["_claims"].rows(key)),
                floors=tuple(sorted(table["_floors"].items())),
                values=tuple(
                    (key, kind, value)
                    for (key, kind), value in sorted(store.values.values.items())
                ),
                dropped=tuple(sorted(vars(store.table.sums)["_dropped"].items())),
                condemned=tuple(sorted(condemned["_numbers"].items())),
                next_condemned=next(copy(condemned["_next"])),
            )
        )
        self._loaded = number
        return number

    def do(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Have the node do something that waits for nobody."""
        with self._loop.running():
            coro = work()
        return self._loop.finish(coro)

    def running(self) -> Any:
        """A context in which the node's own loop runs."""
        return self._loop.running()

    def answer(self, message: Message) -> Answer | HoldfastError:
        """What it says to a request, as the asker gets it."""
        service = self.service
        vars(service)["_caretaker"] = self._caretaker()
        by_peer = message.asker >= 0
        name = self.cluster.nodes[message.asker] if by_peer else "gateway"
        asker = Asker(name, by_peer, message.epochs)
        payload: Buffer | None = message.payload

        async def handled() -> Any:
            response = service.handle_now(message.request, asker)
            return response or await served(service, message.request, payload, asker)

        try:
            response = self.do(handled)
        except HoldfastError as error:
            return error.with_traceback(None)
        sender = service.sender()
        news = None if sender.peers == self._first_peers() else sender.peers
        return Answer(
            self.node, sender.life, response.voter, response.reply, response.payload, news
        )

    def _caretaker(self) -> Caretaker:
        with self._loop.running():
            return Caretaker(
                membership=self.service.membership,
                store=self.store,
                transport=_Nowhere(),
                clock=self.clock,
                settings=self.cluster.care,
                counters=self.service.counters,
                served=lambda: 0,
                incidents=self.service.incidents,
            )

    def _first_peers(self) -> Lives:
        """What whoever has talked to it before has heard already."""
        return first_lives(self.cluster, self.index)


def first_lives(cluster: Cluster, but: int) -> Lives:
    """The lives of all the others as they are at first."""
    return tuple(
        sorted(
            (node, Life(1, 1, nonce_of(index, 1, 1)))
            for index, node in enumerate(cluster.nodes)
            if index != but
        )
    )


def first_image(cluster: Cluster, index: int, epochs: tuple[int, ...]) -> Image:
    """A node that votes, knows everybody and has nothing."""
    marker = Marker(
        cluster.layouts[1].cluster_id, cluster.nodes[index], 1, 1, ALL_PARTITIONS
    )
    lives = first_lives(cluster, index)
    return Image(marker, lives, lives, epochs, tuple(range(1, epochs[0])))
