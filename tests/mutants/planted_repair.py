"""The planted bugs of repair; see tests/mutants/mutant.py."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

REPAIR: Final = ("tests/node/repair",)
FACTS: Final = (
    "tests/conformance/test_record_facts.py",
    "tests/node/test_fact_sums.py",
    "tests/ring/test_facts.py",
)
PLAN: Final = ("tests/ring/test_repair_plan.py", "tests/ring/test_keepers.py")
REJOIN: Final = ("tests/node/test_rejoin.py", "tests/node/test_rejoin_leftovers.py")

REPAIR_MUTANTS: Final = (
    Mutant(
        "repair: what was pulled is taken in whatever happened meanwhile",
        "node/repair/copier.py",
        "absorb(key, state, claims, value, still=guard.holds)\n",
        "absorb(key, state, claims, value)\n",
        REPAIR,
    ),
    Mutant(
        "repair: a floor that rose does not void a pull",
        "node/repair/pull_guard.py",
        "            self._facts.floor(partition),\n",
        "",
        REPAIR,
    ),
    Mutant(
        "repair: a purge does not void a pull",
        "node/repair/pull_guard.py",
        "            self._facts.dropped(partition),\n",
        "",
        REPAIR,
    ),
    Mutant(
        "repair: a handoff copy is dropped without the owners hashing theirs",
        "node/repair/handoff.py",
        "                if await self._peers.verify(owner, key) is not CopyVerdict.GOOD:\n",
        "                if False:\n",
        REPAIR,
    ),
    Mutant(
        "repair: an owner that is silent counts as one that has it",
        "node/repair/handoff.py",
        "            if found is None or not has_all_of(found, own):\n",
        "            if found is not None and not has_all_of(found, own):\n",
        REPAIR,
    ),
    Mutant(
        "repair: a confirmation holds although the record here has changed",
        "node/repair/handoff.py",
        "            unchanged = self._store.facts.describe(key) == own\n",
        "            unchanged = True\n",
        REPAIR,
    ),
    Mutant(
        "repair: any copy of an owner is enough to drop a newer generation",
        "ring/repair_plan.py",
        "    if theirs.state.root < _spreading_root(own.state):\n        return False\n",
        "",
        (*PLAN, *REPAIR),
    ),
    Mutant(
        "repair: settled tombstones are spread again",
        "ring/repair_plan.py",
        "    return NO_ROOT if state.settled else state.root\n",
        "    return state.root\n",
        PLAN,
    ),
    Mutant(
        "repair: an incomplete recipe is spread",
        "node/repair/copier.py",
        "        if not missing:\n            return True\n        self._counters",
        "        return True\n        self._counters",
        REPAIR,
    ),
    Mutant(
        "repair: a bad source is not told to look at its copy",
        "node/repair/copier.py",
        "            await self._peers.verify(node, key)\n",
        "            await asyncio.sleep(0)\n",
        REPAIR,
    ),
    Mutant(
        "repair: answers of receivers count",
        "node/repair/peers.py",
        "        if votes and not answer.voter:\n",
        "        if False:\n",
        REPAIR,
    ),
    Mutant(
        "repair: a copy that was put aside is not missed",
        "node/repair/repair.py",
        '        self.look_at((key,), "lost copy")\n',
        "        return\n",
        REPAIR,
    ),
    Mutant(
        "repair: bytes out of the trash count unseen",
        "node/repair/copier.py",
        "        return await self._store.verify(key) is CopyVerdict.GOOD\n",
        "        return True\n",
        REPAIR,
    ),
    Mutant(
        "repair: nobody makes up for a node that stays away",
        "ring/keepers.py",
        "    return owners + spares[: len(group.owners) - len(owners)]\n",
        "    return owners\n",
        (*PLAN, *REPAIR),
    ),
    Mutant(
        "repair: a record that could not be repaired is forgotten",
        "node/repair/repair.py",
        "                self.queue.again(task, loop.time())\n",
        "                pass\n",
        REPAIR,
    ),
    Mutant(
        "repair: what is newer here is not told to who lacks it",
        "node/repair/handoff.py",
        "                if not has_all_of(found, own[key])\n",
        "                if False\n",
        REPAIR,
    ),
    Mutant(
        "repair: two nodes go on telling each other of what neither has",
        "ring/repair_plan.py",
        "    if wanted and not found.state.held and any(other.state.held for other in known):\n",
        "    if wanted and not found.state.held:\n",
        PLAN,
    ),
    Mutant(
        "facts: a missing copy leaves the fact as it is",
        "ring/facts.py",
        "        if state.held and is_needed:\n",
        "        if is_needed:\n",
        FACTS,
    ),
    Mutant(
        "facts: a popular chunk keeps the sum of the claims it once had",
        "node/fact_sums.py",
        "            popular.add(fact, sign)\n",
        "            pass\n",
        FACTS,
    ),
    Mutant(
        "facts: claims that go with their chunk stay in the sum",
        "node/record_table.py",
        "            self.sums.claim_dropped(chunk, claimant)\n",
        "            pass\n",
        FACTS,
    ),
    Mutant(
        "facts: a claim that is there already is added again",
        "node/index/indexed_table.py",
        "        return watched and (chunk in gone or not self._claims.has(chunk, claimant))\n",
        "        return watched\n",
        FACTS,
    ),
    Mutant(
        "facts: claims of a chunk that compaction moves are lost from the sum",
        "node/index/indexed_table.py",
        "(chunk in gone or not self._claims.has(chunk, claimant))\n",
        "(not self._claims.has(chunk, claimant))\n",
        FACTS,
    ),
    Mutant(
        "facts: what changes behind the counting is counted twice",
        "node/fact_sums.py",
        "        if self.is_complete or (self._upto is not None and key <= self._upto):\n",
        "        if self.is_complete or self._upto is not None:\n",
        FACTS,
    ),
    Mutant(
        "rejoin: everybody is listed once",
        "node/rejoin.py",
        "_PASSES: Final = 2\n",
        "_PASSES: Final = 1\n",
        REJOIN,
    ),
    Mutant(
        "rejoin: a block is voted on without a cover",
        "node/rejoin.py",
        "            if self._is_done(partition, live.partition_placement(partition), comparison)\n"
        "        ]\n",
        "        ]\n",
        REJOIN,
    ),
    Mutant(
        "rejoin: what was purged elsewhere lives on",
        "node/rejoin.py",
        "                if purged and key not in comparison.seen:\n",
        "                if False:\n",
        REJOIN,
    ),
    Mutant(
        "rejoin: floors are not taken over",
        "node/rejoin.py",
        "                await self._store.raise_floor(partition, comparison.floors[partition])\n",
        "                pass\n",
        REJOIN,
    ),
    Mutant(
        "rejoin: what is left of partitions of others is not compared",
        "node/rejoin.py",
        " = node in placement.eligible or partition in comparison.partitions_left\n",
        " = node in placement.eligible\n",
        REJOIN,
    ),
    Mutant(
        "rejoin: what is left of partitions of others is not listed",
        "node/rejoin.py",
        " in placement.eligible or key in comparison.left\n",
        " in placement.eligible\n",
        REJOIN,
    ),
    Mutant(
        "list: what a node keeps that is not its own any more is shown",
        "gateway/record_lister.py",
        "                if node not in live.placement(entry.key.digest).eligible:\n",
        "                if not live:\n",
        ("tests/gateway/test_listing.py",),
    ),
)
