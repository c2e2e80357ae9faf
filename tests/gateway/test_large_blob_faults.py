"""Large blobs with nodes that die, rot, lose chunks or lie: never a complete wrong body."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from gateway.calls import CallSettings
from gateway.coordinator import Coordinator
from ring.digest import Digest
from ring.errors import Busy, Corrupt, DiskFull, HoldfastError, NotFound, Unavailable
from ring.life import NodeId
from ring.limits import CHUNK_BYTES
from ring.messages import ConfirmChunks, GetRecord, PutRecord, Request, VerifyRecord
from ring.recipe import Recipe
from ring.record import RecordKey, RecordKind
from tests.fakes.large_blobs import assert_calm, free_in, permits_of, pieces
from tests.fakes.small_cluster import SmallNode, small_cluster
from tests.fakes.virtual_time import in_virtual_time

DATA = Random(2).randbytes(2 * CHUNK_BYTES + 7)
DIGEST = Digest.of(DATA)
CHUNKS = [
    Digest.of(DATA[start : start + CHUNK_BYTES]) for start in range(0, len(DATA), CHUNK_BYTES)
]
OTHER = DATA[:CHUNK_BYTES] + b"other"


async def put(gateway: Coordinator, data: bytes = DATA, *, promised: bool = True) -> bool:
    digest = Digest.of(data) if promised else None
    return (await gateway.put_stream(pieces(data), digest=digest)).created


async def read_until_it_ends(
    gateway: Coordinator, start: int = 0, stop: int | None = None
) -> tuple[bytes, HoldfastError | None]:
    """What a client receives, and how it ended."""
    received = b""
    reader = await gateway.open(DIGEST, start, stop)
    try:
        async for piece in reader:
            received += piece
    except HoldfastError as error:
        return received, error
    finally:
        await reader.close()
    return received, None


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", range(3))
@in_virtual_time
async def test_a_rotten_chunk_is_replaced_without_the_client_noticing(chunk: int) -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await put(gateway)
        await cluster.calm()
        for node in cluster.owners(CHUNKS[chunk])[:2]:
            node.rot(CHUNKS[chunk])
        for _ in range(3):
            assert await gateway.get(DIGEST) == DATA
        start = chunk * CHUNK_BYTES + 1
        assert await read_until_it_ends(gateway, start, start + 3) == (
            DATA[start : start + 3], None,
        )
        await assert_calm(cluster, gateway)

        assert cluster.network.count(VerifyRecord) == gateway.records.reader.bad_copies_total == 2


@pytest.mark.parametrize("chunk", range(3))
@in_virtual_time
async def test_a_chunk_that_nobody_has_whole_ends_the_body_early(chunk: int) -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await put(gateway)
        await cluster.calm()
        for node in cluster.nodes.values():
            node.rot(CHUNKS[chunk])
        received, error = await read_until_it_ends(gateway)

        assert isinstance(error, Unavailable)
        assert received == DATA[: chunk * CHUNK_BYTES]
        whole = [index for index in range(3) if index != chunk]
        for index in whole:  # what does not touch it is served
            start = index * CHUNK_BYTES
            assert await read_until_it_ends(gateway, start, start + 9) == (
                DATA[start : start + 9], None,
            )
        await assert_calm(cluster, gateway)


@pytest.mark.parametrize("how", ["down", "frozen"])
@in_virtual_time
async def test_a_node_that_dies_under_a_download_is_not_noticed(how: str) -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await put(gateway)
        await cluster.calm()
        for node in cluster.nodes:
            reader = await gateway.open(DIGEST)
            received = b""
            async for piece in reader:
                received += piece
                faults = cluster.network.faults
                (faults.down if how == "down" else faults.frozen).add(node)
            await reader.close()
            assert received == DATA
            cluster.network.faults.down.clear()
            cluster.network.faults.frozen.clear()
        await assert_calm(cluster, gateway)


@in_virtual_time
async def test_a_slow_chunk_is_asked_for_elsewhere() -> None:
    async with small_cluster() as cluster:
        gateway, loop = cluster.gateway(), asyncio.get_running_loop()
        await put(gateway)
        await cluster.calm()
        held = cluster.network.hold(next(iter(cluster.nodes)), GetRecord)
        for _ in range(3):
            before = loop.time()
            assert await gateway.get(DIGEST) == DATA
            assert loop.time() - before < 4 * CallSettings().chunk_patience_s
        held.release()
        await assert_calm(cluster, gateway)


# --- recipes --------------------------------------------------------------------------------------


def _replace_recipe(node: SmallNode, value: bytes) -> None:
    node.store.values.values[RecordKey(DIGEST), RecordKind.RECIPE] = value


def _recipe(data: bytes) -> Recipe:
    chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
    return Recipe(len(data), tuple(map(Digest.of, chunks)))


@pytest.mark.parametrize("damage", ["stolen", "flipped", "cut"])
@in_virtual_time
async def test_a_recipe_that_is_not_this_blobs_is_a_bad_copy(damage: str) -> None:
    stolen = _recipe(OTHER).encode(Digest.of(OTHER))
    good = _recipe(DATA).encode(DIGEST)
    bad = {"stolen": stolen, "flipped": b"\x01" + good[1:], "cut": good[:-1]}[damage]
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await put(gateway)
        await put(gateway, OTHER)
        await cluster.calm()
        first, second, third = cluster.owners(DIGEST)
        for node in (first, second):
            _replace_recipe(node, bad)
        for _ in range(3):
            assert await gateway.get(DIGEST) == DATA
        for node in (first, second, third):  # at once: one good copy would heal the others
            _replace_recipe(node, bad)
        for _ in range(3):
            with pytest.raises(Unavailable):
                await gateway.get(DIGEST)
        await assert_calm(cluster, gateway)
        assert await put(gateway)
        assert await gateway.get(DIGEST) == DATA


FORGED = [
    _recipe(DATA[: 2 * CHUNK_BYTES] + b"forged!"),
    _recipe(OTHER),
    Recipe(len(DATA), (CHUNKS[1], CHUNKS[0], CHUNKS[2])),
    Recipe(len(DATA), (CHUNKS[0], CHUNKS[0], CHUNKS[2])),
    Recipe(len(DATA), (CHUNKS[0], CHUNKS[2], CHUNKS[1])),  # lengths do not fit
    Recipe(len(DATA) - 1, tuple(CHUNKS)),
]


@pytest.mark.parametrize("forged", FORGED)
@in_virtual_time
async def test_a_forged_recipe_never_makes_a_complete_wrong_body(forged: Recipe) -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await put(gateway, DATA[: 2 * CHUNK_BYTES] + b"forged!", promised=False)
        await put(gateway, OTHER, promised=False)
        await put(gateway, promised=False)
        await gateway.delete(DIGEST)
        await cluster.calm()
        value = forged.encode(DIGEST)
        for node in cluster.nodes.values():
            await node.store.put_root(
                RecordKey(DIGEST), RecordKind.RECIPE, forged.size_bytes, 2, value
            )
        received, error = await read_until_it_ends(gateway)

        assert isinstance(error, Corrupt)
        assert len(received) < forged.size_bytes
        with pytest.raises(Corrupt):
            await gateway.get(DIGEST)
        await assert_calm(cluster, gateway)


# --- writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("promised", [True, False])
@pytest.mark.parametrize("lost", [1, 2, 3])
@in_virtual_time
async def test_a_chunk_lost_before_the_commit_is_put_again_or_the_put_fails(
    lost: int, promised: bool
) -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        held = [cluster.network.hold(node, ConfirmChunks) for node in cluster.nodes]
        upload = asyncio.ensure_future(put(gateway, promised=promised))
        await asyncio.sleep(1)
        assert not upload.done()
        for node in cluster.owners(CHUNKS[1])[:lost]:
            await node.store.drop(RecordKey(CHUNKS[1]))
        for each in held:
            each.release()
        if lost == 3:
            with pytest.raises(Unavailable):
                await upload
            with pytest.raises((Unavailable, NotFound)):
                await gateway.get(DIGEST)
        else:
            assert await upload
            assert await gateway.get(DIGEST) == DATA
            holders = [node for node in cluster.owners(CHUNKS[1]) if node.holds(CHUNKS[1])]
            assert len(holders) >= 2
            for node in holders:
                claims, _ = await node.store.claims(RecordKey(CHUNKS[1]), None, 9)
                assert claims == [DIGEST]
        await assert_calm(cluster, gateway)


@in_virtual_time
async def test_a_put_that_finds_the_blob_there_makes_sure_of_every_chunk() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        await put(gateway)
        await cluster.calm()
        for node in cluster.owners(CHUNKS[0])[1:]:
            await node.store.drop(RecordKey(CHUNKS[0]))
        await gateway.confirm(DIGEST)
        assert sum(node.holds(CHUNKS[0]) for node in cluster.owners(CHUNKS[0])) >= 2
        for node in cluster.owners(CHUNKS[0]):
            await node.store.drop(RecordKey(CHUNKS[0]))
        with pytest.raises(Unavailable):
            await gateway.confirm(DIGEST)
        assert not await put(gateway)  # who brings the bytes heals it
        await gateway.confirm(DIGEST)


@pytest.mark.parametrize("promised", [True, False])
@pytest.mark.parametrize("step", ["chunks", "recipe", "confirm"])
@in_virtual_time
async def test_an_upload_goes_on_without_one_node_and_fails_without_two(
    step: str, promised: bool
) -> None:
    def is_step(request: Request) -> bool:
        match request:
            case ConfirmChunks():
                return step == "confirm"
            case PutRecord(_, kind):
                return (kind is RecordKind.RECIPE) is (step == "recipe") and step != "confirm"
        return False

    for count, error in ((1, Busy("b")), (2, Busy("b")), (2, DiskFull("f"))):
        async with small_cluster() as cluster:
            gateway, refusing = cluster.gateway(), list(cluster.nodes)[:count]

            def refuse(
                node: NodeId,
                request: Request,
                error: HoldfastError = error,
                refusing: list[NodeId] = refusing,
            ) -> HoldfastError | None:
                return error if node in refusing and is_step(request) else None

            cluster.network.faults.refuse = refuse
            if count == 1:
                assert await put(gateway, promised=promised)
                assert await gateway.get(DIGEST) == DATA
            else:
                is_full = isinstance(error, DiskFull) and step != "confirm"
                with pytest.raises(DiskFull if is_full else Unavailable):
                    await put(gateway, promised=promised)
            await assert_calm(cluster, gateway)


@in_virtual_time
async def test_an_upload_past_a_frozen_node_keeps_memory_until_its_deadline_only() -> None:
    async with small_cluster() as cluster:
        gateway = cluster.gateway()
        cluster.network.faults.frozen.add(next(iter(cluster.nodes)))
        assert await put(gateway)
        assert free_in(permits_of(gateway)[0]) == CallSettings().chunks_in_flight_max - 3
        await assert_calm(cluster, gateway)


@in_virtual_time
async def test_a_node_with_another_recipe_refuses_and_the_others_are_enough() -> None:
    async with small_cluster() as cluster:
        gateway, odd = cluster.gateway(), cluster.owners(DIGEST)[0]
        forged = FORGED[2]
        await odd.store.put_root(
            RecordKey(DIGEST), RecordKind.RECIPE, forged.size_bytes, 1, forged.encode(DIGEST)
        )
        assert await put(gateway)
        await cluster.calm()

        assert sum(node.holds(DIGEST) for node in cluster.owners(DIGEST)) == 3
        outcomes = [await read_until_it_ends(gateway) for _ in range(3)]
        assert (DATA, None) in outcomes
        assert all(error is None or isinstance(error, Corrupt) for _, error in outcomes)
        assert all(received == DATA or error for received, error in outcomes)
