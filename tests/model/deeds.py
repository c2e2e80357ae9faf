"""What actors do: operations of clients, each by a gateway of its own, and the duties of nodes.

Each is the product's own code over what an actor has; nothing is decided here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from functools import partial
from typing import Final

from gateway.coordinator import Coordinator
from gateway.hashing import Hashing
from gateway.permits import Permits
from gateway.proven_recipes import ProvenRecipes
from gateway.upload import Upload
from node.collection.collection import Collection
from node.heard_transport import HeardTransport
from node.incidents import Incidents
from node.rejoin import Rejoin
from node.repair.copier import Copier
from node.repair.handoff import Handoff
from node.repair.pace import Pace
from node.repair.peers import Peers
from node.repair.repair_queue import RepairTask
from ring.digest import Algorithm, Digest
from ring.errors import NotFound
from ring.limits import CHUNK_BYTES
from ring.record import RecordKey
from tests.model.actor import Main, Surroundings

OK: Final = ("ok",)
MISSING: Final = ("missing",)

# --- clients --------------------------------------------------------------------------------------


def _gateway(around: Surroundings, epochs: tuple[int, ...]) -> Coordinator:
    gateway = Coordinator(around.transport, around.cluster.layouts[epochs[0]])
    gateway.cluster.live = around.cluster.live[epochs]
    return gateway


async def _put(value: bytes, epochs: tuple[int, ...], around: Surroundings) -> Hashable:
    await _gateway(around, epochs).put(Digest.of(value), value)
    return OK


async def _delete(
    digest: Digest, epochs: tuple[int, ...], skip_trash: bool, around: Surroundings
) -> Hashable:
    await _gateway(around, epochs).delete(digest, skip_trash=skip_trash)
    return OK


async def _read(digest: Digest, epochs: tuple[int, ...], around: Surroundings) -> Hashable:
    try:
        stat = await _gateway(around, epochs).stat(digest)
    except NotFound:
        return MISSING
    return ("found", stat.generation, stat.confirmed)


class SmallUpload(Upload):
    """A large blob of tiny chunks, which the format does not know: it says that it is longer."""

    def pretend(self) -> None:
        """Two chunks that are the same one, and more bytes than one chunk has."""
        self._chunks *= 2
        self._size_bytes = CHUNK_BYTES + 1


async def _upload(
    algorithm: Algorithm, value: bytes, epochs: tuple[int, ...], around: Surroundings
) -> Hashable:
    gateway = _gateway(around, epochs)
    permits = Permits(4, 1.0)
    upload = SmallUpload(
        gateway.records,
        Hashing(),
        permits,
        ProvenRecipes(),
        digest=Digest.of(value, algorithm),
        algorithm=algorithm,
    )
    try:
        await permits.acquire()
        await upload.take(value)
        upload.pretend()
        await upload.commit()
    finally:
        await upload.abort()
    return OK


def put(value: bytes, epochs: tuple[int, ...]) -> Main:
    """PUT of a small blob."""
    return partial(_put, value, epochs)


def delete(digest: Digest, epochs: tuple[int, ...], *, skip_trash: bool) -> Main:
    """DELETE."""
    return partial(_delete, digest, epochs, skip_trash)


def read(digest: Digest, epochs: tuple[int, ...]) -> Main:
    """HEAD: MISSING, or "found" with the generation and whether a quorum confirmed it."""
    return partial(_read, digest, epochs)


def upload(algorithm: Algorithm, value: bytes, epochs: tuple[int, ...]) -> Main:
    """PUT of a large blob whose only chunk is `value`; its digest is that of the chunk."""
    return partial(_upload, algorithm, value, epochs)


# --- nodes ----------------------------------------------------------------------------------------


def _peers(around: Surroundings) -> Peers:
    own = around.own
    return Peers(own.membership, HeardTransport(around.transport, own.membership), 1.0)


async def _repair(
    digest: Digest, absent: tuple[str, ...], hinted: bool, around: Surroundings
) -> Hashable:
    own, repair = around.own, around.cluster.care.repair
    copier = Copier(
        own.membership,
        own.store,
        _peers(around),
        Pace(repair, lambda: 0),
        Counter(),
        incidents=Incidents(own.clock),
        copies_at_once=1,
    )
    copier.absent = absent  # type: ignore[assignment]  # node ids are texts
    retired = own.membership.layouts.live.retired  # hints of these are refused
    me = own.membership.node
    others = tuple(node for node in around.cluster.nodes if node not in {me, *retired})
    askable = others if hinted else ()
    await copier.attend([RepairTask(RecordKey(digest), "model", 0.0, askable=askable)])
    return OK


async def _handoff(absent: tuple[str, ...], around: Surroundings) -> Hashable:
    own = around.own
    handoff = Handoff(
        own.membership, own.store, _peers(around), Counter(), Incidents(own.clock)
    )
    await handoff.round(absent)  # type: ignore[arg-type]  # node ids are texts
    return OK


async def _collect(around: Surroundings) -> Hashable:
    own = around.own
    collection = Collection(
        membership=own.membership,
        store=own.store,
        transport=HeardTransport(around.transport, own.membership),
        clock=own.clock,
        settings=around.cluster.care.collection,
        counters=Counter(),
    )
    await collection.round()
    return OK


async def _rejoin(around: Surroundings) -> Hashable:
    own = around.own
    rejoin = Rejoin(
        own.membership, own.store, HeardTransport(around.transport, own.membership)
    )
    await rejoin._compare()  # noqa: SLF001 - `run` does it again and again, for ever
    return OK


def repair(digest: Digest, absent: tuple[str, ...] = (), *, hinted: bool = False) -> Main:
    """Look at one record.  hinted: as if every other node had told of it."""
    return partial(_repair, digest, absent, hinted)


def handoff(absent: tuple[str, ...] = ()) -> Main:
    """Hand over what is kept for others."""
    return partial(_handoff, absent)


def collect() -> Main:
    """One look through everything: trash, chunks, tombstones."""
    return _collect


def rejoin() -> Main:
    """One comparison with everybody."""
    return _rejoin
