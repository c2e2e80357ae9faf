"""What clients of a troubled cluster may hear, and what none may ever hear.  A machine: no I/O.

Rules:
1.  After an acknowledged put no answer says that the blob is not there, until it is deleted.
2.  After an acknowledged delete no answer brings the blob back, until it is put again; one that
    says of itself that it is not confirmed (`Holdfast-Quorum: no`) may.
3.  A write without an answer, or with a refusal, may have happened or not.  It is repeated until it
    is answered; meanwhile both is right.  A put of what is there, and a delete of what is not,
    change nothing, answered or not.
4.  A whole body of other bytes is wrong always, and so is a status that is neither an answer nor a
    refusal.
5.  At the end, when everything is well, a refusal is wrong too.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

_HISTORY_MAX: Final = 16


class Op(enum.Enum):
    """What a client does with a blob."""

    PUT = "put"
    GET = "get"
    HEAD = "head"
    DELETE = "delete"


NO_ANSWER: Final = 0
ANSWERS: Final = {
    Op.PUT: frozenset({200, 201}),
    Op.GET: frozenset({200, 404}),
    Op.HEAD: frozenset({200, 404}),
    Op.DELETE: frozenset({204}),
}
REFUSALS: Final = frozenset({NO_ANSWER, 503, 504, 507})


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back.  status: 0 when nothing did.  is_right: of a whole body.

    is_confirmed: the answer does not say of itself that too few nodes spoke.
    """

    status: int
    is_right: bool = True
    is_confirmed: bool = True


class Known(enum.Enum):
    """What is known of a blob by what was answered."""

    ABSENT = "absent"
    PRESENT = "present"
    UNCERTAIN = "uncertain"


@dataclass(slots=True)
class Story:
    """One blob.  repeats: the write that has to be answered first."""

    known: Known = Known.ABSENT
    repeats: Op | None = None
    latest: deque[str] = field(default_factory=lambda: deque(maxlen=_HISTORY_MAX))


@dataclass(frozen=True, slots=True)
class Violation:
    """words: which promise was broken.  latest: what was asked and heard of the blob before."""

    blob: str
    words: str
    latest: tuple[str, ...] = ()


class Judge:
    """Stories by blob; `violations` in order, `counts` of what was heard."""

    def __init__(self) -> None:
        self.stories: dict[str, Story] = {}
        self.violations: list[Violation] = []
        self.counts: Counter[str] = Counter()

    def allowed(self, blob: str, wish: Op) -> Op:
        """What to do instead of a write that would come before an earlier one is answered."""
        repeats = self._story(blob).repeats
        return repeats if repeats and wish in (Op.PUT, Op.DELETE) else wish

    def heard(self, blob: str, op: Op, heard: Heard, note: str = "") -> None:
        """Count an answer and hold it against the rules; `note` is shown with a violation."""
        story = self._story(blob)
        story.latest.append(f"{note} {op.value}: {heard.status}".strip())
        self.counts[f"{op.value} {heard.status}"] += 1
        if heard.status in REFUSALS:
            self._refused(story, op)
        elif heard.status not in ANSWERS[op]:
            self._violated(blob, f"{op.value} was answered {heard.status}")
        elif op is Op.PUT:
            story.known, story.repeats = Known.PRESENT, None
        elif op is Op.DELETE:
            story.known, story.repeats = Known.ABSENT, None
        else:
            self._read(blob, story, heard)

    def at_the_end(self, blob: str, heard: Heard) -> None:
        """A GET when everything is well."""
        if heard.status not in ANSWERS[Op.GET]:
            self._violated(blob, f"a well cluster answered {heard.status}")
        self.heard(blob, Op.GET, heard, "at the end")

    def accuse(self, words: str) -> None:
        """Something that no single blob can be blamed for."""
        self.violations.append(Violation("", words))

    def _read(self, blob: str, story: Story, heard: Heard) -> None:
        if not heard.is_right:
            self._violated(blob, "other bytes than were put")
        if heard.status == 404 and story.known is Known.PRESENT:
            self._violated(blob, "an acknowledged blob is not there")
        if heard.status == 200 and story.known is Known.ABSENT:
            if heard.is_confirmed:
                self._violated(blob, "a deleted blob is there again")
            else:
                self.counts["unconfirmed after a delete"] += 1

    @staticmethod
    def _refused(story: Story, op: Op) -> None:
        changes = {Op.PUT: Known.PRESENT, Op.DELETE: Known.ABSENT}.get(op)
        if changes is not None and story.known is not changes:
            story.known, story.repeats = Known.UNCERTAIN, op

    def _violated(self, blob: str, words: str) -> None:
        self.violations.append(Violation(blob, words, tuple(self._story(blob).latest)))

    def _story(self, blob: str) -> Story:
        return self.stories.setdefault(blob, Story())
