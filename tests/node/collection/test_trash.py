"""How long deleted bytes wait, what operators are told, and the rhythm of it all."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from node.care_settings import CareSettings
from node.collection.collection_settings import DAY_S, CollectionSettings
from node.memory_store import CAPACITY_BYTES
from node.repair.repair_settings import RepairSettings
from ring.digest import Digest
from ring.purging import CollectGarbage, CollectionReply
from ring.record import ABSENT, RecordKey, RecordKind, dead
from tests.fakes.manual_clock import ManualClock
from tests.fakes.small_cluster import BLOB, DIGEST, SmallNode, small_cluster
from tests.fakes.virtual_time import in_virtual_time
from tests.node.collection.gone import SETTINGS, Collected, bury, collected, large_blob

ASKED = ("tombstones", "stays: every node that may lack the delete has to hold it first")
RESTLESS = CareSettings(
    repair=RepairSettings(interval_s=1_000_000.0),
    collection=CollectionSettings(grace_s=0, trash_s=0, interval_s=1, interval_max_s=2),
)


async def trashed(node: SmallNode, data: bytes, at_s: float = 0) -> RecordKey:
    """Deleted that many seconds after its clock began."""
    key = RecordKey(Digest.of(data))
    await node.store.put_root(key, RecordKind.DATA, len(data), 1, data)
    clock = node.store._clock  # noqa: SLF001 - the node's own, which nobody else needs
    assert isinstance(clock, ManualClock)
    clock.seconds += at_s
    await node.store.bury(key, 1, keep_value=True)
    clock.seconds -= at_s
    return key


async def report(one: Collected) -> dict[tuple[str, str], tuple[int, int]]:
    response = await one.collection.handle(CollectGarbage(begin=False))
    assert response is not None
    assert isinstance(response.reply, CollectionReply)
    assert response.reply.complete
    return {
        (tally.what, f"{tally.fate}: {tally.why}"): (tally.records, tally.size_bytes)
        for tally in response.reply.tallies
    }


@in_virtual_time
async def test_trash_goes_when_its_time_is_over_and_its_tombstone_stays() -> None:
    async with small_cluster() as cluster:
        node = cluster.owners(DIGEST)[0]
        await trashed(node, BLOB)
        one = collected(cluster, node)
        one.later(DAY_S - 1)
        await one.collection.round()
        assert node.state_of(DIGEST).in_trash

        one.later(1)
        await one.collection.round()
        assert node.state_of(DIGEST).root == dead(1)
        assert not node.holds(DIGEST)
        assert one.counters["trash_discarded_bytes_total"] == len(BLOB)


@in_virtual_time
async def test_a_clock_that_jumped_keeps_no_trash_for_ever() -> None:
    async with small_cluster() as cluster:
        node = cluster.owners(DIGEST)[0]
        await trashed(node, BLOB, at_s=1_000 * DAY_S)
        one = collected(cluster, node)
        await one.collection.round()

        assert not node.holds(DIGEST)


@in_virtual_time
async def test_when_room_is_short_the_oldest_trash_goes_first() -> None:
    async with small_cluster() as cluster:
        node = cluster.owners(DIGEST)[0]
        old = await trashed(node, b"old" * 100, at_s=1)
        older = await trashed(node, b"older" * 100)
        new = await trashed(node, b"new" * 100, at_s=2)
        await cluster.store(b"kept", on=[node])
        used = node.store.usage().bytes_stored
        least = CAPACITY_BYTES - used + 600
        one = collected(cluster, node, replace(SETTINGS, free_bytes_min=least, room_interval_s=5))
        running = asyncio.ensure_future(one.collection.run())
        await asyncio.sleep(6)

        assert [node.holds(key.digest) for key in (older, old, new)] == [False, False, True]
        assert node.holds(Digest.of(b"kept"))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@in_virtual_time
async def test_operators_are_told_what_goes_and_why_and_nothing_happens() -> None:
    async with small_cluster() as cluster:
        first, *others = cluster.nodes.values()
        gone = await large_blob(cluster, b"gone")
        await large_blob(cluster, b"kept")
        await bury([first, *others], gone)
        await first.store.put_chunk(RecordKey(Digest.of(b"broken off")), None, b"broken off")
        await trashed(first, BLOB)
        one = collected(cluster, first)
        assert await report(one) == {
            ("chunks", "stays: a blob that is there needs them"): (1, 4),
            ("chunks", "stays: nobody needs them, and their grace is not over"): (2, 4 + 10),
            ASKED: (1, 0),
            ("trash", "stays: its time is not over"): (1, 4),
        }

        one.later()
        assert await report(one) == {
            ("chunks", "goes now: an upload that was broken off left them"): (1, 10),
            ("chunks", "goes now: no blob needs them"): (1, 4),
            ("chunks", "stays: a blob that is there needs them"): (1, 4),
            ASKED: (1, 0),
            ("trash", "goes now: its time is over"): (1, 4),
        }
        assert first.holds(Digest.of(b"gone"))
        assert first.state_of(DIGEST).in_trash
        await one.collection.round()
        assert await report(one) == {
            ("chunks", "stays: a blob that is there needs them"): (1, 4),
            ("tombstones", "stays: settled here: every other node has to say the same"): (1, 0),
            ASKED: (1, 0),
        }


@in_virtual_time
async def test_by_itself_a_cluster_forgets_what_was_deleted() -> None:
    async with small_cluster(5, care=RESTLESS) as cluster:
        blob = await large_blob(cluster, b"chunk", b"another")
        await cluster.store()
        gateway = cluster.gateway()
        await gateway.delete(DIGEST)
        await gateway.delete(blob)
        await asyncio.sleep(120)

        for node in cluster.nodes.values():
            assert node.store.usage().records == 0, node.node
            assert node.state_of(DIGEST) == ABSENT
        await gateway.put(DIGEST, BLOB)
        assert await gateway.get(DIGEST) == BLOB
        assert (await gateway.stat(DIGEST)).generation == 2


@in_virtual_time
async def test_a_node_that_was_away_through_delete_and_purge_brings_nothing_back() -> None:
    async with small_cluster(3, care=RESTLESS) as cluster:
        gateway = cluster.gateway()
        await gateway.put(DIGEST, BLOB)
        await cluster.calm()
        away = cluster.owners(DIGEST)[0]
        await away.end()
        await gateway.delete(DIGEST)
        await asyncio.sleep(300)
        assert all(
            node.state_of(DIGEST).root == dead(1) for node in cluster.owners(DIGEST)[1:]
        ), "it has not said that it holds it"
        await away.start()
        await away.until("voter")
        await asyncio.sleep(120)

        for node in cluster.nodes.values():
            assert node.state_of(DIGEST) == ABSENT
        assert not await gateway.contains(DIGEST)
