"""Hypothesis strategies for the values that cross the wire; every field takes its whole range."""

from hypothesis import strategies as st

from ring.digest import Algorithm, Digest
from ring.life import Life, NodeId
from ring.limits import GENERATION_MAX
from ring.record import RecordEntry, RecordKey, RecordKind, RecordState, Root

INTEGER_MAX = (1 << 63) - 1

sizes = st.integers(0, INTEGER_MAX)
generations = st.integers(0, GENERATION_MAX)
roots = st.integers(0, 2 * GENERATION_MAX + 1).map(Root)
kinds = st.sampled_from(RecordKind)
nodes = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,62}", fullmatch=True).map(NodeId)
lives = st.builds(Life, st.integers(0, INTEGER_MAX), sizes, st.integers(0, (1 << 64) - 1))
states = st.builds(RecordState, kinds, sizes, roots, st.booleans(), st.booleans(), sizes)


@st.composite
def digests(draw: st.DrawFn) -> Digest:
    """Of every algorithm; alike ones are frequent enough to meet."""
    algorithm = draw(st.sampled_from(Algorithm))
    size = algorithm.size_bytes
    start = draw(st.binary(max_size=size) | st.sampled_from([b"", b"\xff\xff"]))
    return Digest(algorithm, start.ljust(size, b"\0"))


keys = st.builds(RecordKey, digests())
entries = st.builds(RecordEntry, keys, states)
