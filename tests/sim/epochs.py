"""The layouts in force, as an operator knows them: nodes and gateways learn of them later."""

from __future__ import annotations

from dataclasses import replace

from ring.digest import Digest
from ring.layout import Layout, LiveLayouts
from ring.quorum import Placement


class Epochs:
    """live: what is in force now."""

    def __init__(self, first: Layout) -> None:
        self.live = LiveLayouts((first,))

    def placement(self, digest: Digest) -> Placement:
        """Where a digest may be."""
        return self.live.placement(digest)

    def begin(self) -> None:
        """Another layout lives beside the one there is: every partition moves on by one member."""
        old = self.live.newest
        count = len(old.members)
        table = bytes((index + 1) % count for index in old.table)
        self.live = LiveLayouts((old, replace(old, epoch=old.epoch + 1, table=table)))

    def complete(self) -> None:
        """The newer of two lives on; every owner in it must have everything by now."""
        self.live = LiveLayouts((self.live.newest,))

    def cancel(self) -> None:
        """The table of the older of two lives on, as another epoch."""
        old, new = self.live.layouts
        self.live = LiveLayouts((replace(old, epoch=new.epoch + 1),))
