"""Logs of simulated processes: silent, or printed with the trace; never with the wall's time.

An exception that is logged and no error of ours is a bug, however well it was survived.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import structlog

from ring.errors import HoldfastError
from tests.sim.failure import in_words


@contextmanager
def quiet_logs(*, echo: bool) -> Iterator[list[str]]:
    """Send structlog nowhere, or to the trace's lines, until the block ends; see the module."""
    before = structlog.get_config()
    survived: list[str] = []
    structlog.configure(
        processors=[partial(_note, survived), _print if echo else _drop],
        cache_logger_on_first_use=False,
    )
    try:
        yield survived
    finally:
        structlog.configure(**before)


def _note(
    survived: list[str], logger: object, name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    raised = event.pop("exc_info", None)
    if raised:
        error = raised if isinstance(raised, BaseException) else sys.exc_info()[1]
        if not isinstance(error, HoldfastError):
            survived.append(f"logged: {event['event']}: {in_words(error)}")
    return event


def _drop(
    logger: object, name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    raise structlog.DropEvent


def _print(
    logger: object, name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    words = event.pop("event")
    facts = " ".join(f"{key}={value}" for key, value in event.items())
    now_us = round(asyncio.get_running_loop().time() * 1e6)
    print(f"{now_us:>12} log {name}: {words} {facts}")
    raise structlog.DropEvent
