"""The machines as people read them: every script below tests/golden says what it always said."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ring.cover import Cover
from ring.life import NodeId
from ring.read_plan import ReadPlan, Verdict
from ring.write_quorum import Outcome, WriteQuorum
from tests.golden.golden_file import FOLDER, Golden
from tests.ring.scripts import Spoken, placement, replay, root_of, words_of


class SpokenQuorum:
    """`acked`, `failed`, `late` or `superseded`, and a node."""

    def __init__(self, words: list[str]) -> None:
        self.quorum = WriteQuorum(placement(words))

    def hear(self, event: str, words: list[str]) -> None:
        (node,) = map(NodeId, words)
        tell = {
            "acked": self.quorum.acked,
            "failed": self.quorum.failed,
            "late": self.quorum.late,
            "superseded": self.quorum.superseded,
        }
        tell[event](node)

    def say(self) -> list[str]:
        targets = self.quorum.next_targets()
        sends = [f"send {' '.join(targets)}"] if targets else []
        return [*sends, " ".join([self.quorum.outcome.value, *self.quorum.acks])]


class SpokenCover:
    """`answered`, a node and its root; `failed`, `late` or `superseded`, and a node."""

    def __init__(self, words: list[str]) -> None:
        first = next((int(word[6:]) for word in words if word.startswith("first=")), None)
        self.cover = Cover(placement(words), first=first)

    def hear(self, event: str, words: list[str]) -> None:
        node = NodeId(words[0])
        match event:
            case "answered":
                self.cover.answered(node, root_of(words[1:]))
            case "failed":
                self.cover.failed(node)
            case "late":
                self.cover.late(node)
            case "superseded":
                self.cover.superseded(node)
            case _:
                raise AssertionError(event)

    def say(self) -> list[str]:
        targets = self.cover.next_targets()
        asks = [f"ask {' '.join(targets)}"] if targets else []
        outcome = self.cover.outcome
        newest = f": {words_of(self.cover.newest)}" if outcome is Outcome.COMMITTED else ""
        return [*asks, outcome.value + newest]


class SpokenRead:
    """What a node answered, in the first word.

    sends: bytes that are right.  spoils: bytes that are wrong.  holds: it has a copy.  lacks: it
    has none.  The root follows.  Or `failed`, `late`, `superseded`, and a node.
    """

    def __init__(self, words: list[str]) -> None:
        self.plan = ReadPlan(placement(words[1:]), wants_bytes=words[0] == "get")
        self.asked: dict[NodeId, bool] = {}

    def hear(self, event: str, words: list[str]) -> None:
        node = NodeId(words[0])
        match event:
            case "sends" | "spoils" | "holds" | "lacks":
                held = event in {"sends", "holds"}
                assert self.asked[node] or event in {"holds", "lacks"}, words
                root = root_of(words[1:])
                self.plan.answered(node, root, held=held, intact=event == "sends")
            case "failed":
                self.plan.failed(node)
            case "late":
                self.plan.late(node)
            case "superseded":
                self.plan.superseded(node)
            case _:
                raise AssertionError(event)

    def say(self) -> list[str]:
        asks = []
        for node, wants_bytes in self.plan.next_asks():
            self.asked[node] = wants_bytes
            asks.append(f"ask {node} for its {'bytes' if wants_bytes else 'state'}")
        verdict, source = self.plan.verdict, self.plan.source
        serves = verdict in {Verdict.SERVE, Verdict.SERVE_UNCONFIRMED} and source is not None
        return [*asks, f"{verdict.value} what {source} sent" if serves else verdict.value]


STARTS: dict[str, Callable[[list[str]], Spoken]] = {
    "quorum": SpokenQuorum,
    "cover": SpokenCover,
    "read_plan": SpokenRead,
}
SCRIPTS = sorted(path for machine in STARTS for path in (FOLDER / machine).glob("*.txt"))


@pytest.mark.parametrize(
    "path", SCRIPTS, ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_the_machine_says_what_the_script_says(path: Path, golden: Golden) -> None:
    machine = path.parent.name
    now = replay(path.read_text(encoding="utf-8"), STARTS[machine])

    golden.check(f"{machine}/{path.name}", now)


def test_there_are_scripts_for_every_machine() -> None:
    assert set(STARTS) == {path.parent.name for path in SCRIPTS}
    assert len(SCRIPTS) >= 25
