"""Which nodes do their work, which do not, and when to try those again.  No I/O, no clock.

A node is judged by what it does with real operations, never by pings, and for each kind of work
(`Lane`) apart: a node whose disk hangs goes on answering what it has in memory.

Rules:
1.  Whoever makes calls reports each: `asked`, then one of `answered`, `late` and `failed`, or
    nothing when it was given up for a reason of the caller's.
2.  `judge` is called once per round of `round_s`.  A node is bad in a round when it left everything
    unanswered, or more was late or failed than went well, or its answers took `slow_factor` times
    as long as those of the other nodes.  Bad in `rounds_bad` rounds makes it suspect - rounds in
    which as many nodes did well as did badly, since the silence began if it is one: what most have
    in common is no node's fault.
3.  `failures_max` failures in a row make it suspect at once.
4.  A suspect is tried again at growing intervals (`probes`), the sooner the longer it had been
    well.  A prompt answer to anything makes it probing, `probes_good` of them in a row make it
    well; anything else in between begins anew.
5.  Trouble in one lane casts doubt on the other lanes of the node in which nothing was answered
    since it began; the next prompt answer there clears it.
6.  A round that was late itself judges nobody: the observer stood still.

What follows from suspicion is an order and more questions, never an answer: a suspect is no silent
node, and what it says counts as what anybody says.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ring.life import NodeId
from ring.messages import Request


class Lane(enum.IntEnum):
    """Kinds of work that a node may do well or badly, each apart from the others."""

    READS = 0
    VALUES = 1  # reads of long values
    WRITES = 2
    CHUNKS = 3  # writes of long values


class Standing(enum.Enum):
    """What is thought of a node's work in one lane."""

    WELL = "well"
    SUSPECT = "suspect"
    PROBING = "probing"


@dataclass(frozen=True, slots=True)
class SuspicionSettings:
    """Times in seconds; see the rules.

    slow_floor_s: by lane; answers within it are prompt, whatever the others take.
    probe_s_min, probe_s_max: the interval between probes doubles from one to the other.
    forgive_s: who was well for so long is probed as if it had never been suspect.
    silence_s: a suspect that left everything unanswered for so long is `mute`.
    quiet_rounds_max: what was asked before so many rounds without a call is forgotten.
    """

    round_s: float = 0.2
    rounds_bad: int = 3
    slow_factor: float = 8.0
    slow_floor_s: tuple[float, float, float, float] = (0.025, 0.5, 0.1, 1.0)
    failures_max: int = 3
    unanswered_min: int = 3
    probes_good: int = 3
    probe_s_min: float = 0.1
    probe_s_max: float = 2.0
    forgive_s: float = 10.0
    silence_s: float = 1.5
    quiet_rounds_max: int = 25


class Tally:
    """One node's work in one lane.

    asked, good, bad, elapsed_s: of this round.  doubted: whether the node is better passed over.
    trials: calls to it that are under way and were made in doubt; kept by whoever makes them.
    """

    __slots__ = ("answered_at_s", "asked", "bad", "bad_rounds", "doubted", "elapsed_s",
                 "failures", "good", "good_row", "interval_s", "lane", "limit_s", "node",
                 "probe_at_s", "question", "quiet_rounds", "silent_since_s", "since_s", "standing",
                 "trials", "unanswered", "usual_s", "well_since_s")

    def __init__(self, node: NodeId, lane: Lane, limit_s: float) -> None:
        self.node = node
        self.lane = lane
        self.question: Request | None = None  # the last one asked
        self.asked = 0
        self.good = 0
        self.bad = 0
        self.elapsed_s = 0.0
        self.failures = 0  # in a row
        self.unanswered = 0  # asked in earlier rounds, and nothing was answered since
        self.silent_since_s = math.inf  # the end of the first of these rounds
        self.quiet_rounds = 0  # nothing was asked in so many rounds
        self.bad_rounds = 0
        self.usual_s = 0.0  # a running mean; 0 before the first answer
        self.limit_s = limit_s  # answers within it are prompt
        self.answered_at_s = -math.inf  # the end of the last round with an answer
        self.standing = Standing.WELL
        self.doubted = False
        self.trials = 0
        self.since_s = 0.0  # suspect since
        self.well_since_s = -math.inf
        self.good_row = 0
        self.interval_s = 0.0
        self.probe_at_s = 0.0


class Suspicion:
    """All nodes.  Tallies are made when they are first asked for, and kept."""

    def __init__(self, settings: SuspicionSettings | None = None) -> None:
        self.settings = settings or SuspicionSettings()
        self.has_doubts = False
        self.suspected_total = 0
        self._nodes: dict[NodeId, tuple[Tally, ...]] = {}
        self._judged_at_s = -math.inf

    def tallies(self, node: NodeId) -> tuple[Tally, ...]:
        """A node's, in the order of Lane."""
        found = self._nodes.get(node)
        if found is None:
            floors = self.settings.slow_floor_s
            found = self._nodes[node] = tuple(Tally(node, lane, floors[lane]) for lane in Lane)
        return found

    def is_doubted(self, node: NodeId, lane: Lane) -> bool:
        """Whether the node is better passed over for this kind of work."""
        return self.has_doubts and self.tallies(node)[lane].doubted

    def is_idle(self) -> bool:
        """Whether a round now would see nothing."""
        return not any(
            tally.asked or tally.good or tally.bad or tally.unanswered
            for tally in self._every()
        )

    def suspects(self) -> dict[NodeId, list[Lane]]:
        """Nodes that are not well, and in what."""
        found = {
            node: [tally.lane for tally in tallies if tally.standing is not Standing.WELL]
            for node, tallies in self._nodes.items()
        }
        return {node: lanes for node, lanes in found.items() if lanes}

    # --- what happened ----------------------------------------------------------------------------

    def answered(self, tally: Tally, elapsed_s: float, now_s: float) -> None:
        """An answer came, after so long."""
        tally.good += 1
        tally.failures = 0
        tally.elapsed_s += elapsed_s
        if tally.doubted:
            self._answered_in_doubt(tally, elapsed_s, now_s)

    def late(self, tally: Tally, now_s: float) -> None:
        """A call took so long that others were asked, or its deadline passed."""
        tally.bad += 1
        if tally.standing is Standing.PROBING:
            self._suspect(tally, now_s)

    def failed(self, tally: Tally, now_s: float) -> None:
        """The node cannot be reached, or what it answers is of no use."""
        tally.bad += 1
        tally.failures += 1
        if tally.standing is Standing.PROBING or (
            tally.standing is Standing.WELL and tally.failures >= self.settings.failures_max
        ):
            self._suspect(tally, now_s)
            self._cast_doubt()

    # --- rounds -----------------------------------------------------------------------------------

    def begin(self, now_s: float) -> None:
        """The first round begins, or the first one after a pause."""
        self._judged_at_s = now_s

    def judge(self, now_s: float) -> None:
        """End a round."""
        late = now_s - self._judged_at_s > 2 * self.settings.round_s
        self._judged_at_s = now_s
        for lane in Lane:
            round_of = [tallies[lane] for tallies in self._nodes.values()]
            self._learn_usual(round_of, now_s)
            if not late:
                self._find_suspects(round_of, now_s)
        for tally in self._every():
            self._begin_round(tally)
        self._cast_doubt()

    def probes(self, now_s: float) -> list[Tally]:
        """Whom to try now; each is put off to its next time."""
        if not self.has_doubts:
            return []
        due = [
            tally
            for tally in self._every()
            if tally.doubted and tally.lane in PROBED and tally.probe_at_s <= now_s
        ]
        for tally in due:
            if tally.standing is not Standing.PROBING:
                tally.interval_s = min(2 * tally.interval_s, self.settings.probe_s_max)
            tally.probe_at_s = now_s + tally.interval_s
        return due

    def mute(self, now_s: float) -> list[NodeId]:
        """Suspects that answered nothing of any kind for `silence_s`.

        Their connections may be dead without a word.
        """
        since_s = now_s - self.settings.silence_s
        return [
            node
            for node, tallies in self._nodes.items()
            if any(t.standing is Standing.SUSPECT and t.since_s < since_s for t in tallies)
            and all(t.answered_at_s < since_s and not t.good for t in tallies)
        ]

    def _learn_usual(self, round_of: list[Tally], now_s: float) -> None:
        settings = self.settings
        for tally in round_of:
            if tally.good:
                tally.answered_at_s = now_s
                mean_s = tally.elapsed_s / tally.good
                if not tally.usual_s:
                    tally.usual_s = mean_s
                elif tally.standing is Standing.WELL:
                    tally.usual_s += 0.2 * (mean_s - tally.usual_s)
        known = sorted(tally.usual_s for tally in round_of if tally.usual_s)
        for tally in round_of:
            if tally.usual_s:
                others = known.copy()
                others.remove(tally.usual_s)
            else:
                others = known
            if others:
                usual_s = others[len(others) // 2]
                floor_s = settings.slow_floor_s[tally.lane]
                tally.limit_s = max(floor_s, settings.slow_factor * usual_s)

    def _find_suspects(self, round_of: list[Tally], now_s: float) -> None:
        bad = [tally for tally in round_of if self._is_bad(tally)]
        others = [tally for tally in round_of if tally not in bad]
        for tally in round_of:
            fine = sum(t.answered_at_s >= min(now_s, tally.silent_since_s) for t in others)
            if tally in bad and fine >= len(bad):
                tally.bad_rounds += 1
                is_news = tally.standing is Standing.WELL
                if is_news and tally.bad_rounds >= self._rounds_needed(tally):
                    self._suspect(tally, now_s)
            elif tally.good:
                tally.bad_rounds = 0

    def _is_bad(self, tally: Tally) -> bool:
        if tally.good == 0:
            return max(tally.unanswered, tally.bad) >= self.settings.unanswered_min
        return tally.bad > tally.good or tally.elapsed_s / tally.good > tally.limit_s

    def _rounds_needed(self, tally: Tally) -> int:
        """Silence means nothing before answers are due."""
        settings = self.settings
        rounds = math.ceil(tally.limit_s / settings.round_s)
        return min(max(settings.rounds_bad, rounds), settings.quiet_rounds_max - 2)

    def _begin_round(self, tally: Tally) -> None:
        tally.quiet_rounds = 0 if tally.asked else tally.quiet_rounds + 1
        if tally.good or tally.quiet_rounds >= self.settings.quiet_rounds_max:
            tally.unanswered = 0
            tally.silent_since_s = math.inf
        elif tally.asked:
            tally.unanswered += tally.asked
            tally.silent_since_s = min(tally.silent_since_s, self._judged_at_s)
        tally.asked = tally.good = tally.bad = 0
        tally.elapsed_s = 0.0

    # --- standing ---------------------------------------------------------------------------------

    def _suspect(self, tally: Tally, now_s: float) -> None:
        settings = self.settings
        if tally.standing is Standing.WELL:
            self.suspected_total += 1
            tally.since_s = now_s
            if now_s - tally.well_since_s > settings.forgive_s:
                tally.interval_s = settings.probe_s_min
            tally.probe_at_s = now_s + tally.interval_s
        tally.standing = Standing.SUSPECT
        tally.good_row = 0
        tally.doubted = self.has_doubts = True

    def _answered_in_doubt(self, tally: Tally, elapsed_s: float, now_s: float) -> None:
        if elapsed_s > tally.limit_s:
            if tally.standing is Standing.PROBING:
                self._suspect(tally, now_s)
            if tally.standing is Standing.SUSPECT and not tally.good_row:
                tally.probe_at_s = min(tally.probe_at_s, now_s + self.settings.probe_s_min)
            return
        tally.good_row += 1
        if tally.standing is Standing.WELL or tally.good_row >= self.settings.probes_good:
            if tally.standing is not Standing.WELL:
                tally.well_since_s = now_s
            tally.standing = Standing.WELL
            tally.good_row = tally.bad_rounds = tally.bad = 0
            tally.answered_at_s = now_s
            self._cast_doubt()
        else:
            tally.standing = Standing.PROBING
            tally.probe_at_s = now_s

    def _cast_doubt(self) -> None:
        """Rule 5, after anything that it depends on has changed."""
        has_doubts = False
        for tallies in self._nodes.values():
            troubles = [t.since_s for t in tallies if t.standing is not Standing.WELL]
            for tally in tallies:
                was_doubted = tally.doubted
                tally.doubted = tally.standing is not Standing.WELL or any(
                    tally.answered_at_s < since_s and not tally.good for since_s in troubles
                )
                if tally.doubted and not was_doubted:
                    tally.interval_s = self.settings.probe_s_min
                has_doubts = has_doubts or tally.doubted
        self.has_doubts = has_doubts

    def _every(self) -> Iterable[Tally]:
        return (tally for tallies in self._nodes.values() for tally in tallies)


PROBED: Final = (Lane.READS, Lane.VALUES)
"""Where a suspect can be tried without changing anything."""

TRIALS_MAX: Final = {Lane.READS: 16, Lane.VALUES: 2, Lane.WRITES: 16, Lane.CHUNKS: 2}
"""How many calls may be under way to a node in doubt; what is beyond goes elsewhere at once."""
