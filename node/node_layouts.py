"""The layouts that a node lives by: loaded or made at start, replaced when it is taught newer."""

from __future__ import annotations

import asyncio

from node.handler import Asker
from node.marker import NodeFiles
from ring.codec import pack
from ring.control import pack_layout
from ring.errors import LayoutUnknown, NotAdmitted, WrongEpoch
from ring.layout import Layout, LiveLayouts


def _age(epochs: tuple[int, ...]) -> tuple[int, int]:
    """Orders sets of live layouts: (1,) < (1, 2) < (2,)."""
    return (epochs[-1], epochs[0])


class NodeLayouts:
    """The live layouts.  They only ever move forward."""

    def __init__(self, first: Layout) -> None:
        self.live = self._found = LiveLayouts((first,))
        self._lock = asyncio.Lock()

    async def load(self, files: NodeFiles) -> None:
        """Take what was stored; raises NotAdmitted when it is another cluster's."""
        stored = await files.layouts()
        if not stored:
            return
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
                if files is not None:
                    await files.write_layouts(layouts)
                    self._found = taught
                self.live = taught

    async def store(self, files: NodeFiles) -> None:
        """Make what was learnt without a marker durable."""
        async with self._lock:
            if self.live is not self._found:
                await files.write_layouts(self.live.layouts)
                self._found = self.live

    def check(self, asker: Asker) -> None:
        """Raise WrongEpoch or LayoutUnknown unless the asker lives by the same layouts."""
        if asker.epochs == self.live.epochs:
            return
        if not asker.epochs or _age(asker.epochs) < _age(self.live.epochs):
            packed = pack([pack_layout(layout) for layout in self.live.layouts])
            raise WrongEpoch(
                f"you live by layouts {asker.epochs}, this node by {self.live.epochs}",
                layouts=packed,
            )
        raise LayoutUnknown(f"this node lives by layouts {self.live.epochs}, teach it yours")
