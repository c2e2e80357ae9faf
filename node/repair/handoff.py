"""Brings what this node keeps for others to them, and lets go of it when they have it (P8).

Rules:
1.  Owners are told of what they lack and pull it from here; nothing is pushed.
2.  A record is dropped only after every current owner said, in one round and under the layouts in
    force, that it has all that is here, and hashed its copy since.  That is void once the record
    here changes.
3.  Tombstones stay, wherever they are: purging removes them everywhere at once, with floors.
4.  Claims that owners have and this node lacks are taken in: else it would never agree with them,
    and they, who cannot tell fewer claims from other ones, would go on telling each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from node.incidents import Incidents
from node.local_store import LocalRecordStore
from node.membership import Membership
from node.repair.peers import Peers
from ring.comparing import Description, HintReason
from ring.errors import HoldfastError
from ring.facts import needs_value
from ring.keepers import keepers
from ring.life import NodeId
from ring.messages import CopyVerdict
from ring.operating import IncidentKind
from ring.quorum import Placement
from ring.record import ABSENT, RecordKey
from ring.repair_plan import has_all_of

_BATCH: Final = 512

log = structlog.get_logger()


class Handoff:
    """waiting: records kept for others at the end of the last round."""

    def __init__(
        self,
        membership: Membership,
        store: LocalRecordStore,
        peers: Peers,
        counters: Counter[str],
        incidents: Incidents,
    ) -> None:
        self.waiting = 0
        self._incidents = incidents
        self._membership = membership
        self._store = store
        self._peers = peers
        self._counters = counters

    async def round(self, absent: tuple[NodeId, ...]) -> None:
        """Look at everything here that others should have.  Raises Corrupt or StorageFault."""
        live, me = self._membership.layouts.live, self._membership.node
        waiting = 0
        for partition in await self._store.facts.counted():
            placement = live.partition_placement(partition)
            if me in keepers(placement, absent):
                continue
            keys = [
                key
                for key, state in await self._store.facts.walk(partition)
                if needs_value(state)
            ]
            for start in range(0, len(keys), _BATCH):
                some = keys[start : start + _BATCH]
                waiting += len(some) - await self._hand_over(some, placement)
        self.waiting = waiting

    async def _hand_over(self, keys: Sequence[RecordKey], placement: Placement) -> int:
        """Tell owners what they lack; how many of the records could be dropped."""
        epochs = self._membership.layouts.live.epochs
        own = {key: self._store.facts.describe(key) for key in keys}
        owners = [node for node in placement.owners if node != self._membership.node]
        answers: dict[NodeId, Mapping[RecordKey, Description]] = {}
        for owner in owners:
            answers[owner] = await self._peers.described(owner, keys)
            lacking = [
                key
                for key, found in answers[owner].items()
                if not has_all_of(found, own[key])
            ]
            if lacking:
                told = await self._peers.tell(owner, HintReason.HANDOFF, lacking)
                self._counters["repair_hints_sent_total"] += told
            for key in lacking:
                await self._take_claims(owner, key, own[key], answers[owner][key])
        dropped = 0
        for key in keys:
            if self._is_everywhere(key, own[key], answers) and await self._is_good_at(owners, key):
                dropped += await self._drop(key, own[key], epochs)
        return dropped

    async def _take_claims(
        self, owner: NodeId, key: RecordKey, own: Description, found: Description
    ) -> None:
        """Rule 4; the record, changed by it, is looked at again in the next round."""
        if not (own.state.claimed and found.state.claimed) or own.claims == found.claims:
            return
        try:
            claims = await self._peers.claims(owner, key)
        except HoldfastError as error:
            log.debug("handoff: an owner does not tell claims", owner=owner, error=error.detail)
            return

        def still() -> bool:
            return self._store.facts.describe(key) == own

        if claims:
            await self._store.absorb(key, ABSENT, claims, None, still=still)

    def _is_everywhere(
        self,
        key: RecordKey,
        own: Description,
        answers: Mapping[NodeId, Mapping[RecordKey, Description]],
    ) -> bool:
        """Whether every owner said that it has all that is here."""
        for described in answers.values():
            found = described.get(key)
            if found is None or not has_all_of(found, own):
                return False
        return True

    async def _is_good_at(self, owners: Sequence[NodeId], key: RecordKey) -> bool:
        """Whether every owner finds its copy good now."""
        try:
            for owner in owners:
                if await self._peers.verify(owner, key) is not CopyVerdict.GOOD:
                    return False
        except HoldfastError as error:
            log.debug("handoff: an owner does not verify", error=error.detail)
            return False
        return True

    async def _drop(self, key: RecordKey, own: Description, epochs: tuple[int, ...]) -> bool:
        def still() -> bool:
            unchanged = self._store.facts.describe(key) == own
            return unchanged and self._membership.layouts.live.epochs == epochs

        dropped = await self._store.drop(key, still=still)
        self._counters["repair_handed_over_total"] += dropped
        if dropped:
            words = "every owner has a verified copy; the one kept here for them was dropped"
            self._incidents.note(key, IncidentKind.HANDED_OVER, words)
        return dropped
