"""The planted bugs of scrub, ledger and what operators are told; see tests/mutants/mutant.py."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

LEDGER: Final = ("tests/node/repair/test_copy_ledger.py",)
SCRUB: Final = ("tests/node/scrub",)
VERDICTS: Final = ("tests/node/collection/test_garbage_verdicts.py",)
VIEWS: Final = ("tests/gateway/test_care_views.py",)
COMMANDS: Final = ("tests/holdfast/test_cli_care.py",)

OPERATING_MUTANTS: Final = (
    Mutant(
        "ledger: a keeper that was not compared has all copies",
        "node/repair/copy_ledger.py",
        "        self._tell(compared, held)\n",
        "        self._tell(wanted, held)\n",
        LEDGER,
    ),
    Mutant(
        "ledger: what nobody has any more is not counted",
        "node/repair/copy_ledger.py",
        "        self._tell(0, lost)\n",
        "",
        LEDGER,
    ),
    Mutant(
        "ledger: what a blob needs again stays left over",
        "node/repair/repair.py",
        "        await self._look_again_at_left_over(compared, peer)\n",
        "",
        VIEWS,
    ),
    Mutant(
        "ledger: a chunk that nobody needs is short of copies",
        "node/repair/copier.py",
        "        if self._when_left is not None:\n",
        "        if False:\n",
        VIEWS,
    ),
    Mutant(
        "ledger: who has a chunk that nobody needs does not leave it",
        "node/repair/copier.py",
        "        return await batch.garbage.is_left_over(key)\n",
        "        return False\n",
        VIEWS,
    ),
    Mutant(
        "ledger: a chunk is left over while somebody differs about it",
        "node/repair/copy_ledger.py",
        " if key not in differing]\n",
        "]\n",
        LEDGER,
    ),
    Mutant(
        "verdicts: every chunk of an upload asks about it anew",
        "node/collection/garbage_verdicts.py",
        "        unknown = [one for one in dict.fromkeys(claimants) if one not in self._asked]\n",
        "        unknown = list(dict.fromkeys(claimants))\n",
        VERDICTS,
    ),
    Mutant(
        "verdicts: only the first thousand claims are looked at",
        "node/collection/garbage_verdicts.py",
        "            if done:\n                return True\n",
        "            return True\n",
        VERDICTS,
    ),
    Mutant(
        "ledger: a copy that differs is a copy",
        "node/repair/copy_ledger.py",
        "                found = compared - differ\n",
        "                found = compared\n",
        LEDGER,
    ),
    Mutant(
        "ledger: keepers have agreed although one did not answer",
        "node/repair/copier.py",
        "            everybody = all(node in answers for node in nodes"
        " if node != self._membership.node)\n",
        "            everybody = bool(answers)\n",
        VIEWS,
    ),
    Mutant(
        "ledger: nobody leads for a keeper that is silent",
        "node/repair/ledger_reader.py",
        "        first = next((node for node in nodes if node not in silent), None)\n",
        "        first = nodes[0]\n",
        VIEWS,
    ),
    Mutant(
        "ledger: whole although partitions are not counted",
        "gateway/operating/ledger_sum.py",
        '        for key in ("short", "unsettled", "partitions_uncounted",'
        ' "partitions_counted_twice")\n',
        '        for key in ("short", "unsettled", "partitions_counted_twice")\n',
        VIEWS,
    ),
    Mutant(
        "repair: a round that began before counts for an order",
        "node/repair/repair.py",
        "        return self.rounds + (2 if self._is_in_round else 1)\n",
        "        return self.rounds + 1\n",
        VIEWS,
    ),
    Mutant(
        "repair: healed before every node has compared since",
        "holdfast/commands/admin.py",
        "                and not watch.pending\n",
        "",
        COMMANDS,
    ),
    Mutant(
        "repair: healed by what was counted before",
        "holdfast/commands/admin.py",
        "                and is_counted_within(ledger, loop.time() - began_s)\n",
        "",
        COMMANDS,
    ),
    Mutant(
        "scrub: the last copy is given up, too",
        "node/scrub/scrub.py",
        "        if not await self._is_good_elsewhere(key) or not"
        " await self._others_can_be_read(key):\n",
        "        if not await self._others_can_be_read(key):\n",
        SCRUB,
    ),
    Mutant(
        "scrub: a dead disk makes a node give everything up",
        "node/scrub/scrub.py",
        "        if not await self._is_good_elsewhere(key) or not"
        " await self._others_can_be_read(key):\n",
        "        if not await self._is_good_elsewhere(key):\n",
        SCRUB,
    ),
    Mutant(
        "scrub: copies are given up however many cannot be read",
        "node/scrub/unreadable.py",
        "        if suspect is None or self.overflow:\n",
        "        if suspect is None:\n",
        SCRUB,
    ),
    Mutant(
        "scrub: a copy is given up at once",
        "node/scrub/unreadable.py",
        "        return suspect.tries >= self._tries and now_s - suspect.first_s >="
        " self._give_up_s\n",
        "        return True\n",
        SCRUB,
    ),
    Mutant(
        "scrub: the partition that was hashed last is the next",
        "node/scrub/scrub.py",
        "            if chosen is None or hashed_s < chosen[0]:\n",
        "            if chosen is None or hashed_s > chosen[0]:\n",
        SCRUB,
    ),
    Mutant(
        "scrub: clients are not yielded to",
        "node/scrub/scrub.py",
        "        rates.busy_bytes_per_s = max(least / 2, cost_bytes /"
        " (period_s * settings.busy_share))\n",
        "        rates.busy_bytes_per_s = rates.bytes_per_s\n",
        SCRUB,
    ),
    Mutant(
        "scrub: a large blob is not compared with its digest",
        "node/scrub/blob_check.py",
        "        if hasher.digest() == key.digest.raw:\n",
        "        if hasher.digest():\n",
        SCRUB,
    ),
    Mutant(
        "scrub: a bad chunk makes a recipe wrong",
        "node/scrub/blob_check.py",
        "            if data is not None and chunk.matches(data):\n",
        "            if data is not None:\n",
        SCRUB,
    ),
    Mutant(
        "incidents: they are never forgotten",
        "node/incidents.py",
        "        if len(self._all) > self._limit:\n",
        "        if len(self._all) < 0:\n",
        ("tests/node/test_incidents.py",),
    ),
)
