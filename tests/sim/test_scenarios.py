"""Named stories: the promises one by one, and every bug that a seed found."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from itertools import product

import pytest

from ring.limits import CHUNK_BYTES, KIB
from tests.sim.history import Verdict
from tests.sim.options import Options, Weather
from tests.sim.scenario import Story, play

SPARE = Options(members=4, weather=Weather.CALM, digests=1, clients=1)
PAGES = Options(weather=Weather.CALM, digests=1, clients=1, store="pages")
LONG = Options(weather=Weather.CALM, digests=1, clients=1, sizes=(64 * KIB + 1,))
LARGE = Options(weather=Weather.CALM, digests=0, clients=1, large=True)


def test_an_acked_put_outlives_a_power_cut_of_the_whole_cluster() -> None:
    async def story(cluster: Story) -> None:
        assert await cluster.put() is Verdict.DONE
        for machine in cluster.world.machines.values():
            machine.cut_power()
        for machine in cluster.world.machines.values():
            machine.start()
        await cluster.settle()
        assert await cluster.get() is Verdict.PRESENT

    for seed in range(20):
        play(story, seed=seed)


def test_an_acked_delete_outlives_a_power_cut_of_the_whole_cluster() -> None:
    async def story(cluster: Story) -> None:
        assert await cluster.put() is Verdict.DONE
        assert await cluster.delete() is Verdict.DONE
        for machine in cluster.world.machines.values():
            machine.cut_power()
        for machine in cluster.world.machines.values():
            machine.start()
        await cluster.settle()
        assert await cluster.get() is Verdict.ABSENT

    for seed in range(20):
        play(story, seed=seed)


def test_one_silent_node_of_three_changes_nothing() -> None:
    async def story(cluster: Story) -> None:
        cluster.cut_off(cluster.nodes[0])
        assert await cluster.get() is Verdict.ABSENT
        assert await cluster.put() is Verdict.DONE
        assert await cluster.get() is Verdict.PRESENT
        assert cluster.is_confirmed()
        assert await cluster.delete() is Verdict.DONE
        assert await cluster.get() is Verdict.ABSENT

    play(story)


def test_two_silent_nodes_of_three_leave_copies_readable_and_absence_unknown() -> None:
    async def story(cluster: Story) -> None:
        cluster.cut_off(*cluster.nodes[1:])
        assert await cluster.get() is Verdict.UNKNOWN
        assert await cluster.put() is Verdict.UNKNOWN
        assert await cluster.delete() is Verdict.UNKNOWN
        cluster.network.mend()
        assert await cluster.put() is Verdict.DONE
        await asyncio.sleep(5)
        cluster.cut_off(*cluster.nodes[:2])
        assert await cluster.get() is Verdict.PRESENT
        assert not cluster.is_confirmed()
        assert await cluster.delete() is Verdict.UNKNOWN

    play(story)


@pytest.mark.parametrize("options", [None, SPARE])
def test_delete_and_put_again_with_a_node_away_and_its_messages_late(
    options: Options | None,
) -> None:
    """Every choice of who is away, from which step on, and which step later it hears of them."""

    async def story(cluster: Story, *, away: int, begins: int, ends: int) -> None:
        node = cluster.nodes[away]
        steps = (cluster.put, cluster.delete, cluster.put, cluster.delete, cluster.put)
        for number, step in enumerate(steps):
            if number == begins:
                cluster.network.hold(node)
            assert await step() is Verdict.DONE
            if number == ends:
                cluster.network.release(node)
                await asyncio.sleep(1)
            expected = Verdict.ABSENT if number % 2 else Verdict.PRESENT
            assert await cluster.get() is expected
            assert await cluster.head(gateway=1) is expected
        assert await cluster.list() is Verdict.DONE

    nodes = 3 if options is None else options.members
    for away, begins, ends in product(range(nodes), range(3), range(1, 5)):
        if begins <= ends <= begins + 2:
            play(partial(story, away=away, begins=begins, ends=ends), options=options)


def test_a_node_that_was_down_during_a_delete_brings_nothing_back() -> None:
    async def story(cluster: Story) -> None:
        assert await cluster.put() is Verdict.DONE
        await asyncio.sleep(1)
        for node in cluster.nodes:
            assert await cluster.put() is Verdict.DONE
            await asyncio.sleep(1)
            cluster.machine(node).cut_power()
            assert await cluster.delete() is Verdict.DONE
            cluster.machine(node).start()
            await cluster.settle()
            for _ in range(6):
                assert await cluster.get() is Verdict.ABSENT

    play(story)


def test_a_wiped_node_does_not_vote_before_it_compared() -> None:
    """Two nodes know of the delete, one does not; the disk of one that knows is lost."""

    async def story(cluster: Story) -> None:
        away, wiped, other = cluster.nodes
        assert await cluster.put() is Verdict.DONE
        await asyncio.sleep(1)
        cluster.cut_off(away)
        assert await cluster.delete() is Verdict.DONE
        cluster.network.mend()
        cluster.world.promises.forget(wiped)
        cluster.machine(wiped).wipe()
        cluster.cut_off(other)
        cluster.machine(wiped).start()
        await asyncio.sleep(10)
        assert cluster.machine(wiped).state != "voter"
        assert await cluster.get() is Verdict.PRESENT
        assert not cluster.is_confirmed()
        cluster.network.mend()
        await cluster.settle()
        for _ in range(6):
            assert await cluster.get() is Verdict.ABSENT

    play(story)


def test_a_wiped_node_fetches_what_it_had() -> None:
    async def story(cluster: Story) -> None:
        assert await cluster.put() is Verdict.DONE
        await asyncio.sleep(1)
        for node in cluster.nodes:
            cluster.world.promises.forget(node)
            cluster.machine(node).wipe()
            cluster.machine(node).start()
            await cluster.settle()
        assert await cluster.get() is Verdict.PRESENT

    play(story)


@pytest.mark.parametrize("options", [None, PAGES])
def test_a_rotten_copy_is_never_served_and_put_aside(options: Options | None) -> None:
    async def story(cluster: Story) -> None:
        assert await cluster.put() is Verdict.DONE
        await asyncio.sleep(3)
        cluster.rot(cluster.nodes[0])
        for _ in range(4):
            assert await cluster.get() is Verdict.PRESENT
        await asyncio.sleep(1)
        paths = [path for path, _ in cluster.machine(cluster.nodes[0]).disk.files()]
        assert any(path.startswith((".quarantine/", "quarantine/")) for path in paths)

    play(story, seed=1, options=options)


@pytest.mark.parametrize(
    "options", [None, LARGE, PAGES, replace(LARGE, store="pages")]
)
def test_when_every_copy_rotted_nothing_is_served_and_a_put_heals(
    options: Options | None,
) -> None:
    async def story(cluster: Story) -> None:
        assert await cluster.put() is Verdict.DONE
        await asyncio.sleep(3)
        for node in cluster.nodes:
            cluster.rot(node)
        assert await cluster.get() is Verdict.UNKNOWN
        assert await cluster.put() is Verdict.DONE
        assert await cluster.get() is Verdict.PRESENT

    play(story, seed=1, options=options)


def test_a_copy_of_an_older_put_is_served_as_what_it_is_now() -> None:
    """Seed 98: a node that missed a delete and the put after it reported the buried generation."""

    async def story(cluster: Story) -> None:
        assert await cluster.put() is Verdict.DONE
        await asyncio.sleep(1)
        for node in cluster.nodes:
            cluster.cut_off(node)
            assert await cluster.delete() is Verdict.DONE
            assert await cluster.put() is Verdict.DONE
            cluster.network.mend()
            for _ in range(6):
                assert await cluster.get() is Verdict.PRESENT

    play(story)


def test_a_dead_node_costs_a_miss_and_a_delete_no_deadline() -> None:
    """Seed 14 of the first simulator: spares say no, the owners heard before are asked again."""

    async def story(cluster: Story) -> None:
        loop = asyncio.get_running_loop()
        cluster.cut_off(cluster.nodes[0])
        for action, expected in (
            (cluster.get, Verdict.ABSENT),
            (cluster.put, Verdict.DONE),
            (cluster.delete, Verdict.DONE),
        ):
            began_s = loop.time()
            assert await action() is expected
            assert loop.time() - began_s < 3.5  # of virtual time; a read's deadline is four seconds

    play(story, options=SPARE)


def test_a_large_blob_comes_back_whole() -> None:
    async def story(cluster: Story) -> None:
        assert len(cluster.blob.data) > CHUNK_BYTES
        assert await cluster.put() is Verdict.DONE
        cluster.cut_off(cluster.nodes[1])
        assert await cluster.get() is Verdict.PRESENT
        assert await cluster.delete() is Verdict.DONE
        assert await cluster.get() is Verdict.ABSENT

    play(story, options=LARGE)


def test_a_get_of_a_long_value_that_races_writes_is_answered_with_a_node_off() -> None:
    """Seeds 385, 616: a long value was asked of the dead node alone, and nobody else afterwards."""

    async def story(cluster: Story) -> None:
        rng = cluster.world.rng
        cluster.network.faults.delay_s = 0.02
        assert await cluster.put() is Verdict.DONE
        cluster.machine(rng.choice(cluster.nodes)).cut_power()

        async def read() -> None:
            for _ in range(20):
                await asyncio.sleep(rng.random() * 0.02)
                assert await cluster.get() is not Verdict.UNKNOWN

        async def write() -> None:
            for _ in range(20):
                await asyncio.sleep(rng.random() * 0.02)
                await cluster.delete()
                await cluster.put()

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            group.create_task(read())
            group.create_task(write())

    for seed in range(5):
        play(story, seed=seed, options=replace(LONG, store="pages"))


def test_two_nodes_of_which_one_is_dead_answer_every_question_somehow() -> None:
    """Seed 1363: with the dead node in doubt a read waited for an answer that nobody was asked."""

    async def story(cluster: Story) -> None:
        assert await cluster.put() is Verdict.DONE
        await asyncio.sleep(2)
        for node in cluster.nodes:
            cluster.machine(node).kill()
            for _ in range(5):
                assert await cluster.get() is not Verdict.UNKNOWN
                assert await cluster.delete() is Verdict.UNKNOWN  # one disk alone would know of it
                assert await cluster.head() is not Verdict.UNKNOWN
                assert await cluster.put() is Verdict.UNKNOWN
                await asyncio.sleep(0.3)
            cluster.machine(node).start()
            await cluster.settle()

    two = Options(members=2, replicas=2, weather=Weather.CALM, digests=1, clients=1)
    play(story, options=two)


def test_garbage_goes_although_a_scrub_reads_it_again_and_again() -> None:
    async def story(cluster: Story) -> None:
        assert await cluster.put() is Verdict.DONE
        assert await cluster.delete() is Verdict.DONE

    play(story, options=replace(LARGE, grace_s=5.0, scrub_s=20.0))


def test_a_node_starts_on_a_full_disk() -> None:
    async def story(cluster: Story) -> None:
        assert await cluster.put() is Verdict.DONE
        await asyncio.sleep(5)
        for machine in cluster.world.machines.values():
            machine.disk.faults.full = True
        for machine in cluster.world.machines.values():
            machine.cut_power()
            machine.start()
        await cluster.settle()
        assert await cluster.get() is Verdict.PRESENT
        assert await cluster.delete() is Verdict.DONE

    play(story, options=PAGES)
