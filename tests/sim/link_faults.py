"""Links that are cut, one way or both, and links that are slow."""

from __future__ import annotations

from collections.abc import Mapping

from tests.sim.battlefield import Battlefield, Move
from tests.sim.network import Place

Link = tuple[Place, Place]


class LinkFaults:
    """See the module."""

    def __init__(self, field: Battlefield) -> None:
        self._field = field

    def moves(self) -> Mapping[str, Move]:
        """By kind of fault."""
        return {
            "isolate": self._isolate,
            "one-way": self._cut_one_way,
            "split": self._split,
            "gateway-cut": self._cut_gateway,
            "slow-links": self._slow_links,
        }

    async def cut_for(self, links: list[Link], *, both: bool) -> None:
        """Cut links for a while."""
        field = self._field
        if both:
            links = [*links, *[(target, source) for source, target in links]]
        for source, target in links:
            field.network.cut(source, target)
        await field.pause(4.0)
        field.trace.event("mend")
        for source, target in links:
            field.network.join(source, target)

    async def isolate(self, node: Place) -> None:
        """Nothing reaches a node and nothing leaves it, for a while."""
        self._field.trace.fault("isolate", node)
        await self.cut_for([(node, other) for other in self._field.places], both=True)

    async def _isolate(self) -> None:
        await self.isolate(self._field.a_machine().node)

    async def _cut_one_way(self) -> None:
        field = self._field
        source, target = field.rng.sample(field.places, 2)
        field.trace.fault("one-way", source, target)
        links = field.rng.choice(
            (
                [(source, target)],
                [(source, other) for other in field.places],
                [(other, target) for other in field.places],
            )
        )
        await self.cut_for(links, both=False)

    async def _split(self) -> None:
        field = self._field
        side = [place for place in field.places if field.rng.random() < 0.5]
        rest = [place for place in field.places if place not in side]
        field.trace.fault("split", *side)
        await self.cut_for([(one, other) for one in side for other in rest], both=True)

    async def _cut_gateway(self) -> None:
        field = self._field
        gateway = field.rng.choice(field.gateways.places)
        some = [node for node in field.machines if field.rng.random() < 0.4]
        field.trace.fault("gateway-cut", gateway, *some)
        both = field.rng.random() < 0.5
        await self.cut_for([(gateway, node) for node in some], both=both)

    async def _slow_links(self) -> None:
        field = self._field
        node = field.a_machine().node
        factor = field.rng.choice((10.0, 1000.0))
        field.trace.fault("slow-links", node, int(factor))
        field.network.faults.slow[node] = factor
        await field.pause(5.0)
        field.network.faults.slow.pop(node, None)
