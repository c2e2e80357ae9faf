"""Planted bugs of trash, purge and collection; see tests/mutants/mutant.py."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

PURGE: Final = ("tests/ring/test_purge.py",)
DRIVER: Final = ("tests/node/collection/test_purge_driver.py",)
COLLECTOR: Final = (
    "tests/node/collection/test_collector.py",
    "tests/node/collection/test_collected_elsewhere.py",
)
TRASH: Final = ("tests/node/collection/test_trash.py",)
COVER: Final = ("tests/node/test_cover_question.py",)
ADMISSION: Final = ("tests/ring/test_admission.py",)
UNDELETE: Final = ("tests/gateway/test_undelete.py",)
DISPOSAL: Final = ("tests/conformance/test_record_disposal.py", "-k", "in_memory")
LAYOUTS: Final = ("tests/node/test_node_layouts.py",)

DELETION_MUTANTS: Final = (
    Mutant(
        "purge: only the owners of today are asked",
        "node/node_layouts.py",
        "        nodes = dict.fromkeys(self.live.partition_placement(partition).eligible)\n"
        "        for epoch in sorted(self.earlier):\n"
        "            nodes.update(dict.fromkeys(self.earlier[epoch].group(partition).eligible))\n",
        "        nodes = dict.fromkeys(self.live.partition_placement(partition).owners)\n",
        DRIVER,
    ),
    Mutant(
        "purge: nodes of earlier layouts are not asked",
        "node/node_layouts.py",
        "            nodes.update(dict.fromkeys(self.earlier[epoch].group(partition).eligible))\n",
        "            self.earlier[epoch].group(partition)\n",
        (*DRIVER, *LAYOUTS),
    ),
    Mutant(
        "purge: who is about to be retired is not asked any more",
        "node/node_layouts.py",
        "        retired = self.live.retired\n",
        "        retired = self.live.newest.retired\n",
        LAYOUTS,
    ),
    Mutant(
        "layouts: a retired node has its say",
        "node/node_layouts.py",
        "        if asker.is_peer and asker.name in self.live.retired:\n",
        "        if asker.is_peer and asker.name in ():\n",
        LAYOUTS,
    ),
    Mutant(
        "purge: a node that missed a layout purges all the same",
        "node/node_layouts.py",
        " [epoch for epoch in range(1, self.live.epochs[0]) if epoch not in self.earlier]\n",
        " []\n",
        (*DRIVER, *LAYOUTS),
    ),
    Mutant(
        "purge: silence confirms",
        "node/collection/purge.py",
        "            self._silent[node] = None\n            return\n",
        "            self._silent[node] = None\n"
        "            states = [RecordState(root=one.root) for one in asked]\n"
        "            step.answered(node, self._membership.life, asked, states)\n"
        "            return\n",
        DRIVER,
    ),
    Mutant(
        "purge: a tombstone goes when its time is over",
        "node/record_disposal.py",
        "                if state.root != one.root or not state.settled:\n",
        "                if state.root != one.root:\n",
        DISPOSAL,
    ),
    Mutant(
        "purge: one node that holds the delete is enough",
        "ring/purge.py",
        "            if not missing and not any(",
        "            if len(missing) < max(1, len(self._needed[one])) and not any(",
        PURGE,
    ),
    Mutant(
        "purge: a confirmation outlives the life that gave it",
        "ring/purge.py",
        "            if not missing and not any(",
        "            if not missing or any(",
        PURGE,
    ),
    Mutant(
        "purge: a receiver's word counts",
        "ring/purge.py",
        "            if state is not None and confirms(self.step, tombstone, state):\n",
        "            if state is None or confirms(self.step, tombstone, state):\n",
        PURGE,
    ),
    Mutant(
        "purge: an absent record confirms that the delete is held",
        "ring/purge.py",
        "    if step is Step.HOLD:\n",
        "    if step is Step.HOLD and state.root != NO_ROOT:\n",
        PURGE,
    ),
    Mutant(
        "purge: a tombstone that is not settled elsewhere lets ours go",
        "ring/purge.py",
        "    return state.root == tombstone.root and state.settled\n",
        "    return state.root == tombstone.root\n",
        PURGE,
    ),
    Mutant(
        "purge: later lives that are heard of meanwhile are not looked at",
        "node/collection/purge.py",
        "                if not membership.knows_no_later(node, life):\n",
        "                if life is None:\n",
        DRIVER,
    ),
    Mutant(
        "purge: becoming a receiver meanwhile does not matter",
        "node/collection/purge.py",
        "                and since == membership.receiver_since\n",
        "",
        DRIVER,
    ),
    Mutant(
        "purge: a node that may not vote purges",
        "node/collection/purge.py",
        "for entry in entries if votes(entry.key.digest.partition)]\n",
        "for entry in entries]\n",
        DRIVER,
    ),
    Mutant(
        "purge: the floor is not raised",
        "node/record_disposal.py",
        "change.floors[partition] = max(",
        "assert 0 < max(",
        DISPOSAL,
    ),
    Mutant(
        "purge: a newer root goes with the tombstone",
        "node/record_disposal.py",
        "                if state.root != one.root or not state.settled:\n"
        "                    continue\n",
        "",
        DISPOSAL,
    ),
    Mutant(
        "purge: what was confirmed is not asked for again under the lock",
        "node/record_disposal.py",
        "            if not keys or not still():\n"
        "                return []\n"
        "            await self._ledger.commit(change, essential=True)\n"
        "            return keys\n"
        "\n"
        "    async def _purge",
        "            await self._ledger.commit(change, essential=True)\n"
        "            return keys\n"
        "\n"
        "    async def _purge",
        DISPOSAL,
    ),
    Mutant(
        "settled: a put leaves the mark",
        "ring/admission.py",
        "        held=True,\n"
        "        verified_at_s=now_s,\n"
        "        settled=False,\n"
        "    )\n"
        "\n"
        "\n"
        "def put_chunk",
        "        held=True,\n"
        "        verified_at_s=now_s,\n"
        "    )\n"
        "\n"
        "\n"
        "def put_chunk",
        ADMISSION,
    ),
    Mutant(
        "collector: one no is enough",
        "node/collection/collector.py",
        "                needed = next((reasons[one] for one in page if reasons[one]), None)\n",
        "                needed = None if None in [reasons[one] for one in page] else NEEDED\n",
        COLLECTOR,
    ),
    Mutant(
        "collector: claimants behind the first page are forgotten",
        "node/collection/collector.py",
        "                if needed is None and not done:\n"
        "                    after[key] = page[-1]\n"
        "                else:\n"
        "                    verdicts[key] = needed\n",
        "                verdicts[key] = needed\n",
        COLLECTOR,
    ),
    Mutant(
        "collector: noes from before the condemnation count",
        "node/collection/collector.py",
        "            for key, reason in (await self.judge(list(condemned))).items():\n",
        "            for key, reason in first.items():\n",
        COLLECTOR,
    ),
    Mutant(
        "collector: what is not covered counts as gone",
        "node/collection/collector.py",
        "            elif not finding.covered:\n                reasons[one] = UNCOVERED\n",
        "            elif not finding.covered:\n                reasons[one] = None\n",
        COLLECTOR,
    ),
    Mutant(
        "collector: a recipe in the trash keeps nothing",
        "node/cover_question.py",
        "        return self.covered and not self.is_live and not self.holders\n",
        "        return self.covered and not self.is_live\n",
        (*COVER, *COLLECTOR),
    ),
    Mutant(
        "collector: the grace is forgotten",
        "node/collection/collector.py",
        "            grace_s *= _HINTED_GRACE\n",
        "            grace_s = 0\n",
        COLLECTOR,
    ),
    Mutant(
        "collector: a node that does not vote collects",
        "node/collection/collection.py",
        "                elif self._membership.votes(entry.key.digest.partition):\n",
        "                else:\n",
        COLLECTOR,
    ),
    Mutant(
        "chunks: a condemned one says yes to a commit",
        "node/record_keeper.py",
        "state.kind is RecordKind.DATA and not condemned.has(key)",
        "state.kind is RecordKind.DATA",
        DISPOSAL,
    ),
    Mutant(
        "chunks: removed without being condemned",
        "node/record_disposal.py",
        "            if not self.condemned.stands(raw, number):\n                return False\n",
        "",
        DISPOSAL,
    ),
    Mutant(
        "chunks: a put does not pardon",
        "node/record_keeper.py",
        "            self.disposal.condemned.wake(key.raw)\n"
        "            before = self._table.state(key.raw)\n"
        "            had_copy = await self._copies.keep(key, RecordKind.DATA, value, before)\n",
        "            before = self._table.state(key.raw)\n"
        "            had_copy = await self._copies.keep(key, RecordKind.DATA, value, before)\n",
        DISPOSAL,
    ),
    Mutant(
        "chunks: a tombstone goes with them",
        "node/record_disposal.py",
        "                change.rows[raw] = pack_row(row)\n            await",
        "                assert row.is_tombstone\n            await",
        DISPOSAL,
    ),
    Mutant(
        "cover: answers of a life that is over count",
        "node/cover_question.py",
        "                self._drop_superseded(survey)\n",
        "",
        COVER,
    ),
    Mutant(
        "cover: this node counts itself though it does not vote",
        "node/cover_question.py",
        "            votes = [membership.votes(digest.partition) for digest in digests]\n",
        "            votes = [True for _ in digests]\n",
        COVER,
    ),
    Mutant(
        "delete: the chunk of an upload under way goes",
        "ring/admission.py",
        "    if state.held and (keep_value or state.root == NO_ROOT):\n",
        "    if state.held and keep_value:\n",
        ADMISSION,
    ),
    Mutant(
        "delete: a peer's trash is taken in",
        "ring/admission.py",
        "    if not wanted:\n        after = replace(after, held=own.held)\n",
        "",
        ADMISSION,
    ),
    Mutant(
        "trash: the youngest goes first",
        "node/collection/trash.py",
        "    return entry.state.verified_at_s, entry.key\n",
        "    return -entry.state.verified_at_s, entry.key\n",
        TRASH,
    ),
    Mutant(
        "undelete: the chunks of a large blob are not confirmed before it is seen",
        "gateway/chunked.py",
        "        if recipe is not None:\n"
        "            await confirm_chunks(self._records, digest, recipe.chunks)\n"
        "        size_bytes = found.state.size_bytes\n",
        "        size_bytes = found.state.size_bytes\n",
        UNDELETE,
    ),
    Mutant(
        "undelete: silence is taken for nothing left",
        "gateway/trash_reader.py",
        "        if silent:\n            raise Unavailable",
        "        if not members:\n            raise Unavailable",
        UNDELETE,
    ),
)
