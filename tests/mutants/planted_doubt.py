"""The planted bugs of suspicion, and of what is done about nodes in doubt.

See tests/mutants/mutant.py.
"""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

FANOUT: Final = ("tests/gateway/test_fanout.py",)
HINTS: Final = ("tests/gateway/test_hints.py",)
JUDGING: Final = ("tests/ring/test_judging.py",)
PERMITS: Final = ("tests/gateway/test_memory_permits.py",)
STRAGGLERS: Final = ("tests/gateway/test_stragglers.py",)
VIGIL: Final = ("tests/gateway/test_vigil.py",)

DOUBT_MUTANTS: Final = (
    Mutant(
        "suspicion: what was asked counts as silence though it was answered",
        "ring/suspicion.py",
        "        if tally.good or tally.quiet_rounds >= self.settings.quiet_rounds_max:\n"
        "            tally.unanswered = 0\n            tally.silent_since_s = math.inf\n"
        "        elif",
        "        if tally.quiet_rounds >= self.settings.quiet_rounds_max:\n"
        "            tally.unanswered = 0\n            tally.silent_since_s = math.inf\n"
        "        elif",
        JUDGING,
    ),
    Mutant(
        "suspicion: a silence begins anew with every round",
        "ring/suspicion.py",
        "tally.silent_since_s = min(tally.silent_since_s, self._judged_at_s)",
        "tally.silent_since_s = self._judged_at_s",
        JUDGING,
    ),
    Mutant(
        "suspicion: of two nodes neither is ever bad",
        "ring/suspicion.py",
        "fine >= len(bad)",
        "fine > len(bad)",
        JUDGING,
    ),
    Mutant(
        "suspicion: bad rounds add up however good those between were",
        "ring/suspicion.py",
        "            elif tally.good:\n                tally.bad_rounds = 0\n",
        "",
        JUDGING,
    ),
    Mutant(
        "suspicion: silence is waited for longer than it is remembered",
        "ring/suspicion.py",
        "        return min(max(settings.rounds_bad, rounds), settings.quiet_rounds_max - 2)\n",
        "        return max(settings.rounds_bad, rounds)\n",
        JUDGING,
    ),
    Mutant(
        "suspicion: silence counts before answers are due",
        "ring/suspicion.py",
        "        return min(max(settings.rounds_bad, rounds), settings.quiet_rounds_max - 2)\n",
        "        return settings.rounds_bad\n",
        JUDGING,
    ),
    Mutant(
        "suspicion: who answers after a standstill is not tried sooner",
        "ring/suspicion.py",
        "                tally.probe_at_s = min(tally.probe_at_s, now_s +"
        " self.settings.probe_s_min)\n",
        "                pass\n",
        JUDGING,
    ),
    Mutant(
        "suspicion: who was taken back still has its bad rounds",
        "ring/suspicion.py",
        "            tally.good_row = tally.bad_rounds = tally.bad = 0\n",
        "            tally.good_row = 0\n",
        JUDGING,
    ),
    Mutant(
        "suspicion: where only doubt is probes come without a pause",
        "ring/suspicion.py",
        "                if tally.doubted and not was_doubted:\n"
        "                    tally.interval_s = self.settings.probe_s_min\n",
        "",
        JUDGING,
    ),
    Mutant(
        "suspicion: writes are repeated as probes",
        "ring/suspicion.py",
        "            if tally.doubted and tally.lane in PROBED and",
        "            if tally.doubted and",
        JUDGING,
    ),
    Mutant(
        "suspicion: a slow node is compared with itself",
        "ring/suspicion.py",
        "                others.remove(tally.usual_s)\n",
        "",
        JUDGING,
    ),
    Mutant(
        "suspicion: prompt answers are slow beside faster ones",
        "ring/suspicion.py",
        "tally.limit_s = max(floor_s, settings.slow_factor * usual_s)",
        "tally.limit_s = settings.slow_factor * usual_s",
        JUDGING,
    ),
    Mutant(
        "suspicion: what is slow does not depend on the others",
        "ring/suspicion.py",
        "tally.limit_s = max(floor_s, settings.slow_factor * usual_s)",
        "tally.limit_s = floor_s",
        JUDGING,
    ),
    Mutant(
        "suspicion: a deadline that passes in a trial is nothing",
        "ring/suspicion.py",
        "        tally.bad += 1\n        if tally.standing is Standing.PROBING:\n"
        "            self._suspect(tally, now_s)\n",
        "        tally.bad += 1\n",
        JUDGING,
    ),
    Mutant(
        "suspicion: a failure in a trial is nothing",
        "ring/suspicion.py",
        "        if tally.standing is Standing.PROBING or (\n"
        "            tally.standing is Standing.WELL and tally.failures >="
        " self.settings.failures_max\n        ):",
        "        if tally.standing is Standing.WELL and tally.failures >="
        " self.settings.failures_max:",
        JUDGING,
    ),
    Mutant(
        "suspicion: failures cast no doubt on other work before the round ends",
        "ring/suspicion.py",
        "            self._suspect(tally, now_s)\n            self._cast_doubt()\n",
        "            self._suspect(tally, now_s)\n",
        JUDGING,
    ),
    Mutant(
        "suspicion: nobody watches for what is not answered yet",
        "ring/suspicion.py",
        "tally.asked or tally.good or tally.bad or tally.unanswered",
        "tally.asked or tally.good or tally.bad",
        JUDGING,
    ),
    Mutant(
        "suspicion: who is asked little is never found out",
        "ring/suspicion.py",
        "            tally.unanswered += tally.asked\n",
        "            tally.unanswered = tally.asked\n",
        JUDGING,
    ),
    Mutant(
        "suspicion: who was left alone is mute the moment it fails",
        "ring/suspicion.py",
        "if any(t.standing is Standing.SUSPECT and t.since_s < since_s for t in tallies)",
        "if any(t.standing is Standing.SUSPECT for t in tallies)",
        JUDGING,
    ),
    Mutant(
        "vigil: failures are in a row whatever went well between",
        "gateway/vigil.py",
        "            tally.good += 1\n            tally.failures = 0\n",
        "            tally.good += 1\n",
        VIGIL,
    ),
    Mutant(
        "vigil: a node that finds a copy bad does not do its work",
        "gateway/vigil.py",
        "NO_FAULTS: Final = (Corrupt, DigestMismatch, DiskFull, LayoutUnknown, WrongEpoch)",
        "NO_FAULTS: Final = (DigestMismatch, DiskFull, LayoutUnknown, WrongEpoch)",
        VIGIL,
    ),
    Mutant(
        "vigil: a full node does not do its work",
        "gateway/vigil.py",
        "NO_FAULTS: Final = (Corrupt, DigestMismatch, DiskFull, LayoutUnknown, WrongEpoch)",
        "NO_FAULTS: Final = (Corrupt, DigestMismatch, LayoutUnknown, WrongEpoch)",
        VIGIL,
    ),
    Mutant(
        "vigil: what a receiver keeps is no work",
        "gateway/vigil.py",
        "            if not is_voter and tally.lane in PROBED:",
        "            if not is_voter:",
        VIGIL,
    ),
    Mutant(
        "vigil: a receiver that answers a probe is well",
        "gateway/vigil.py",
        "        is_voter = error is not None or probe.result().voter\n"
        "        self.ended(tally, error, asked_at_s, is_voter=is_voter)\n        if",
        "        is_voter = True\n"
        "        self.ended(tally, error, asked_at_s, is_voter=is_voter)\n        if",
        VIGIL,
    ),
    Mutant(
        "vigil: long values are asked for over the small connection",
        "gateway/vigil.py",
        "            is_bulk = tally.lane is Lane.VALUES\n",
        "            is_bulk = False\n",
        VIGIL,
    ),
    Mutant(
        "vigil: dead connections are kept",
        "gateway/vigil.py",
        "        for node in self.suspicion.mute(now_s):\n            self.hang_up(node)\n",
        "",
        VIGIL,
    ),
    Mutant(
        "vigil: nobody is told of the second lane",
        "gateway/vigil.py",
        "            if set(lanes) - set(before.get(node, ())):",
        "            if node not in before:",
        VIGIL,
    ),
    Mutant(
        "vigil: suspects are not tried while nobody asks",
        "gateway/vigil.py",
        "        rounds_max = settings.quiet_rounds_max if self.suspicion.has_doubts else 1\n",
        "        rounds_max = 1\n",
        VIGIL,
    ),
    Mutant(
        "vigil: after a pause nobody is watched",
        "gateway/vigil.py",
        "    def _round(self) -> None:\n        self._timer = None\n",
        "    def _round(self) -> None:\n",
        VIGIL,
    ),
    Mutant(
        "vigil: deadlines that pass are nothing",
        "gateway/vigil.py",
        "        else:\n            self.suspicion.late(tally, now_s)\n",
        "",
        VIGIL,
    ),
    Mutant(
        "vigil: who fails unasked is not tried again",
        "gateway/vigil.py",
        "            self._tell()\n            if self._timer is None:\n"
        "                self._begin()\n",
        "            self._tell()\n",
        VIGIL,
    ),
    Mutant(
        "stragglers: who waited in vain stays in the line",
        "gateway/stragglers.py",
        "            if turn in self._waiting:\n                self._waiting.remove(turn)\n",
        "            pass\n",
        STRAGGLERS,
    ),
    Mutant(
        "stragglers: only the oldest is given up in doubt",
        "gateway/stragglers.py",
        "        for fanout in list(self._fanouts):\n"
        "            fanout.give_up_writes_in_doubt()\n",
        "        for fanout in list(self._fanouts)[:1]:\n"
        "            fanout.give_up_writes_in_doubt()\n",
        STRAGGLERS,
    ),
    Mutant(
        "hints: what did not fit is not sent",
        "gateway/hints.py",
        "        if len(self._cluster.missed) and not self._is_closed:\n"
        "            self._timer = self._loop.call_later(DELAY_S, self._send)\n",
        "",
        HINTS,
    ),
    Mutant(
        "hints: one batch and no more",
        "gateway/hints.py",
        "    def _send(self) -> None:\n        self._timer = None\n",
        "    def _send(self) -> None:\n",
        HINTS,
    ),
    Mutant(
        "hints: any number under way",
        "gateway/hints.py",
        "            if len(self._under_way) >= UNDER_WAY_MAX:\n"
        "                self.lost_total += len(keys)\n                continue\n",
        "",
        HINTS,
    ),
    Mutant(
        "hints: news of lives in the answer is not heard",
        "gateway/hints.py",
        "            self._cluster.hear(call.result())\n",
        "",
        HINTS,
    ),
    Mutant(
        "hints: sent after the close",
        "gateway/hints.py",
        "        if self._timer is None and not self._is_closed:",
        "        if self._timer is None:",
        HINTS,
    ),
    Mutant(
        "fanout: a cancelled trial keeps its place",
        "gateway/fanout.py",
        "        if asked.is_trial:\n            assert tally is not None\n"
        "            tally.trials -= 1\n        if future.cancelled():",
        "        if asked.is_trial and not future.cancelled():\n"
        "            assert tally is not None\n            tally.trials -= 1\n"
        "        if future.cancelled():",
        VIGIL,
    ),
    Mutant(
        "fanout: an alarm that was taken back rings",
        "gateway/fanout.py",
        "            self._alarm = None\n        self._rang = False\n",
        "            self._alarm = None\n",
        FANOUT,
    ),
    Mutant(
        "fanout: patience of an earlier wait ends a later one",
        "gateway/fanout.py",
        "            finally:\n                self._waiter = None\n"
        "                if timer is not None:\n                    timer.cancel()\n",
        "            finally:\n                self._waiter = None\n",
        FANOUT,
    ),
    Mutant(
        "fanout: a node pays for the time it took to teach it",
        "gateway/fanout.py",
        "        now_s = self._loop.time()\n        asked = Asked(\n"
        "            node, request, payload, timeout_s, bulk, asked.tally, now_s, is_taught=True\n"
        "        )",
        "        asked = Asked(\n"
        "            node, request, payload, timeout_s, bulk, asked.tally, asked.asked_at_s,"
        " is_taught=True\n        )",
        FANOUT,
    ),
    Mutant(
        "fanout: a missed tombstone is not noted",
        "gateway/fanout.py",
        "isinstance(request, PutRecord | BuryRecord)",
        "isinstance(request, PutRecord)",
        FANOUT,
    ),
    Mutant(
        "permits: a lease taken twice keeps one",
        "gateway/permits.py",
        "        if not self._is_held:\n            await",
        "        if True:\n            await",
        PERMITS,
    ),
)
