"""Running a scenario on a real event loop so that nothing that goes wrong is overlooked."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, Final

import uvloop

NewLoop = Callable[[], asyncio.AbstractEventLoop]

LOOPS: Final[dict[str, NewLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
_PATIENCE_S: Final = 30.0


def run_on(new_loop: NewLoop, scenario: Coroutine[Any, Any, None]) -> None:
    """Run to the end; an exception in a callback fails it too, and so does hanging."""
    complaints: list[str] = []

    async def watched() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(str(context)))
        async with asyncio.timeout(_PATIENCE_S):
            await scenario

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(watched())
        gc.collect(1)  # futures complain when they are collected
    assert not complaints, complaints


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that is bound to happen."""
    while not condition():
        await asyncio.sleep(0.001)
