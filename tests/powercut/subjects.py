"""What is put under load and judged: each store with the process that writes to it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Struct

from tests.powercut import frame_items, record_items
from tests.powercut.history import State, Wrong

Allowed = Mapping[int, frozenset[State]]
# What a judge does by the turn of its number: an inspection before the start (what `node check`
# does); a start while the background works, an inspection after it, another start, some puts; or
# a start alone.
TURNS: Final = 4
LOOK_INSIDE: Final = 0
GO_ON: Final = 1
LOOK: Final = 2


class Judgement(Struct):
    """What a start showed.  given_up: why an index was made anew, one line each time."""

    given_up: list[str]


class Subject(Struct, frozen=True):
    """load: the module and the first arguments of the process that writes.  operations: of one
    session.  share: how much of all work this subject gets.  judge: starts the store in a directory
    and looks at everything, for the n-th time; raises Wrong, or whatever a start raises.
    """

    name: str
    load: tuple[str, ...]
    operations: int
    share: float
    judge: Callable[[str, Allowed, int], Judgement]


def _judge_records(kind: str, root: str, allowed: Allowed, number: int) -> Judgement:
    return asyncio.run(_judge_store(kind, root, allowed, number))


async def _judge_store(kind: str, root: str, allowed: Allowed, number: int) -> Judgement:
    given_up: list[str] = []
    is_pages, turn = kind == "records", number % TURNS
    if number % 3:
        # It is never synced, and it would have an index that two killed processes looked into made
        # anew, whatever the power cut did to it.
        Path(f"{root}/index/guard").unlink(missing_ok=True)
    if is_pages and turn == LOOK_INSIDE:
        await record_items.inspect(root)
    settings = record_items.SETTINGS if turn == GO_ON else record_items.CALM
    async with record_items.opened_store(kind, root, settings) as opened:
        if not opened.store.had_state and any(() not in states for states in allowed.values()):
            raise Wrong("the store says that it remembers nothing")
        found = await record_items.judge(opened.store, allowed)
        given_up += opened.given_up
    if turn == GO_ON:
        await _start_again(kind, root, number, found)
    return Judgement(given_up)


async def _start_again(kind: str, root: str, number: int, allowed: Allowed) -> None:
    """The index and the log agree, the log alone says the same, and writing goes on."""
    if kind == "records":
        await record_items.inspect(root)
        if number % (2 * TURNS) == GO_ON:
            shutil.rmtree(f"{root}/index")
    async with record_items.opened_store(kind, root) as opened:
        await record_items.judge(opened.store, allowed)
        await record_items.put_again(opened.store)


def _judge_frames(root: str, allowed: Allowed, number: int) -> Judgement:
    for _ in range(1 + (number % TURNS == GO_ON)):
        with closing(frame_items.opened_frames(root)) as store:
            allowed = frame_items.judge_frames(store, allowed)
    return Judgement([])


SUBJECTS: Final = {
    subject.name: subject
    for subject in (
        Subject(
            "records",
            ("tests.powercut.record_load", "records"), 800, 1.0,
            partial(_judge_records, "records"),
        ),
        Subject("pages", ("tests.powercut.frame_load",), 600, 0.5, _judge_frames),
        Subject(
            "files", ("tests.powercut.record_load", "files"), 400, 0.25,
            partial(_judge_records, "files"),
        ),
    )
}
