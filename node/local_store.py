"""A record store as the node that owns it sees it: what never crosses the wire.

The operations of `RecordStore` answer peers; those added here serve rejoin, repair, purge and the
server's fast path.  Durability and errors are as in `RecordStore`: whatever returns is durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from node.fact_reader import FactReader
from node.file_span import FileSpan
from node.record_copies import WhenBad
from node.record_disposal import RecordDisposal
from ring.admission import PutAnswer
from ring.digest import Buffer, Digest
from ring.messages import CopyVerdict
from ring.record import RecordKey, RecordKind, RecordState
from ring.seams import RecordStore

BeforeNew = Callable[[], Awaitable[None]]
"""Called by a store that is being opened and finds nothing of an earlier process, before it begins.

Whoever has to know that what was here is lost must know it by then: the next process finds a store
that is not new, and says nothing.
"""


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """What a store has and what it has found.

    records: everything remembered, tombstones included.  held: those whose value is here.
    bytes_stored: sum of the values here, in bytes.  quarantined_total: bad copies found since the
    store was opened.  lost_total: copies that were found missing since then.
    """

    records: int
    held: int
    bytes_stored: int
    quarantined_total: int
    lost_total: int


class LocalRecordStore(RecordStore, Protocol):
    """A record store of this process.

    had_state: whether it remembered anything of an earlier process when it was opened.  False for
    one that is new, and for one that lost its state: whoever knows that it was not new must not
    let it vote, because it forgot tombstones and floors that it had confirmed.
    facts: its records in the eyes of repair.  disposal: how records leave it.
    """

    had_state: bool
    facts: FactReader
    disposal: RecordDisposal

    async def absorb(
        self,
        key: RecordKey,
        state: RecordState,
        claimants: Sequence[Digest],
        value: Buffer | None,
        *,
        still: Callable[[], bool] | None = None,
    ) -> bool:
        """Merge what a peer holds; floors are not asked.

        still: asked when nobody else is at work on the record any more; if it says no, nothing is
        done and the answer is false.

        The copy counts as held here only if `value` came along (or one was here before), and is
        claimed by what is in `claimants`.  Raises DigestMismatch or Corrupt for a bad value, and
        then changes nothing.
        """

    async def drop(self, key: RecordKey, *, still: Callable[[], bool] | None = None) -> bool:
        """Forget a record wholly: root, value and claims.  Absent is fine; `still` as in `absorb`.
        """

    async def raise_floor(self, partition: int, generation: int) -> None:
        """Refuse clients' puts at or below `generation`; never lowers a floor.

        Puts that were let in before may still end afterwards; see `until_past`.
        """

    async def until_past(self) -> None:
        """Wait until every change that is under way at this moment has ended."""

    def get_now(self, key: RecordKey) -> tuple[RecordState, Buffer | None] | None:
        """The answer of `get` if it needs no waiting, else None.  Never blocks or raises."""

    def stat_now(self, keys: Sequence[RecordKey]) -> list[RecordState] | None:
        """The answer of `stat` if it needs no waiting, else None.  Never blocks or raises."""

    def begin_put_root(
        self, key: RecordKey, kind: RecordKind, size_bytes: int, generation: int, value: Buffer
    ) -> asyncio.Future[PutAnswer] | None:
        """`put_root` of a small value, which goes on whoever waits; not to be cancelled.

        None means: ask `put_root`.  Raises what that raises before it begins.
        """

    async def open_span(self, key: RecordKey) -> tuple[RecordState, FileSpan] | None:
        """The answer of `get` for a large held value in a file of its own, ready to be sent.

        None means: ask `get`.  The caller closes the span.
        """

    def watch_losses(self, told: Callable[[RecordKey], None]) -> None:
        """Have `told` called with each record whose copy turned out bad or missing."""

    def watch_bad_copies(self, told: WhenBad) -> None:
        """Have `told` called with each copy that turned out bad or missing, and how."""

    async def quarantined(self, key: RecordKey) -> list[str]:
        """Where bad copies of the record are kept, below the data directory; raises StorageFault.
        """

    async def give_up(self, key: RecordKey) -> CopyVerdict:
        """Put a copy aside that cannot be read, so that another can be fetched.

        GOOD when it could be read after all: then nothing changed, and nothing was hashed.
        """

    def usage(self) -> StoreUsage:
        """Counts for operators; cheap."""

    async def bytes_free(self) -> int:
        """Room for more values, in bytes."""

    async def until_damaged(self) -> str:
        """Wait until an index is found to be wrong that opening the store anew makes well; how.

        From then on what the store does not find may be there all the same.
        """

    async def close(self) -> bool:
        """Finish what has begun, then let go of everything; idempotent.

        False when something did not end in time: this process must not open the store again.
        """
