"""What a caretaker writes into the journal of incidents about records that leave."""

from __future__ import annotations

import asyncio

from node.care_settings import CareSettings
from node.collection.collection_settings import CollectionSettings
from node.repair.repair_settings import RepairSettings
from ring.digest import Digest
from ring.operating import IncidentKind
from ring.record import RecordKey
from tests.fakes.small_cluster import BLOB, DIGEST, KEY, small_cluster
from tests.fakes.virtual_time import in_virtual_time

SOON = CareSettings(
    repair=RepairSettings(interval_s=1.0, settle_s=0.5),
    collection=CollectionSettings(grace_s=0, trash_s=0, interval_s=1, interval_max_s=2),
)


@in_virtual_time
async def test_a_delete_that_is_forgotten_and_a_chunk_that_goes_are_incidents() -> None:
    async with small_cluster(care=SOON) as cluster:
        gateway = cluster.gateway()
        await gateway.put(DIGEST, BLOB)
        await gateway.delete(DIGEST)
        node = cluster.owners(DIGEST)[0]
        chunk = RecordKey(Digest.of(b"of an upload that was broken off"))
        await node.store.put_chunk(chunk, None, b"of an upload that was broken off")
        node.clock.seconds += 10
        async with asyncio.timeout(120.0):
            while node.state_of(DIGEST).exists or node.holds(chunk.digest):
                node.clock.seconds += 1
                await asyncio.sleep(1.0)
        kinds = [incident.kind for incident in node.service.incidents.of(KEY)]
        assert kinds == [IncidentKind.PURGED]
        kinds = [incident.kind for incident in node.service.incidents.of(chunk)]
        assert kinds == [IncidentKind.COLLECTED]
