"""Where a store's changes become durable: the protocol, and the one for what lives in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from node.record_change import RecordChange
from node.record_table import RecordTable
from ring.errors import HoldfastError

Ended = Callable[[HoldfastError | None], None]
"""Told once when a commit is over: None when it is durable and applied, else why it may not be."""


class Ledger(Protocol):
    """Where a store's changes become durable."""

    async def commit(self, change: RecordChange, *, essential: bool = False) -> None:
        """Make the change durable and apply it; DiskFull or StorageFault: it may have happened."""

    def submit(self, change: RecordChange, ended: Ended, *, essential: bool = False) -> None:
        """`commit` for whoever does not wait in a task; `ended` may be called before this returns.

        `ended` must not raise.
        """

    async def close(self) -> None:
        """Finish what was begun; idempotent."""


class ApplyOnly:
    """The Ledger of a store that lives no longer than its process."""

    def __init__(self, table: RecordTable) -> None:
        self._table = table

    async def commit(self, change: RecordChange, *, essential: bool = False) -> None:
        self._table.apply(change)

    def submit(self, change: RecordChange, ended: Ended, *, essential: bool = False) -> None:
        self._table.apply(change)
        ended(None)

    async def close(self) -> None:
        return


class Submitted(Protocol):
    """A commit under way."""

    @property
    def ended(self) -> Ended:
        """Whom to tell."""


def tell(commits: Iterable[Submitted], error: HoldfastError | None) -> None:
    """Say how commits ended; each gets an exception of its own."""
    for commit in commits:
        commit.ended(None if error is None else type(error)(error.detail, **error.facts))


async def committed(submit: Callable[[Ended], None]) -> None:
    """Wait for a commit, which goes on when this is cancelled; raises what it ends with."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(error: HoldfastError | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    submit(ended)
    await done
