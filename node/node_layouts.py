"""The layouts that a node lives by: loaded or made at start, replaced when it is taught newer.

Those that are over are kept: a purge asks whoever was eligible under any of them.  A node that was
away may have missed some, and learns them from its peers before it purges (node/collection).
"""

from __future__ import annotations

import asyncio

import structlog

from node.handler import Asker
from node.marker import NodeFiles
from ring.codec import pack, unpack
from ring.control import pack_layout, parse_layouts
from ring.errors import HoldfastError, LayoutUnknown, NotAdmitted, WrongEpoch
from ring.layout import Layout, LiveLayouts
from ring.life import NodeId

log = structlog.get_logger()


def _age(epochs: tuple[int, ...]) -> tuple[int, int]:
    """Orders sets of live layouts: (1,) < (1, 2) < (2,)."""
    return (epochs[-1], epochs[0])


class NodeLayouts:
    """The live layouts.  They only ever move forward.

    earlier: those that are over, as far as this node knows them, by epoch.
    """

    def __init__(self, first: Layout) -> None:
        self.live = self._found = LiveLayouts((first,))
        self.earlier: dict[int, Layout] = {}
        self._unwritten: dict[int, Layout] = {}
        self._lock = asyncio.Lock()

    @property
    def missing_epochs(self) -> list[int]:
        """Epochs before the live ones whose layouts are not known here."""
        return [epoch for epoch in range(1, self.live.epochs[0]) if epoch not in self.earlier]

    def ever_eligible(self, partition: int) -> tuple[NodeId, ...]:
        """Who may have records of a partition under any layout so far, retired nodes apart.

        Only where there are no `missing_epochs`.
        """
        nodes = dict.fromkeys(self.live.partition_placement(partition).eligible)
        for epoch in sorted(self.earlier):
            nodes.update(dict.fromkeys(self.earlier[epoch].group(partition).eligible))
        retired = self.live.retired
        return tuple(node for node in nodes if node not in retired)

    async def load(self, files: NodeFiles) -> None:
        """Take what was stored; raises NotAdmitted when it is another cluster's."""
        stored = await files.layouts()
        if not stored:
            return
        self.earlier = {layout.epoch: layout for layout in await files.earlier_layouts()}
        if stored[0].cluster_id != self.live.cluster_id:
            raise NotAdmitted(
                f"the data directory knows cluster {stored[0].cluster_id}, the configuration "
                f"describes {self.live.cluster_id}: member list, replicas or seed differ"
            )
        self.live = self._found = LiveLayouts(stored)

    async def learn(self, layouts: tuple[Layout, ...], files: NodeFiles | None) -> None:
        """Adopt newer layouts, durably first; older ones are ignored.

        files: None while there is no marker; then `store` follows before the first vote.
        """
        if layouts[0].cluster_id != self.live.cluster_id:
            raise NotAdmitted(f"layouts of cluster {layouts[0].cluster_id} are not ours")
        taught = LiveLayouts(layouts)
        async with self._lock:
            if _age(taught.epochs) > _age(self.live.epochs):
                over = [known for known in self.live.layouts if known.epoch not in taught.epochs]
                for layout in over:
                    await self._keep(layout, files)
                if files is not None:
                    await files.write_layouts(layouts)
                    self._found = taught
                self.live = taught

    async def learn_earlier(self, layout: Layout, files: NodeFiles) -> None:
        """Keep a layout that was over before this node heard of it, durably first."""
        if layout.cluster_id != self.live.cluster_id or layout.epoch >= self.live.epochs[0]:
            raise NotAdmitted(f"layout {layout.epoch} of {layout.cluster_id} is none of our past")
        async with self._lock:
            await self._keep(layout, files)

    async def learn_from(self, error: WrongEpoch, files: NodeFiles | None) -> None:
        """Adopt the newer layouts that a peer answered with; what is none is passed over."""
        packed = error.facts.get("layouts")
        try:
            if isinstance(packed, bytes):
                await self.learn(parse_layouts(unpack(packed)), files)
        except HoldfastError as refused:
            log.warning("layouts of a peer are not learnt", error=refused.detail)

    async def store(self, files: NodeFiles) -> None:
        """Make what was learnt without a marker durable."""
        async with self._lock:
            for layout in list(self._unwritten.values()):
                await self._keep(layout, files)
            if self.live is not self._found:
                await files.write_layouts(self.live.layouts)
                self._found = self.live

    async def _keep(self, layout: Layout, files: NodeFiles | None) -> None:
        """Remember a layout that is over; before the live ones are replaced on disk."""
        if files is None:
            self._unwritten[layout.epoch] = layout
        else:
            await files.write_earlier_layout(layout)
            self._unwritten.pop(layout.epoch, None)
        self.earlier[layout.epoch] = layout

    def check(self, asker: Asker) -> None:
        """Raise WrongEpoch or LayoutUnknown unless the asker lives by the same layouts.

        NotAdmitted for a retired node: purges do not wait for it, so what it has may be deleted.
        """
        if asker.is_peer and asker.name in self.live.retired:
            raise NotAdmitted(f"{asker.name} was retired")
        if asker.epochs == self.live.epochs:
            return
        if not asker.epochs or _age(asker.epochs) < _age(self.live.epochs):
            packed = pack([pack_layout(layout) for layout in self.live.layouts])
            raise WrongEpoch(
                f"you live by layouts {asker.epochs}, this node by {self.live.epochs}",
                layouts=packed,
            )
        raise LayoutUnknown(f"this node lives by layouts {self.live.epochs}, teach it yours")
