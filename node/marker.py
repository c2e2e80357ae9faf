"""What a data directory says of itself, and what it remembers of its peers.

Rules:
1.  No marker, no writes: a directory that is empty because its disk is not mounted stays empty.
2.  The boot counter is raised durably before a process says anything.
3.  A peer's later life is stored durably before the answer that admits to knowing it.
4.  The marker is on the file system that holds the records, so both vanish and roll back together.

Files: `.holdfast/marker` [version, cluster id, node, incarnation, boot, voting partitions],
`.holdfast/peers` [version, [[node, life], ...]], `.holdfast/layouts` [version, [layout, ...]], and
`.holdfast/layout-<epoch>` [version, layout] for each layout that is over.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from node.room_reserve import RoomReserve
from node.sealed_file import read_sealed, write_sealed
from ring.control import Lives, pack_layout, pack_lives, parse_layout, parse_layouts, parse_lives
from ring.errors import Corrupt, DiskFull, NotAdmitted
from ring.fields import integer, octets, row, text
from ring.layout import Layout
from ring.life import NodeId
from ring.limits import PARTITIONS
from ring.seams import Disk, Randomness

DIRECTORY: Final = ".holdfast"
MARKER_PATH: Final = f"{DIRECTORY}/marker"
_EARLIER_PREFIX: Final = "layout-"
_VERSION: Final = 1
ALL_PARTITIONS: Final = b"\xff" * (PARTITIONS // 8)
NO_PARTITIONS: Final = bytes(PARTITIONS // 8)
FIRST_INCARNATION: Final = 1


class Marker(Struct, frozen=True):
    """Who this directory belongs to.

    voting: one bit for each partition (bit p % 8 of byte p // 8); clear while this node is a
        receiver of it.
    """

    cluster_id: str
    node: NodeId
    incarnation: int
    boot: int
    voting: bytes

    def votes(self, partition: int) -> bool:
        """Whether this node may vote on the records of a partition."""
        return bool(self.voting[partition >> 3] >> (partition & 7) & 1)

    @property
    def receiver(self) -> bool:
        """Whether any partition is still to be compared."""
        return self.voting != ALL_PARTITIONS

    @property
    def is_newborn(self) -> bool:
        """Whether this is a new node that has not voted yet; whoever lost its disk lives again."""
        return self.incarnation == FIRST_INCARNATION and self.voting == NO_PARTITIONS


class NodeFiles:
    """The files in which a data directory says what it is."""

    def __init__(self, disk: Disk, randomness: Randomness) -> None:
        self._disk = disk
        self._randomness = randomness
        self._reserve = RoomReserve(disk, DIRECTORY)

    async def marker(self, cluster_id: str, node: NodeId) -> Marker | None:
        """The marker, None for a blank directory.

        Raises NotAdmitted when it belongs to somebody else, Corrupt when it cannot be read.
        """
        value = await read_sealed(self._disk, DIRECTORY, "marker")
        if value is None:
            return None
        version, cluster, owner, incarnation, boot, voting = row(value, 6)
        if version != _VERSION:
            raise NotAdmitted(f"the data directory has format {version!r}, this release knows 1")
        bits = octets(voting)
        if len(bits) != len(ALL_PARTITIONS):
            raise Corrupt("the marker's partitions have the wrong length")
        marker = Marker(
            text(cluster), NodeId(text(owner)), integer(incarnation), integer(boot), bits
        )
        if (marker.cluster_id, marker.node) != (cluster_id, node):
            raise NotAdmitted(
                f"the data directory belongs to node {marker.node} of cluster "
                f"{marker.cluster_id}, not to {node} of {cluster_id}"
            )
        return marker

    async def write_marker(self, marker: Marker) -> None:
        """Store it durably; raises DiskFull or StorageFault."""
        fields = (
            _VERSION,
            marker.cluster_id,
            marker.node,
            marker.incarnation,
            marker.boot,
            marker.voting,
        )
        await self._write("marker", fields)

    async def has_marker(self) -> bool:
        """Whether the directory is still the one that was started on."""
        return await self._disk.info(MARKER_PATH) is not None

    async def peers(self) -> Lives:
        """The latest lives of others that were stored."""
        value = await read_sealed(self._disk, DIRECTORY, "peers")
        return () if value is None else parse_lives(row(value, 2)[1])

    async def write_peers(self, lives: Lives) -> None:
        """Store them durably."""
        await self._write("peers", (_VERSION, pack_lives(lives)))

    async def layouts(self) -> tuple[Layout, ...]:
        """The live layouts that were stored; empty before the first."""
        value = await read_sealed(self._disk, DIRECTORY, "layouts")
        return () if value is None else parse_layouts(row(value, 2)[1])

    async def write_layouts(self, layouts: tuple[Layout, ...]) -> None:
        """Store them durably."""
        await self._write("layouts", (_VERSION, [pack_layout(layout) for layout in layouts]))

    async def earlier_layouts(self) -> tuple[Layout, ...]:
        """Layouts that are over, by epoch."""
        found: dict[int, Layout] = {}
        for name in await self._disk.list_directory(DIRECTORY):
            if name.startswith(_EARLIER_PREFIX) and name.removeprefix(_EARLIER_PREFIX).isdigit():
                value = await read_sealed(self._disk, DIRECTORY, name)
                layout = parse_layout(row(value, 2)[1])
                found[layout.epoch] = layout
        return tuple(found[epoch] for epoch in sorted(found))

    async def write_earlier_layout(self, layout: Layout) -> None:
        """Store it durably."""
        await self._write(f"{_EARLIER_PREFIX}{layout.epoch}", (_VERSION, pack_layout(layout)))

    async def _write(self, name: str, value: object) -> None:
        await self._disk.make_directories(DIRECTORY)
        try:
            await write_sealed(self._disk, DIRECTORY, name, value, self._randomness)
        except DiskFull:
            if not await self._reserve.give_up():
                raise
            await write_sealed(self._disk, DIRECTORY, name, value, self._randomness)
        await self._reserve.keep()
