"""What counts as a cluster that came to rest."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ring.digest import Digest
from ring.layout import LiveLayouts
from ring.life import NodeId
from ring.limits import CHUNK_BYTES
from ring.recipe import Recipe
from ring.record import NO_ROOT, RecordKey, RecordKind, RecordState, Root, dead, live
from tests.sim.convergence import Kept, Stock, differences
from tests.sim.world import layout_of

LAYOUTS = LiveLayouts((layout_of(4, 3, 1),))
BLOB = RecordKey(Digest.of(b"blob"))
CHUNKS = (RecordKey(Digest.of(b"first")), RecordKey(Digest.of(b"second")))
RECIPE = Recipe(CHUNK_BYTES + 1, tuple(chunk.digest for chunk in CHUNKS))


def owners(key: RecordKey) -> tuple[NodeId, ...]:
    return LAYOUTS.placement(key.digest).owners


def spare(key: RecordKey) -> NodeId:
    return LAYOUTS.placement(key.digest).spares[0]


def kept(root: Root, *, whole: bool = True, recipe: Recipe | None = None) -> Kept:
    kind = RecordKind.DATA if recipe is None else RecordKind.RECIPE
    return Kept(RecordState(kind, 1, root, held=whole), whole, recipe)


def stocks(*parts: tuple[NodeId, RecordKey, Kept]) -> dict[NodeId, Stock]:
    found = {node: Stock() for node in LAYOUTS.newest.nodes}
    for node, key, one in parts:
        found[node].records[key] = one
    return found


def everywhere(key: RecordKey, one: Kept) -> list[tuple[NodeId, RecordKey, Kept]]:
    return [(node, key, one) for node in owners(key)]


def told(
    found: Mapping[NodeId, Stock],
    *,
    only: bool = True,
    is_promised: bool = True,
    buried: Mapping[int, int] | None = None,
) -> list[str]:
    promised = [BLOB.digest] if is_promised else []
    return differences(found, LAYOUTS, promised=promised, buried=buried or {}, only=only)


def test_an_empty_cluster_is_at_rest() -> None:
    assert not told(stocks())


def test_whole_copies_on_all_owners_are_at_rest() -> None:
    assert not told(stocks(*everywhere(BLOB, kept(live(1)))))


@pytest.mark.parametrize("one", [kept(live(1), whole=False), kept(NO_ROOT), kept(dead(1))])
def test_an_owner_without_the_newest_copy_is_not(one: Kept) -> None:
    found = stocks(*everywhere(BLOB, kept(live(2))), (owners(BLOB)[1], BLOB, one))

    assert len(told(found)) == 1


def test_a_copy_on_a_spare_is_too_much_only_where_nothing_else_may_be() -> None:
    copy = kept(live(1))
    found = stocks(*everywhere(BLOB, copy), (spare(BLOB), BLOB, copy))

    assert len(told(found)) == 1
    assert not told(found, only=False)


def test_owners_agree_on_a_tombstone_until_it_is_purged() -> None:
    stone = kept(dead(1), whole=False)
    found = stocks(*everywhere(BLOB, stone))

    assert not told(found, only=False)
    assert len(told(found)) == 3

    del found[owners(BLOB)[0]].records[BLOB]
    assert len(told(found, only=False)) == 1
    partition = BLOB.digest.partition
    found[owners(BLOB)[0]].floors[partition] = 1
    assert not told(found, only=False, buried={partition: 1})


def test_a_floor_above_every_tombstone_is_told() -> None:
    found = stocks()
    found[owners(BLOB)[0]].floors[7] = 2

    assert told(found, buried={7: 1})
    assert not told(found, buried={7: 2})


def test_chunks_of_a_live_blob_are_whole_and_claimed_on_their_owners() -> None:
    claimed = Kept(RecordState(RecordKind.DATA, 1, held=True), True, None, (BLOB.digest,))
    parts = everywhere(BLOB, kept(live(1), recipe=RECIPE))
    for chunk in CHUNKS:
        parts += everywhere(chunk, claimed)

    assert not told(stocks(*parts))

    one = owners(CHUNKS[0])[2]
    unclaimed = Kept(claimed.state, True)
    assert len(told(stocks(*parts, (one, CHUNKS[0], unclaimed)))) == 1
    assert len(told(stocks(*parts, (one, CHUNKS[0], Kept(claimed.state))))) == 2


def test_a_chunk_that_no_live_blob_needs_is_too_much() -> None:
    claimed = Kept(RecordState(RecordKind.DATA, 1, held=True), True, None, (BLOB.digest,))

    assert told(stocks(*everywhere(CHUNKS[0], claimed)))


def test_what_nobody_was_promised_may_be_lost() -> None:
    found = stocks((owners(BLOB)[0], BLOB, kept(live(1), whole=False)))

    assert told(found)
    assert not told(found, is_promised=False)
