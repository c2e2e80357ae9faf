"""The progress bar, on a terminal and a clock of the test's own; and work done in order."""

from __future__ import annotations

import asyncio
import io
from contextlib import aclosing

import pytest
from rich.console import Console

from holdfast.in_order import in_order
from holdfast.progress import PATIENCE_S, REFRESH_S, Meter


class Terminal:
    """A terminal and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.screen = io.StringIO()
        self.console = Console(file=self.screen, force_terminal=True, width=100)

    def meter(self, total_bytes: int | None) -> Meter:
        return Meter("storing", total_bytes, lambda: self.now, console=self.console)

    @property
    def shown(self) -> str:
        return self.screen.getvalue()


def test_short_work_shows_nothing() -> None:
    terminal = Terminal()
    with terminal.meter(1_000) as meter:
        for _ in range(9):
            terminal.now += PATIENCE_S / 10
            meter.moved(100)

    assert terminal.shown == ""


def test_long_work_shows_how_far_it_is() -> None:
    terminal = Terminal()
    with terminal.meter(4 << 20) as meter:
        terminal.now += PATIENCE_S + 0.001
        meter.moved(1 << 20)

        assert "storing" in terminal.shown
        assert "1.0/4.0 MiB" in terminal.shown


def test_the_bar_is_not_drawn_more_often_than_eyes_can_see() -> None:
    terminal = Terminal()
    with terminal.meter(None) as meter:
        terminal.now += PATIENCE_S + 0.001
        meter.moved(1)
        drawn = len(terminal.shown)
        terminal.now += REFRESH_S / 2
        meter.moved(1)
        assert len(terminal.shown) == drawn
        terminal.now += REFRESH_S
        meter.moved(1)
        assert len(terminal.shown) > drawn


def test_an_attempt_that_starts_over_takes_its_bytes_back() -> None:
    terminal = Terminal()
    with terminal.meter(10 << 20) as meter:
        first, second = meter.of_one(), meter.of_one()
        first(3 << 20)
        second(2 << 20)
        first(1 << 20)  # from the beginning again
        terminal.now += PATIENCE_S + 0.001
        second(4 << 20)

        assert "5.0/10.0 MiB" in terminal.shown


def test_nothing_is_drawn_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with Meter("storing", 100, lambda: now) as meter:
        now = 10.0
        meter.moved(50)

    assert capsys.readouterr().err == ""


async def test_results_come_in_order_and_few_are_under_way_at_once() -> None:
    running = most = 0

    async def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(10 - number):
            await asyncio.sleep(0)
        running -= 1
        return number * number

    assert [result async for result in in_order(range(10), work, 3)] == [n * n for n in range(10)]
    assert most == 3


async def test_the_first_error_ends_the_others() -> None:
    cancelled: list[int] = []

    async def work(number: int) -> int:
        if number == 1:
            raise ValueError
        try:
            await asyncio.sleep(0 if number == 0 else 3600)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return number

    last = -1
    with pytest.raises(ValueError):
        async with aclosing(in_order(range(10), work, 4)) as results:
            async for result in results:
                last = result

    assert (last, cancelled) == (0, [2, 3])
