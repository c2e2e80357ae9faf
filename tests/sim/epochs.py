"""The layouts in force, as an operator knows them: nodes and gateways learn of them later."""

from __future__ import annotations

from dataclasses import replace

from ring.digest import Digest
from ring.layout import Layout, LiveLayouts
from ring.life import NodeId
from ring.limits import PARTITIONS
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

    def begin_without(self, node: NodeId) -> None:
        """Another layout lives beside the one there is, in which a member is retired."""
        old = self.live.newest
        members = tuple(member for member in old.members if member.node != node)
        spares = min(old.spares, len(members) - old.replicas)
        index = {member.node: number for number, member in enumerate(members)}
        table = bytearray()
        for partition in range(PARTITIONS):
            row = dict.fromkeys([*old.group(partition).eligible, *index])
            row.pop(node, None)
            table += bytes([index[one] for one in [*row][: old.replicas + spares]])
        new = replace(
            old,
            epoch=old.epoch + 1,
            spares=spares,
            members=members,
            table=bytes(table),
            retired=(*old.retired, node),
        )
        self.live = LiveLayouts((old, new))

    def complete(self) -> None:
        """The newer of two lives on; every owner in it must have everything by now."""
        self.live = LiveLayouts((self.live.newest,))

    def cancel(self) -> None:
        """The table of the older of two lives on, as another epoch."""
        old, new = self.live.layouts
        self.live = LiveLayouts((replace(old, epoch=new.epoch + 1),))
