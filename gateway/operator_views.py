"""What operators see: the state of every node in words, where a blob's copies are and why, how far
repair and scrub are.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.cluster import Cluster
from gateway.fanout import Outcome
from gateway.garbage_view import garbage_view
from gateway.operating.asking import ask_all
from gateway.operating.care import care_view, forecast
from gateway.operating.copies import copy_view
from gateway.operating.node_status import is_voter, node_view, summary
from gateway.operating.why import why_view
from gateway.record_reader import RecordReader
from ring.control import GetStatus
from ring.digest import Digest
from ring.errors import WrongEpoch
from ring.life import NodeId
from ring.messages import Request, StatRecords
from ring.operating import CareOrder, ExplainRecord, GetCare, StartCare
from ring.purging import CollectGarbage
from ring.record import RecordKey

STATUS_TIMEOUT_S: Final = 2.0
GARBAGE_TIMEOUT_S: Final = 15.0  # nodes look through everything for it
CARE_TIMEOUT_S: Final = 10.0  # a node that has just started counts its records first
View = dict[str, object]


class OperatorViews:
    """Answers for /v1/status and /v1/admin."""

    def __init__(self, cluster: Cluster, reader: RecordReader) -> None:
        self._cluster = cluster
        self._reader = reader

    async def status(self) -> View:
        """Every node, and what that means for reads and writes.

        Keys: cluster_id, epoch, replicas, write_quorum, nodes, summary, healthy, ledger
        (gateway/operating/ledger_sum.py), bad_copies_seen_total, protocol_errors_total.
        """
        members = self._cluster.live.members
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(self._ask_all(GetStatus()))
            cared = group.create_task(self._ask_all(GetCare()))
        outcomes = asked.result()
        care = care_view(self._nodes, cared.result())
        nodes = [node_view(member, outcomes.get(member.node)) for member in members]
        for node, row in zip(nodes, _rows(care), strict=True):
            figures = row["figures"]
            assert isinstance(figures, dict)
            node["care"] = figures
            node["remarks"] = row["remarks"]
            node["forecast"] = forecast(figures, node["bytes_free"])
        silent = [str(node["node"]) for node in nodes if node["state"] != "voter"]
        layout = self._cluster.live.newest
        return {
            "cluster_id": self._cluster.live.cluster_id,
            "epoch": layout.epoch,
            "replicas": layout.replicas,
            "write_quorum": layout.write_quorum,
            "nodes": nodes,
            "ledger": care["ledger"],
            "bad_copies_seen_total": self._reader.bad_copies_total,
            "protocol_errors_total": self._cluster.protocol_errors_total,
            "summary": summary(self._cluster.live, silent),
            "healthy": not silent,
        }

    async def care(self, begin: CareOrder | None = None) -> View:
        """How far repair and scrub are; `begin` has every node begin one of them before."""
        started = None if begin is None else await self._ask_all(StartCare(begin))
        outcomes = await self._ask_all(GetCare(), timeout_s=CARE_TIMEOUT_S)
        return care_view(self._nodes, outcomes, started)

    async def why(self, digest: Digest) -> View:
        """What is the matter with a digest, and what will happen."""
        return await self._cluster.under_layouts(lambda: self._why(digest))

    async def _why(self, digest: Digest) -> View:
        outcomes = await self._ask_all(ExplainRecord(RecordKey(digest)))
        _raise_wrong_epoch(outcomes)
        return why_view(digest, self._cluster.live.newest, outcomes)

    async def where(self, digest: Digest) -> View:
        """Owners, spares, and what each of them says of the blob."""
        return await self._cluster.under_layouts(lambda: self._where(digest))

    async def _where(self, digest: Digest) -> View:
        key = RecordKey(digest)
        layout = self._cluster.live.newest
        group = layout.group(digest.partition)
        outcomes = await self._ask_all(StatRecords((key,)), nodes=list(group.eligible))
        _raise_wrong_epoch(outcomes)
        copies = [
            copy_view(node, "owner" if node in group.owners else "spare", outcomes.get(node))
            for node in group.eligible
        ]
        return {
            "digest": str(digest),
            "partition": digest.partition,
            "epoch": layout.epoch,
            "owners": list(group.owners),
            "spares": list(group.spares),
            "copies": copies,
        }

    async def garbage(self, *, begin: bool) -> View:
        """What of each node is on its way out, why, and what waits for what."""
        outcomes = await self._ask_all(CollectGarbage(begin), timeout_s=GARBAGE_TIMEOUT_S)
        return garbage_view(self._nodes, outcomes)

    async def ready(self) -> str | None:
        """Why this gateway cannot serve writes at the moment; None when it can."""
        outcomes = await self._ask_all(GetStatus())
        voters = [node for node in sorted(outcomes) if is_voter(outcomes[node])]
        placements = self._cluster.live.distinct_placements()
        if all(placement.is_ack_set(voters) for placement in placements):
            return None
        return f"only {len(voters)} of {len(self._nodes)} nodes vote"

    @property
    def _nodes(self) -> list[NodeId]:
        return [member.node for member in self._cluster.live.members]

    async def _ask_all(
        self,
        request: Request,
        *,
        nodes: list[NodeId] | None = None,
        timeout_s: float = STATUS_TIMEOUT_S,
    ) -> dict[NodeId, Outcome]:
        asked = self._nodes if nodes is None else nodes
        return await ask_all(self._cluster, asked, request, timeout_s=timeout_s)


def _raise_wrong_epoch(outcomes: dict[NodeId, Outcome]) -> None:
    for outcome in outcomes.values():
        if isinstance(outcome, WrongEpoch):
            raise outcome


def _rows(care: View) -> list[View]:
    rows = care["nodes"]
    assert isinstance(rows, list)
    return rows
