"""Whether the chunks of a large blob are where a commit would have them: asked like at a commit.

Rule: before a recipe with a live root becomes durable on another node, each of its chunks is
confirmed, with its claim, by an ack set.  A recipe that cannot be completed is not spread: it would
be visible and unreadable on more nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from node.local_store import LocalRecordStore
from node.membership import Membership
from node.repair.peers import Peers
from ring.digest import Digest
from ring.errors import HoldfastError
from ring.life import NodeId
from ring.recipe import Recipe

log = structlog.get_logger()


class RecipeCheck:
    """Asks every node that may hold a chunk, this one included."""

    def __init__(self, membership: Membership, store: LocalRecordStore, peers: Peers) -> None:
        self._membership = membership
        self._store = store
        self._peers = peers

    async def missing(self, blob: Digest, recipe: Recipe) -> list[Digest]:
        """Chunks that no ack set has."""
        live = self._membership.layouts.live
        chunks = list(dict.fromkeys(recipe.chunks))
        by_node: dict[NodeId, list[Digest]] = {}
        for chunk in chunks:
            for node in live.placement(chunk).eligible:
                by_node.setdefault(node, []).append(chunk)
        async with asyncio.TaskGroup() as group:
            asked = {
                node: group.create_task(self._confirmed(node, blob, by_node[node]))
                for node in sorted(by_node)
            }
        holders: dict[Digest, list[NodeId]] = {chunk: [] for chunk in chunks}
        for node, task in asked.items():
            for chunk, yes in task.result().items():
                if yes:
                    holders[chunk].append(node)
        if live is not self._membership.layouts.live:
            return chunks
        return [chunk for chunk in chunks if not live.placement(chunk).is_ack_set(holders[chunk])]

    async def _confirmed(
        self, node: NodeId, blob: Digest, chunks: list[Digest]
    ) -> Mapping[Digest, bool]:
        """What a node says of each; nothing when it is silent."""
        try:
            if node == self._membership.node:
                flags = await self._store.confirm(blob, chunks)
                votes = [self._membership.votes(chunk.partition) for chunk in chunks]
                flags = [yes and vote for yes, vote in zip(flags, votes, strict=True)]
            else:
                flags = await self._peers.confirm(node, blob, chunks)
        except HoldfastError as error:
            log.debug("a node does not confirm chunks", node=node, error=error.detail)
            return {}
        return dict(zip(chunks, flags, strict=True))
