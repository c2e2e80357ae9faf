"""The planted bugs of reads, lists and what operators are told of nodes.

See tests/mutants/mutant.py.
"""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

LAYOUTS: Final = ("tests/gateway/test_layouts.py",)
LISTS: Final = ("tests/gateway/test_listing_pages.py",)
QUESTIONS: Final = ("tests/gateway/test_state_questions.py",)
SHORT: Final = ("tests/gateway/test_short_read.py",)
SLOW: Final = ("tests/gateway/test_get_slow.py",)
WORDS: Final = ("tests/gateway/test_operator_words.py",)

READING_MUTANTS: Final = (
    Mutant(
        "short read: news with the bytes does not void a state",
        "gateway/short_read.py",
        "            answer.peers is not None\n            or not isinstance(reply, RecordReply)",
        "            not isinstance(reply, RecordReply)",
        SHORT,
    ),
    Mutant(
        "short read: a node without its copy is enough",
        "gateway/short_read.py",
        "        if not state.held or not state.visible or not state.kind:",
        "        if not state.visible or not state.kind:",
        SHORT,
    ),
    Mutant(
        "questions: news with a state does not void another",
        "gateway/state_questions.py",
        "        if answer.peers is not None or not self._cluster.is_current(answer):",
        "        if not self._cluster.is_current(answer):",
        SHORT,
    ),
    Mutant(
        "short read: only the first of many is given up in time",
        "gateway/short_read.py",
        "        if self._due:\n"
        "            self._timer = self._loop.call_at(self._due[0][0], self._tick)\n",
        "",
        SHORT,
    ),
    Mutant(
        "short read: patience learns nothing",
        "gateway/short_read.py",
        "        patience.observe(elapsed_s)\n",
        "",
        SHORT,
    ),
    Mutant(
        "short read: whoever gave the bytes is blamed too",
        "gateway/short_read.py",
        "        return self._silent(is_without_bytes=self._gave_up)",
        "        return self._silent(is_without_bytes=True)",
        SHORT,
    ),
    Mutant(
        "short read: whoever told its state is blamed too",
        "gateway/short_read.py",
        "        late = self._first[1:] if missing_state else ()\n",
        "        late = self._first[1:]\n",
        SHORT,
    ),
    Mutant(
        "short read: the bytes are waited for after it gave up",
        "gateway/short_read.py",
        "            if self._gave_up:\n                self._call.cancel()\n",
        "",
        SHORT,
    ),
    Mutant(
        "short read: without budget a suspect is waited for",
        "gateway/short_read.py",
        "            if any(cluster.is_doubted(node, Lane.READS) for node in silent):\n"
        "                return True\n",
        "            pass\n",
        SHORT,
    ),
    Mutant(
        "short read: a receiver does well",
        "gateway/short_read.py",
        "        is_voter = error is not None or future.result().voter\n"
        "        self._cluster.vigil.ended(self._tally, error, self._started_s, is_voter=is_voter)",
        "        is_voter = True\n"
        "        self._cluster.vigil.ended(self._tally, error, self._started_s, is_voter=is_voter)",
        SHORT,
    ),
    Mutant(
        "questions: asked under layouts of a later operation",
        "gateway/state_questions.py",
        "            self._send_all()\n            self._live = live\n",
        "            self._live = live\n",
        QUESTIONS,
    ),
    Mutant(
        "questions: more in a message than it may hold",
        "gateway/state_questions.py",
        "        if len(batch[0]) == KEYS_PER_REQUEST_MAX:\n            self._send(node)\n",
        "",
        QUESTIONS,
    ),
    Mutant(
        "questions: a longer answer is taken for ours",
        "gateway/state_questions.py",
        "        if not isinstance(reply, StatesReply) or len(reply.states) != count:",
        "        if not isinstance(reply, StatesReply) or len(reply.states) < count:",
        QUESTIONS,
    ),
    Mutant(
        "lists: the last partition of a page needs no cover",
        "gateway/record_lister.py",
        "range(begin, last.digest.partition + 1)",
        "range(begin, last.digest.partition)",
        LISTS,
    ),
    Mutant(
        "lists: the first partition of a page needs no cover",
        "gateway/record_lister.py",
        "range(begin, last.digest.partition + 1)",
        "range(begin + 1, last.digest.partition + 1)",
        LISTS,
    ),
    Mutant(
        "lists: a page that crosses algorithms needs no cover",
        "gateway/record_lister.py",
        "    if last is None or last.digest.algorithm is not first_algorithm:",
        "    if last is None:",
        LISTS,
    ),
    Mutant(
        "lists: the second round forgets the first",
        "gateway/record_lister.py",
        "            span = _joined(span, await self._round(live, span.nodes, start, limit))",
        "            span = await self._round(live, span.nodes, start, limit)",
        LISTS,
    ),
    Mutant(
        "lists: who is back is never waited for again",
        "gateway/record_lister.py",
        "        self._silent.pop(node, None)\n",
        "",
        LISTS,
    ),
    Mutant(
        "reads: while two layouts live the older one is enough",
        "gateway/record_reader.py",
        "        if len(placement.groups) == 1 and not self._are_doubted(first):",
        "        if not self._are_doubted(first):",
        LAYOUTS,
    ),
    Mutant(
        "reads: long values come from suspects first",
        "gateway/record_reader.py",
        "        plan = SourcePlan(self._well_first([*owners, *spares]))",
        "        plan = SourcePlan([*owners, *spares])",
        SLOW,
    ),
    Mutant(
        "reads: a long value that a spare keeps is not found",
        "gateway/record_reader.py",
        "        plan = SourcePlan(self._well_first([*owners, *spares]))",
        "        plan = SourcePlan(self._well_first([*owners]))",
        SLOW,
    ),
    Mutant(
        "reads: a slow node is waited for twice",
        "gateway/record_reader.py",
        "wants_bytes=True, slow=slow).run()",
        "wants_bytes=True).run()",
        SLOW,
    ),
    Mutant(
        "reads: owners that lack nothing are told to look",
        "gateway/record_reader.py",
        "            if node in owners and state_of(answer).root < self.plan.newest:",
        "            if node in owners and state_of(answer).root <= self.plan.newest:",
        SLOW,
    ),
    Mutant(
        "reads: without budget a suspect is waited for with a chunk",
        "gateway/record_reader.py",
        "            if may_ask or self.cluster.is_doubted(node, Lane.VALUES):",
        "            if may_ask:",
        SLOW,
    ),
    Mutant(
        "reads: a slow node is waited for with a chunk",
        "gateway/record_reader.py",
        "            if may_ask or self.cluster.is_doubted(node, Lane.VALUES):",
        "            if self.cluster.is_doubted(node, Lane.VALUES):",
        SLOW,
    ),
    Mutant(
        "reads: chunks earn no extra questions",
        "gateway/record_reader.py",
        "        placement = fanout.live.placement(digest)\n        self.cluster.hedges.earn()\n",
        "        placement = fanout.live.placement(digest)\n",
        SLOW,
    ),
    Mutant(
        "reads: what heads take is not learnt",
        "gateway/record_reader.py",
        "        if asked_at is not None:\n"
        "            cluster.latency(node).observe(self._reader.loop.time() - asked_at)\n",
        "",
        SLOW,
    ),
    Mutant(
        "reads: spares take a turn too",
        "gateway/record_reader.py",
        "        spares = self.cluster.ranked_in_turn(placement.spares)\n"
        "        plan = SourcePlan(",
        "        spares = self.cluster.ranked(placement.spares)\n        plan = SourcePlan(",
        SLOW,
    ),
    Mutant(
        "reads: waiting for a chunk uses up the budget",
        "gateway/record_reader.py",
        "bool(asked_at) and self.cluster.hedges.spend()  # or waiting would use it all up",
        "self.cluster.hedges.spend()",
        SLOW,
    ),
    Mutant(
        "operating: an order that did not arrive is no error",
        "gateway/operating/care.py",
        '    if isinstance(outcome, HoldfastError):\n        return {"error": outcome.detail}\n',
        "    if isinstance(outcome, HoldfastError):\n        return {}\n",
        WORDS,
    ),
    Mutant(
        "operating: the copy verified last is told as the oldest",
        "gateway/operating/care.py",
        "max(ages, default=None)",
        "min(ages, default=None)",
        WORDS,
    ),
    Mutant(
        "operating: the newest count stands for all",
        "gateway/operating/ledger_sum.py",
        "max((count.age_ms for count in known), default=0)",
        "min((count.age_ms for count in known), default=0)",
        WORDS,
    ),
    Mutant(
        "operating: whole although differences are unsettled",
        "gateway/operating/ledger_sum.py",
        'for key in ("short", "unsettled",',
        'for key in ("short",',
        WORDS,
    ),
    Mutant(
        "operating: a copy that came before mended the damage",
        "gateway/operating/why.py",
        "    if fetched is not None and fetched.at_s >= bad.at_s:",
        "    if fetched is not None:",
        WORDS,
    ),
    Mutant(
        "operating: the first damage is told and not the last",
        "gateway/operating/why.py",
        "(one for one in reversed(story.incidents) if one.kind in _BAD)",
        "(one for one in story.incidents if one.kind in _BAD)",
        WORDS,
    ),
    Mutant(
        "operating: why a repair fails is not told while it waits",
        "gateway/operating/why.py",
        '    if story.trouble:\n        return f"; the last',
        '    if story.trouble and not story.is_waiting:\n        return f"; the last',
        WORDS,
    ),
    Mutant(
        "operating: a delete that one node knows of is not told",
        "gateway/operating/why.py",
        "    root = max(story.state.root for story in told.values())\n",
        "    root = next(story.state.root for story in told.values())\n",
        WORDS,
    ),
    Mutant(
        "operating: a chunk that is needed may go any time",
        "gateway/operating/why.py",
        "    is_wanted = is_live(root) or claims > 0\n",
        "    is_wanted = is_live(root)\n",
        WORDS,
    ),
)
