"""Planted bugs that the exploration has to find by itself; see tests/mutants/mutant.py.

Each is a rule that the models of the design lost or revived a blob without.
"""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant


def found_in(name: str, *, seconds: int = 60) -> tuple[str, ...]:
    """The scenario that shows it."""
    return ("--model", name, "--seconds", str(seconds))


MODEL_MUTANTS: Final = (
    Mutant(
        "model: a put is acknowledged at W-1",
        "ring/write_quorum.py",
        "        if self.placement.is_ack_set(self.acks):\n",
        "        if self.acks:\n",
        found_in("put-delete"),
    ),
    Mutant(
        "model: the noes of one node are a cover",
        "ring/cover.py",
        "        if self._is_enough("
        "[node for node in self.answers if node not in void]):\n",
        "        if self.answers:\n",
        found_in("put-delete"),
    ),
    Mutant(
        "model: acks count across generations",
        "gateway/record_writer.py",
        "        if generation and reply.root != live(generation):\n"
        "            self._quorum.failed(node)\n",
        "        if generation and reply.root < live(generation):\n"
        "            self._quorum.failed(node)\n",
        found_in("puts-delete"),
    ),
    Mutant(
        "model: a purge asks a quorum only",
        "node/collection/purge.py",
        "                nodes = tuple(node for node in layouts.ever_eligible(partition)"
        " if node != me)\n",
        "                nodes = layouts.ever_eligible(partition)\n"
        "                nodes = tuple(node for node in nodes if node != me)[:1]\n",
        found_in("pull"),
    ),
    Mutant(
        "model: a purge does not raise the floor",
        "node/record_disposal.py",
        "                change.floors[partition] ="
        " max(generation, change.floors.get(partition, 0))\n",
        "                change.floors[partition] = min(generation, 0)\n",
        found_in("late-put"),
    ),
    Mutant(
        "model: a late put at the floor is taken",
        "ring/admission.py",
        "    return generation <= floor\n",
        "    return generation < floor\n",
        found_in("late-put"),
    ),
    Mutant(
        "model: a node that has nothing confirms a tombstone and stores none",
        "node/record_disposal.py",
        "                states.append(after)\n                if after != before:\n",
        "                states.append(after)\n"
        "                if after != before and before.exists:\n",
        found_in("pull-unheard"),
    ),
    Mutant(
        "model: a pull goes on over a purge",
        "node/repair/pull_guard.py",
        "        return self._before == self._now()\n",
        "        return True\n",
        found_in("pull"),
    ),
    Mutant(
        "model: a pull is void only when the floor moved",
        "node/repair/pull_guard.py",
        "            self._facts.dropped(partition),\n",
        "",
        found_in("pull-foreign"),
    ),
    Mutant(
        "model: a purge asks nobody of earlier layouts",
        "node/node_layouts.py",
        "            nodes.update(dict.fromkeys(self.earlier[epoch].group(partition).eligible))\n",
        "            self.earlier[epoch].group(partition)\n",
        found_in("layout-left"),
    ),
    Mutant(
        "model: what a receiver says counts",
        "node/membership.py",
        "        return marker.voting is ALL_PARTITIONS or marker.votes(partition)\n",
        "        return True\n",
        found_in("wiped-put"),
    ),
    Mutant(
        "model: a receiver acknowledges",
        "gateway/cluster.py",
        "        return self.is_current(answer) and answer.voter\n",
        "        return self.is_current(answer)\n",
        found_in("wiped-put"),
    ),
    Mutant(
        "model: acks of a life that is over count",
        "gateway/record_writer.py",
        "                self._quorum.superseded(node)\n",
        "                assert self._acks\n",
        found_in("wiped-put"),
    ),
    Mutant(
        "model: a node rejoins without a cover",
        "node/rejoin.py",
        "        return not concerns or comparison.covered(placement, node)\n",
        "        return not concerns or bool(comparison.listed)\n",
        found_in("wiped-partly"),
    ),
    Mutant(
        "model: a node rejoins without the floors of the others",
        "node/rejoin.py",
        "                await self._store.raise_floor(partition, comparison.floors[partition])\n",
        "                comparison.floors.pop(partition)\n",
        found_in("wiped-late"),
    ),
    Mutant(
        "model: a node rejoins with what was purged meanwhile",
        "node/rejoin.py",
        "                if purged and key not in comparison.seen:\n",
        "                if not purged and key not in comparison.seen:\n",
        found_in("wiped-late"),
    ),
    Mutant(
        "model: a spare drops its copy when the first owner has one",
        "node/repair/handoff.py",
        "        owners = [node for node in placement.owners if node != self._membership.node]\n",
        "        owners = [node for node in placement.owners"
        " if node != self._membership.node][:1]\n",
        found_in("spare-put"),
    ),
    Mutant(
        "model: a spare's no leaves the noes of owners as they are",
        "ring/cover.py",
        "            self._denied_by_spare = True\n",
        "            self._denied_by_spare = False\n",
        found_in("spare-put"),
    ),
    Mutant(
        "model: a chunk is confirmed no more after the recipe",
        "gateway/upload.py",
        "        await confirm_chunks(self._records, blob, self._chunks)\n"
        "        self._proven.add",
        "        self._proven.add",
        found_in("upload-condemned"),
    ),
    Mutant(
        "model: one no is enough to collect",
        "node/cover_question.py",
        "            covered=self._covers[digest].outcome is Outcome.COMMITTED,\n",
        "            covered=bool(states) or self._covers[digest].outcome is Outcome.COMMITTED,\n",
        found_in("upload-condemned"),
    ),
    Mutant(
        "model: noes from before the condemnation count",
        "node/collection/collector.py",
        "            for key, reason in (await self.judge(list(condemned))).items():\n",
        "            for key, reason in first.items():\n",
        found_in("upload-pardoned"),
    ),
    Mutant(
        "model: a chunk is removed though it was pardoned",
        "node/record_disposal.py",
        "            if not self.condemned.stands(raw, number):\n                return False\n",
        "",
        found_in("upload-put-again"),
    ),
    Mutant(
        "model: a condemned chunk says yes to a commit",
        "node/record_keeper.py",
        "state.kind is RecordKind.DATA and not condemned.has(key)",
        "state.kind is RecordKind.DATA",
        found_in("upload-pardoned"),
    ),
    Mutant(
        "model: the collector forgets a claimant",
        "node/collection/collector.py",
        "                needed = next((reasons[one] for one in page if reasons[one]), None)\n",
        "                needed = next((reasons[one] for one in page[:1] if reasons[one]), None)\n",
        found_in("uploads"),
    ),
)
