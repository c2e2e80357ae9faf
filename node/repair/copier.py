"""Repairs single records: asks everybody about them, and takes what is newer or missing here.

Rules:
1.  Every value is verified before it is stored; a peer that sent a bad one is told, so that it
    looks at its copy, and another is asked.
2.  What is taken in depends on a guard (node/repair/pull_guard.py) from before anybody was asked;
    if it does not hold when a record has its turn, everybody is asked once more.
3.  A live recipe is taken in only when its chunks are where they belong (recipe_check).
4.  Peers that keep the record and lack what is known are told; nothing is ever pushed.
5.  A chunk of which everybody's claimants are gone, or never came to be, is left to the collector,
    which would remove it again: it is not fetched, and nobody is told of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
from msgspec import Struct, field
from msgspec.structs import replace

from node.collection.garbage_verdicts import GarbageVerdicts
from node.incidents import Incidents
from node.local_store import LocalRecordStore
from node.membership import Membership
from node.repair.pace import Pace
from node.repair.peers import Peers
from node.repair.pull_guard import PullGuard
from node.repair.recipe_check import RecipeCheck
from node.repair.repair_queue import RepairTask
from ring.comparing import Description, HintReason
from ring.digest import Buffer, Digest
from ring.errors import Corrupt, DigestMismatch, DiskFull, HoldfastError
from ring.facts import needs_value
from ring.keepers import keepers
from ring.life import NodeId
from ring.messages import CopyVerdict
from ring.operating import IncidentKind
from ring.recipe import Recipe
from ring.record import RecordKey, RecordKind, RecordState, is_live
from ring.repair_plan import Need, RepairPlan, plan_repair


class _Batch(Struct):
    """What the records of one batch share.  lacking: what to tell whom when all are done."""

    garbage: GarbageVerdicts | None
    lacking: dict[NodeId, list[RecordKey]] = field(default_factory=dict)


_TROUBLES_MAX: Final = 1_000

log = structlog.get_logger()


class Copier:
    """absent: who is made up for at the moment.  troubles: what could not be repaired, in words.

    counters: what was done, by name.
    """

    def __init__(
        self,
        membership: Membership,
        store: LocalRecordStore,
        peers: Peers,
        pace: Pace,
        counters: Counter[str],
        *,
        incidents: Incidents,
        copies_at_once: int,
        garbage: Callable[[], GarbageVerdicts] | None = None,
        when_agreed: Callable[[RecordKey], None] | None = None,
        when_left: Callable[[RecordKey], None] | None = None,
    ) -> None:
        self.absent: tuple[NodeId, ...] = ()
        self.troubles: dict[RecordKey, str] = {}
        self._membership = membership
        self._store = store
        self._peers = peers
        self._pace = pace
        self._counters = counters
        self._incidents = incidents
        self._when_agreed = when_agreed
        self._when_left = when_left
        self._turns = asyncio.Semaphore(copies_at_once)
        self._recipes = RecipeCheck(membership, store, peers)
        self._garbage = garbage

    async def attend(self, tasks: Sequence[RepairTask]) -> list[RepairTask]:
        """Look at records; those that have to be looked at again."""
        guards = [self._guard(task.key) for task in tasks]
        answers = await self._describe(tasks)
        batch = _Batch(None if self._garbage is None else self._garbage())
        async with asyncio.TaskGroup() as group:
            working = [
                group.create_task(self._attend(task, answers[task.key], guard, batch))
                for task, guard in zip(tasks, guards, strict=True)
            ]
        for node in sorted(batch.lacking):
            told = await self._peers.tell(node, HintReason.COMPARISON, batch.lacking[node])
            self._counters["repair_hints_sent_total"] += told
        return [task for task, work in zip(tasks, working, strict=True) if not work.result()]

    async def _attend(
        self,
        task: RepairTask,
        answers: Mapping[NodeId, Description],
        guard: PullGuard,
        batch: _Batch,
    ) -> bool:
        """Repair one record; false when that did not work out."""
        try:
            return await self._repair(task, answers, guard, batch)
        except DiskFull as error:
            return self._fails(task.key, f"no room here: {error.detail}")
        except HoldfastError as error:
            return self._fails(task.key, error.detail)

    async def _repair(
        self,
        task: RepairTask,
        answers: Mapping[NodeId, Description],
        guard: PullGuard,
        batch: _Batch,
    ) -> bool:
        key = task.key
        placement = self._membership.layouts.live.placement(key.digest)
        nodes = keepers(placement, self.absent)
        own, plan = self._plan(key, answers)
        if await self._is_left_over(key, own, plan, answers, batch):
            self.troubles.pop(key, None)
            self._leave(key)
            return True
        for node in plan.lacking:
            batch.lacking.setdefault(node, []).append(key)
        if plan.need is Need.NOTHING:
            self.troubles.pop(key, None)
            everybody = all(node in answers for node in nodes if node != self._membership.node)
            if self._when_agreed is not None and everybody and not plan.lacking:
                self._when_agreed(key)
            asked = {*placement.eligible} - {self._membership.node}
            return bool(answers) or not asked
        async with self._turns:
            if not guard.holds():
                guard, answers = self._guard(key), (await self._describe((task,)))[key]
                own, plan = self._plan(key, answers)
            done = await self._take(key, own, plan, answers, guard, garbage=batch.garbage)
        if done:
            self.troubles.pop(key, None)
        return done

    async def _is_left_over(
        self,
        key: RecordKey,
        own: Description,
        plan: RepairPlan,
        answers: Mapping[NodeId, Description],
        batch: _Batch,
    ) -> bool:
        """Rule 5, of a chunk that is here: whether others lack nothing else of it."""
        if batch.garbage is None or plan.need is not Need.NOTHING or not plan.lacking:
            return False
        if is_live(plan.root) or not own.state.claimed:
            return False
        if any(answers[node].state.root < plan.root for node in plan.lacking):
            return False
        return await batch.garbage.is_left_over(key)

    def _leave(self, key: RecordKey) -> None:
        self._counters["repair_left_to_collector_total"] += 1
        if self._when_left is not None:
            self._when_left(key)

    def _guard(self, key: RecordKey) -> PullGuard:
        return PullGuard(self._store.facts, self._membership, key.digest.partition)

    def _plan(
        self, key: RecordKey, answers: Mapping[NodeId, Description]
    ) -> tuple[Description, RepairPlan]:
        """What is here at this moment, and what to do about it."""
        nodes = keepers(self._membership.layouts.live.placement(key.digest), self.absent)
        own = self._store.facts.describe(key)
        return own, plan_repair(own, answers, nodes, keeps=self._membership.node in nodes)

    # --- taking -----------------------------------------------------------------------------------

    async def _take(
        self,
        key: RecordKey,
        own: Description,
        plan: RepairPlan,
        answers: Mapping[NodeId, Description],
        guard: PullGuard,
        *,
        garbage: GarbageVerdicts | None,
    ) -> bool:
        if plan.need is Need.NOTHING:
            return True
        if plan.need is Need.LOST:
            self._counters["repair_no_good_copy_total"] += 1
            return self._fails(key, "no node that answered has a good copy of it")
        claims: dict[Digest, None] = {}
        for node in plan.claims_from:
            claims.update(dict.fromkeys(await self._peers.claims(node, key)))
        is_new_chunk = not is_live(plan.root) and not needs_value(own.state)
        if is_new_chunk and garbage and await garbage.is_garbage(key, tuple(claims)):
            self._leave(key)
            if plan.root <= own.state.root:
                return True
            buried = RecordState(root=plan.root)
            return await self._store.absorb(key, buried, (), None, still=guard.holds)
        if plan.need is Need.STATE and await self._copy_here_is_good(key, own, plan):
            newest = max((answer.state for answer in answers.values()), key=_root)
            if not await self._may_spread(key, own.state, plan, None):
                return False
            taken = await self._store.absorb(key, newest, tuple(claims), None, still=guard.holds)
            self._counters["repair_states_total"] += taken
            return taken
        for node in plan.sources:
            if await self._take_value(node, key, plan, tuple(claims), guard):
                return True
        return self._fails(key, "no source gave a good copy of it")

    async def _copy_here_is_good(
        self, key: RecordKey, own: Description, plan: RepairPlan
    ) -> bool:
        """Whether what is here may stay as it is; bytes out of the trash are hashed first."""
        if not is_live(plan.root) or needs_value(own.state):
            return True
        return await self._store.verify(key) is CopyVerdict.GOOD

    async def _take_value(
        self,
        node: NodeId,
        key: RecordKey,
        plan: RepairPlan,
        claims: Sequence[Digest],
        guard: PullGuard,
    ) -> bool:
        try:
            state, value = await self._peers.value(node, key)
        except HoldfastError as error:
            log.info("repair: a source failed", node=node, error=error.detail)
            return False
        if value is None:
            return False
        await self._pace.spend(len(value))
        state = replace(state, root=max(state.root, plan.root), settled=False)
        try:
            if not await self._may_spread(key, state, plan, value):
                return False
            taken = await self._store.absorb(key, state, claims, value, still=guard.holds)
        except (Corrupt, DigestMismatch) as error:
            await self._report_bad_copy(node, key, error)
            return False
        self._counters["repair_copied_total"] += taken
        self._counters["repair_copied_bytes_total"] += len(value) if taken else 0
        if taken:
            self._incidents.note(key, IncidentKind.FETCHED, f"a verified copy came from {node}")
        return taken

    async def _may_spread(
        self, key: RecordKey, state: RecordState, plan: RepairPlan, value: Buffer | None
    ) -> bool:
        """Rule 3.  value: the recipe, None for the one that is here.  Raises Corrupt."""
        if not is_live(plan.root) or state.kind is not RecordKind.RECIPE:
            return True
        if value is None:
            _, value = await self._store.get(key)
            if value is None:
                return False
        missing = await self._recipes.missing(key.digest, Recipe.decode(key.digest, value))
        if not missing:
            return True
        self._counters["repair_incomplete_recipes_total"] += 1
        words = f"{len(missing)} chunks of this large blob are on too few nodes: {missing[0]}"
        return self._fails(key, words)

    async def _report_bad_copy(
        self, node: NodeId, key: RecordKey, error: HoldfastError
    ) -> None:
        self._counters["repair_bad_sources_total"] += 1
        log.warning("a peer has a bad copy", node=node, digest=str(key.digest), error=error.detail)
        try:
            await self._peers.verify(node, key)
        except HoldfastError as refused:
            log.info("a peer does not look at its bad copy", node=node, error=refused.detail)

    def _fails(self, key: RecordKey, words: str) -> bool:
        if key not in self.troubles and len(self.troubles) < _TROUBLES_MAX:
            log.info("a record cannot be repaired yet", digest=str(key.digest), reason=words)
        if key in self.troubles or len(self.troubles) < _TROUBLES_MAX:
            self.troubles[key] = words
        self._incidents.note(key, IncidentKind.NOT_REPAIRED, words)
        return False

    # --- asking and telling -----------------------------------------------------------------------

    async def _describe(
        self, tasks: Sequence[RepairTask]
    ) -> dict[RecordKey, dict[NodeId, Description]]:
        """What everybody who may know says; nobody who is silent."""
        live, me = self._membership.layouts.live, self._membership.node
        keys_of: dict[NodeId, list[RecordKey]] = {}
        for task in tasks:
            nodes = (*live.placement(task.key.digest).eligible, *task.askable)
            for node in dict.fromkeys(nodes):
                if node != me:
                    keys_of.setdefault(node, []).append(task.key)
        answers: dict[RecordKey, dict[NodeId, Description]] = {task.key: {} for task in tasks}
        async with asyncio.TaskGroup() as group:
            asked = {
                node: group.create_task(self._peers.described(node, keys_of[node]))
                for node in sorted(keys_of)
            }
        for node, work in asked.items():
            for key, found in work.result().items():
                answers[key][node] = found
        return answers


def _root(state: RecordState) -> int:
    return 0 if state.settled else state.root
