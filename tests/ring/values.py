"""Hypothesis strategies for the values that cross the wire; every field takes its whole range."""

from dataclasses import replace
from typing import TypeVar

from hypothesis import strategies as st

from ring.digest import Algorithm, Digest
from ring.layout import Layout, Member, MemberState
from ring.life import Life, NodeId
from ring.limits import GENERATION_MAX, PARTITIONS, SPARES_MAX
from ring.record import RecordEntry, RecordKey, RecordKind, RecordState, Root

T = TypeVar("T")

INTEGER_MAX = (1 << 63) - 1

sizes = st.integers(0, INTEGER_MAX)
generations = st.integers(0, GENERATION_MAX)
roots = st.integers(0, 2 * GENERATION_MAX + 1).map(Root)
kinds = st.sampled_from(RecordKind)
nodes = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,62}", fullmatch=True).map(NodeId)
lives = st.builds(Life, st.integers(0, INTEGER_MAX), sizes, st.integers(0, (1 << 64) - 1))
states = st.builds(
    RecordState, kinds, sizes, roots, st.booleans(), st.booleans(), sizes, st.booleans()
)


@st.composite
def digests(draw: st.DrawFn) -> Digest:
    """Of every algorithm; alike ones are frequent enough to meet."""
    algorithm = draw(st.sampled_from(Algorithm))
    size = algorithm.size_bytes
    start = draw(st.binary(max_size=size) | st.sampled_from([b"", b"\xff\xff"]))
    return Digest(algorithm, start.ljust(size, b"\0"))


keys = st.builds(RecordKey, digests())
entries = st.builds(RecordEntry, keys, states)


@st.composite
def layouts(draw: st.DrawFn, *, epoch: int | None = None) -> Layout:
    """Of few members, whose table repeats one row."""
    names = draw(st.lists(nodes, min_size=1, max_size=4, unique=True))
    replicas = draw(st.integers(1, len(names)))
    spares = draw(st.integers(0, min(SPARES_MAX, len(names) - replicas)))
    places = draw(st.permutations(range(len(names))))
    members = tuple(
        Member(
            name,
            draw(st.sampled_from(["host:1", "[::1]:65535", f"{name}.example:7071"])),
            draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)),
            draw(st.integers(1, (1 << 32) - 1)),
            draw(st.sampled_from(MemberState)),
        )
        for name in names
    )
    return Layout(
        cluster_id=draw(st.text("0123456789abcdef", max_size=64)),
        epoch=draw(st.integers(1, INTEGER_MAX)) if epoch is None else epoch,
        replicas=replicas,
        spares=spares,
        members=members,
        table=bytes(places[: replicas + spares]) * PARTITIONS,
        retired=tuple(draw(st.lists(nodes, max_size=3))),
    )


@st.composite
def live_layouts(draw: st.DrawFn) -> tuple[Layout, ...]:
    """One layout, or two of one cluster with rising epochs."""
    new = draw(layouts(epoch=draw(st.integers(2, INTEGER_MAX))))
    if draw(st.booleans()):
        return (new,)
    old = draw(layouts(epoch=draw(st.integers(1, new.epoch - 1))))
    return (replace(old, cluster_id=new.cluster_id), new)
