"""Logs of simulated processes: silent, or printed with the trace; never with the wall's time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def quiet_logs(*, echo: bool) -> Iterator[None]:
    """Send structlog nowhere, or to the trace's lines, until the block ends."""
    before = structlog.get_config()
    structlog.configure(
        processors=[_print if echo else _drop], cache_logger_on_first_use=False
    )
    try:
        yield
    finally:
        structlog.configure(**before)


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
