"""The ledger of this node: what copy_ledger.py counts, with what is known at the moment."""

from __future__ import annotations

import asyncio
from typing import Final

from node.local_store import LocalRecordStore
from node.membership import SILENT_S, Membership
from node.repair.copy_ledger import Difference, LedPartition, count_copies
from node.repair.repair import LastComparison, Repair
from node.repair.repair_settings import RepairSettings
from ring.keepers import keepers
from ring.life import NodeId
from ring.limits import PARTITIONS
from ring.operating import LedgerCount
from ring.quorum import Placement

_INTERVALS: Final = 3.0
_COMPARED_LATELY_S: Final = 60.0


class LedgerReader:
    """Over one node's repair."""

    def __init__(
        self,
        membership: Membership,
        store: LocalRecordStore,
        repair: Repair,
        settings: RepairSettings,
    ) -> None:
        self._membership = membership
        self._store = store
        self._repair = repair
        self._known: tuple[object, dict[int, tuple[NodeId, ...]]] = (None, {})
        self._lately_s = max(_COMPARED_LATELY_S, _INTERVALS * settings.interval_s)

    async def count(self) -> tuple[LedgerCount | None, str]:
        """The count, or why there is none."""
        membership = self._membership
        if not membership.votes_everywhere:
            return None, f"it does not vote: {membership.reason}"
        sums = await self._store.facts.kept()
        others = self._led()
        partitions = [
            LedPartition(partition, others[partition], found.kept, found.held, found.oldest_s)
            for partition, found in sums
            if partition in others
        ]
        compared = {
            peer: self._difference(last)
            for peer, last in sorted(self._repair.last.items())
            if last.compared.complete and self._age_s(last) <= self._lately_s
        }
        facts = self._store.facts
        counted = count_copies(
            list(others), partitions, compared, lambda key: facts.describe(key).state
        )
        return counted, ""

    def _led(self) -> dict[int, tuple[NodeId, ...]]:
        """The partitions that this node leads, each with its other keepers."""
        membership, absent = self._membership, self._repair.copier.absent
        silent = membership.silent_for(SILENT_S)
        live = membership.layouts.live
        if self._known[0] == (live.epochs, absent, silent):
            return self._known[1]
        known: dict[Placement, tuple[NodeId, ...] | None] = {}
        found: dict[int, tuple[NodeId, ...]] = {}
        for partition in range(PARTITIONS):
            placement = live.partition_placement(partition)
            if placement not in known:
                known[placement] = self._others(keepers(placement, absent), silent)
            others = known[placement]
            if others is not None:
                found[partition] = others
        self._known = ((live.epochs, absent, silent), found)
        return found

    def _others(
        self, nodes: tuple[NodeId, ...], silent: tuple[NodeId, ...]
    ) -> tuple[NodeId, ...] | None:
        me = self._membership.node
        first = next((node for node in nodes if node not in silent), None)
        return tuple(node for node in nodes if node != me) if first == me else None

    def _difference(self, last: LastComparison) -> Difference:
        agreed, left_over = self._repair.agreed, self._repair.left_over
        differing = [
            key for key in last.compared.differing if agreed.get(key, last.at_s) <= last.at_s
        ]
        return Difference(
            {key: None for key in differing if key not in left_over},
            int(1000 * self._age_s(last)),
            {key: None for key in differing if key in left_over},
        )

    def _age_s(self, last: LastComparison) -> float:
        return asyncio.get_running_loop().time() - last.at_s
