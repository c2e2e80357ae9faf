"""What operators see: the state of every node in words, and where a blob's copies are."""

from __future__ import annotations

from typing import Final

from gateway.cluster import Cluster
from gateway.fanout import Fanout, Outcome
from gateway.garbage_view import garbage_view
from gateway.record_reader import RecordReader
from ring.control import GetStatus, StatusReply
from ring.digest import Digest
from ring.errors import HoldfastError, WrongEpoch
from ring.layout import Member
from ring.life import NodeId
from ring.messages import Request, StatesReply, StatRecords
from ring.purging import CollectGarbage
from ring.record import RecordKey, Root, generation_of, is_live

STATUS_TIMEOUT_S: Final = 2.0
GARBAGE_TIMEOUT_S: Final = 15.0  # nodes look through everything for it
View = dict[str, object]


class OperatorViews:
    """Read-only answers for /v1/status and /v1/admin."""

    def __init__(self, cluster: Cluster, reader: RecordReader) -> None:
        self._cluster = cluster
        self._reader = reader

    async def status(self) -> View:
        """Every node, and what that means for reads and writes.

        Keys: cluster_id, epoch, replicas, write_quorum, nodes, summary, healthy,
        bad_copies_seen_total, protocol_errors_total.
        """
        members = self._cluster.live.members
        outcomes = await self._ask_all([member.node for member in members], GetStatus())
        nodes = [_node_view(member, outcomes.get(member.node)) for member in members]
        silent = [str(node["node"]) for node in nodes if node["state"] != "voter"]
        layout = self._cluster.live.newest
        return {
            "cluster_id": self._cluster.live.cluster_id,
            "epoch": layout.epoch,
            "replicas": layout.replicas,
            "write_quorum": layout.write_quorum,
            "nodes": nodes,
            "bad_copies_seen_total": self._reader.bad_copies_total,
            "protocol_errors_total": self._cluster.protocol_errors_total,
            "summary": self._summary(silent),
            "healthy": not silent,
        }

    async def where(self, digest: Digest) -> View:
        """Owners, spares, and what each of them says of the blob."""
        return await self._cluster.under_layouts(lambda: self._where(digest))

    async def _where(self, digest: Digest) -> View:
        key = RecordKey(digest)
        layout = self._cluster.live.newest
        group = layout.group(digest.partition)
        outcomes = await self._ask_all(list(group.eligible), StatRecords((key,)))
        for outcome in outcomes.values():
            if isinstance(outcome, WrongEpoch):
                raise outcome
        copies = [
            _copy_view(node, "owner" if node in group.owners else "spare", outcomes.get(node))
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
        nodes = [member.node for member in self._cluster.live.members]
        request = CollectGarbage(begin)
        outcomes = await self._ask_all(nodes, request, timeout_s=GARBAGE_TIMEOUT_S)
        return garbage_view(nodes, outcomes)

    async def ready(self) -> str | None:
        """Why this gateway cannot serve writes at the moment; None when it can."""
        members = self._cluster.live.members
        outcomes = await self._ask_all([member.node for member in members], GetStatus())
        voters = [node for node in sorted(outcomes) if _is_voter(outcomes[node])]
        placements = self._cluster.live.distinct_placements()
        if all(placement.is_ack_set(voters) for placement in placements):
            return None
        return f"only {len(voters)} of {len(members)} nodes vote"

    async def _ask_all(
        self, nodes: list[NodeId], request: Request, *, timeout_s: float = STATUS_TIMEOUT_S
    ) -> dict[NodeId, Outcome]:
        fanout = Fanout(self._cluster)
        outcomes: dict[NodeId, Outcome] = {}
        try:
            for node in nodes:
                fanout.ask(node, request, timeout_s=timeout_s)
            while not fanout.exhausted:
                arrived = await fanout.next()
                assert arrived is not None
                outcomes[arrived[0]] = arrived[1]
        finally:
            fanout.abandon()
        return outcomes

    def _summary(self, silent: list[str]) -> str:
        """One sentence on what still works, by the worst partition."""
        members = [member.node for member in self._cluster.live.members]
        voting = [node for node in members if node not in silent]
        if not silent:
            return f"all {len(members)} nodes vote: everything reads and writes"
        placements = self._cluster.live.distinct_placements()
        down = f"{', '.join(silent)} of {len(members)} nodes cannot vote"
        if not all(placement.is_ack_set(voting) for placement in placements):
            return (
                f"{down}: writes fail with 503 where too few are left; what is there still reads "
                "where a copy is up, and absence cannot be told (503 instead of 404)"
            )
        if not all(placement.is_cover(voting) for placement in placements):
            return f"{down}: everything reads and writes, but absence cannot always be told"
        spared = all(
            placement.is_ack_set([node for node in voting if node != lost])
            for placement in placements
            for lost in voting
        )
        more = "one more may fail" if spared else "a second failure would stop writes"
        return f"{down}: everything reads and writes; {more}"


def _is_voter(outcome: Outcome) -> bool:
    if isinstance(outcome, HoldfastError) or not isinstance(outcome.reply, StatusReply):
        return False
    return outcome.reply.state == "voter"


def _node_view(member: Member, outcome: Outcome | None) -> View:
    view: View = {
        "node": member.node,
        "address": member.address,
        "zone": member.zone,
        "state": "unreachable",
        "reason": "",
        "records": None,
        "bytes_stored": None,
        "bytes_free": None,
        "counters": {},
        "error": None,
    }
    if outcome is None or isinstance(outcome, HoldfastError):
        view["error"] = "no answer" if outcome is None else outcome.detail
        return view
    reply = outcome.reply
    if isinstance(reply, StatusReply):
        view |= {
            "state": reply.state,
            "reason": reply.reason,
            "records": reply.records,
            "bytes_stored": reply.bytes_stored,
            "bytes_free": reply.bytes_free,
            "counters": dict(reply.counters),
        }
    else:
        view["error"] = f"answered {type(reply).__name__} when asked how it is"
    return view


def _copy_view(node: NodeId, role: str, outcome: Outcome | None) -> View:
    view: View = {
        "node": node,
        "role": role,
        "state": "unreachable",
        "held": None,
        "root": None,
        "verified_at_s": None,
    }
    if outcome is None or isinstance(outcome, HoldfastError):
        view["error"] = "no answer" if outcome is None else outcome.detail
        return view
    reply = outcome.reply
    state = reply.states[0] if isinstance(reply, StatesReply) and reply.states else None
    if state is None:
        return view | {"state": "receiver: its answer does not count"}
    present = "absent" if not state.exists else "present" if state.held else "no good copy"
    return view | {
        "state": present,
        "held": state.held,
        "root": _root_text(state.root),
        "verified_at_s": state.verified_at_s or None,
    }


def _root_text(root: Root) -> str:
    if root == 0:
        return "none"
    return f"{'live' if is_live(root) else 'dead'}({generation_of(root)})"
