"""Members for examples and strategies."""

from collections.abc import Sequence

from hypothesis import strategies as st

from ring.layout import Member
from ring.life import NodeId


def member(name: str, zone: str = "default", capacity: int = 1) -> Member:
    """A member whose address follows from its name."""
    return Member(NodeId(name), f"{name}.example:7071", zone, capacity)


def members(*zones: str) -> list[Member]:
    """One member in each of the zones named: n0, n1 ..."""
    return [member(f"n{index}", zone) for index, zone in enumerate(zones)]


@st.composite
def member_lists(
    draw: st.DrawFn, *, least: int = 1, most: int = 9, zones: Sequence[str] = "abcd"
) -> list[Member]:
    """Of distinct ids, in zones and with capacities of any kind."""
    names = draw(st.lists(st.integers(0, 99), min_size=least, max_size=most, unique=True))
    return [
        member(f"n{name}", draw(st.sampled_from(zones)), draw(st.integers(1, 5)))
        for name in names
    ]
