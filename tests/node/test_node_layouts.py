"""The layouts that a node lives by: stored, taught, never lost, and those of others refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from node.handler import Asker
from node.marker import NodeFiles
from node.memory_disk import MemoryDisk
from node.node_layouts import NodeLayouts
from ring.codec import unpack
from ring.control import parse_layouts
from ring.errors import LayoutUnknown, NotAdmitted, StorageFault, WrongEpoch
from ring.limits import MIB
from tests.fakes.faulty_disk import FaultyDisk, Trouble
from tests.fakes.numbered_randomness import NumberedRandomness
from tests.fakes.small_cluster import next_layout, small_layout
from tests.fakes.virtual_time import in_virtual_time

ONE = small_layout(3, 3)
TWO = next_layout(ONE)
THREE = next_layout(TWO)


def files_on(disk: MemoryDisk | FaultyDisk) -> NodeFiles:
    return NodeFiles(disk, NumberedRandomness())


def asking(*epochs: int) -> Asker:
    return Asker("gateway", is_peer=False, epochs=epochs)


async def test_what_was_learnt_is_loaded_at_the_next_start() -> None:
    disk = MemoryDisk(MIB)
    layouts = NodeLayouts(ONE)
    await layouts.learn((ONE, TWO), files_on(disk))
    again = NodeLayouts(ONE)
    await again.load(files_on(disk))

    assert layouts.live.epochs == again.live.epochs == (1, 2)
    assert again.live.layouts == (ONE, TWO)


@pytest.mark.parametrize(
    ("known", "taught", "kept"),
    [
        ((ONE,), (ONE, TWO), (1, 2)),
        ((ONE, TWO), (TWO,), (2,)),
        ((TWO,), (ONE, TWO), (2,)),
        ((TWO,), (ONE,), (2,)),
        ((ONE, TWO), (ONE, TWO), (1, 2)),
        ((TWO,), (TWO, THREE), (2, 3)),
    ],
)
async def test_layouts_only_ever_move_forward(
    known: tuple[object, ...], taught: tuple[object, ...], kept: tuple[int, ...]
) -> None:
    files = files_on(MemoryDisk(MIB))
    layouts = NodeLayouts(ONE)
    for lesson in (known, taught):
        await layouts.learn(lesson, files)  # type: ignore[arg-type]  # parametrize hides the type

    assert layouts.live.epochs == kept
    stored = await files.layouts()
    assert not stored or tuple(layout.epoch for layout in stored) == kept


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@in_virtual_time
async def test_two_lessons_at_once_leave_disk_and_memory_agreed(order: tuple[int, int]) -> None:
    disk = MemoryDisk(MIB)

    class SlowDisk(FaultyDisk):
        """The first file takes longest to get there."""

        async def publish(
            self, temporary: str, path: str, data: bytes | bytearray | memoryview
        ) -> None:
            waits = [5.0, 1.0]
            await asyncio.sleep(waits[self.trouble.calls.count("publish") % 2])
            await super().publish(temporary, path, data)

    layouts, files = NodeLayouts(ONE), files_on(SlowDisk(disk))
    lessons = [(ONE, TWO), (TWO,)]
    await asyncio.gather(*(layouts.learn(lessons[number], files) for number in order))

    assert layouts.live.epochs == (2,)
    assert await files.layouts() == (TWO,)


async def test_a_lesson_that_cannot_be_stored_is_not_learnt() -> None:
    layouts = NodeLayouts(ONE)
    files = files_on(FaultyDisk(MemoryDisk(MIB), Trouble(fails=range(100))))
    with pytest.raises(StorageFault):
        await layouts.learn((TWO,), files)

    assert layouts.live.epochs == (1,)


async def test_layouts_of_another_cluster_are_refused_and_a_directory_that_has_some() -> None:
    files = files_on(MemoryDisk(MIB))
    layouts = NodeLayouts(ONE)
    foreign = replace(TWO, cluster_id="cd" * 16)
    with pytest.raises(NotAdmitted, match="not ours"):
        await layouts.learn((foreign,), files)
    assert await files.layouts() == ()

    await files.write_layouts((foreign,))
    with pytest.raises(NotAdmitted, match="member list, replicas or seed differ"):
        await layouts.load(files)


@pytest.mark.parametrize("epochs", [(), (1,), (1, 2)])
async def test_older_askers_are_shown_the_newer_layouts(epochs: tuple[int, ...]) -> None:
    layouts = NodeLayouts(ONE)
    await layouts.learn((TWO,), files_on(MemoryDisk(MIB)))
    with pytest.raises(WrongEpoch) as caught:
        layouts.check(asking(*epochs))

    packed = caught.value.facts["layouts"]
    assert isinstance(packed, bytes)
    assert parse_layouts(unpack(packed)) == (TWO,)


@pytest.mark.parametrize("epochs", [(1, 2), (2,), (2, 3)])
async def test_newer_askers_are_told_to_teach(epochs: tuple[int, ...]) -> None:
    with pytest.raises(LayoutUnknown):
        NodeLayouts(ONE).check(asking(*epochs))


@pytest.mark.parametrize("epochs", [(2, 2), (5, 3), (0,)])
async def test_epochs_that_make_no_sense_are_refused_too(epochs: tuple[int, ...]) -> None:
    layouts = NodeLayouts(ONE)
    await layouts.learn((TWO,), files_on(MemoryDisk(MIB)))
    with pytest.raises((WrongEpoch, LayoutUnknown)):
        layouts.check(asking(*epochs))


async def test_the_same_layouts_pass() -> None:
    layouts = NodeLayouts(ONE)
    layouts.check(asking(1))
    await layouts.learn((ONE, TWO), files_on(MemoryDisk(MIB)))
    layouts.check(asking(1, 2))


async def test_layouts_that_are_over_are_remembered_also_after_a_start() -> None:
    disk = MemoryDisk(MIB)
    layouts = NodeLayouts(ONE)
    await layouts.learn((ONE, TWO), files_on(disk))
    assert layouts.earlier == {}
    await layouts.learn((TWO, THREE), files_on(disk))
    again = NodeLayouts(ONE)
    await again.load(files_on(disk))

    for known in (layouts, again):
        assert known.earlier == {1: ONE}
        assert known.missing_epochs == []
        everybody = known.ever_eligible(7)
        for layout in (ONE, TWO, THREE):
            assert {*layout.group(7).eligible} <= {*everybody}
        assert len({*everybody}) == len(everybody)


async def test_what_was_over_before_the_marker_is_stored_with_it() -> None:
    disk = MemoryDisk(MIB)
    layouts = NodeLayouts(ONE)
    await layouts.learn((TWO,), None)
    await layouts.store(files_on(disk))

    assert await files_on(disk).earlier_layouts() == (ONE,)


async def test_a_node_that_missed_a_layout_knows_that_and_learns_it() -> None:
    disk = MemoryDisk(MIB)
    layouts = NodeLayouts(ONE)
    await layouts.learn((THREE,), files_on(disk))
    assert layouts.missing_epochs == [2]
    await layouts.learn_earlier(TWO, files_on(disk))

    assert layouts.missing_epochs == []
    assert await files_on(disk).earlier_layouts() == (ONE, TWO)
    for wrong in (THREE, replace(TWO, cluster_id="another")):
        with pytest.raises(NotAdmitted):
            await layouts.learn_earlier(wrong, files_on(disk))


async def test_retired_nodes_are_nobody_that_a_purge_waits_for() -> None:
    disk = MemoryDisk(MIB)
    layouts = NodeLayouts(ONE)
    gone = ONE.group(7).owners[0]
    await layouts.learn((replace(TWO, retired=(gone,)),), files_on(disk))

    assert gone not in layouts.ever_eligible(7)
    assert len(layouts.ever_eligible(7)) == len({*ONE.nodes} - {gone})


async def test_a_retired_node_is_refused_whatever_layouts_it_knows() -> None:
    layouts = NodeLayouts(ONE)
    await layouts.learn((replace(TWO, retired=(ONE.nodes[2],)),), None)

    for epochs in ((1,), (2,)):
        with pytest.raises(NotAdmitted, match="was retired"):
            layouts.check(Asker("n2", is_peer=True, epochs=epochs))
    layouts.check(Asker("n1", is_peer=True, epochs=(2,)))


async def test_a_node_is_retired_once_no_layout_lives_that_counts_on_it() -> None:
    layouts = NodeLayouts(ONE)
    leaving = ONE.group(7).owners[0]
    two = replace(TWO, retired=(leaving,))
    await layouts.learn((ONE, two), None)
    layouts.check(Asker(leaving, is_peer=True, epochs=(1, 2)))
    assert leaving in layouts.ever_eligible(7)

    await layouts.learn((two,), None)
    with pytest.raises(NotAdmitted, match="was retired"):
        layouts.check(Asker(leaving, is_peer=True, epochs=(1, 2)))
    assert leaving not in layouts.ever_eligible(7)
