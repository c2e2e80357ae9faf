"""The table of a page record store: what changed lately in memory, the rest in the index.

Rules:
1.  A change is applied after it is durable in the log, so all that is read here may be answered.
2.  Reads ask the newest overlay, then the one that a checkpoint is merging, then the index; none of
    them waits for a checkpoint.
3.  A checkpoint freezes the overlay and merges it (node/index/merge.py) while changes go on into a
    new one.  The frozen one is dropped only after everything in it is durable in the index; after
    a failure it stays, and the next checkpoint merges it first.
4.  The owner bounds memory: it asks for a checkpoint when `is_full`.  The more rows one brings, the
    fewer leaves of the index are written for each: keys are hashes, so a checkpoint of a tenth of
    the rows writes most leaves once.
5.  After a crash in the midst of a checkpoint the index has some keys as they were at its end.
    What the log says of them up to there is passed over, and no checkpoint is made before that.
6.  A row or sum that is not what was stored raises Corrupt and is remembered as `damage`: the index
    is condemned, no checkpoint goes into it any more, and the owner makes the table anew from the
    log, which says all that a table says.
7.  What was looked up in the index a moment ago is remembered, that a record is not there too: a
    put asks before it decides and again when it is applied.  Between two checkpoints the index does
    not change below the layers.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Container, Mapping
from typing import Final

import structlog
from msgspec import Struct

from node.fact_sums import FactSums
from node.index.index import Index, IndexHome
from node.index.index_keys import row_key
from node.index.layered_claims import LayeredClaims
from node.index.layered_order import LayeredOrder
from node.index.located_row import location_of, row_of, with_location, with_row
from node.index.location import Location, Position
from node.index.merge import ENTRIES_MAX, read_summary, transactions
from node.index.overlay import MISSING, Missing, Overlay
from node.index.summary import Ahead, Summary
from node.index.verification import Check, check_summary, partitions_check
from node.index.watched_reader import WatchedReader
from node.record_change import RecordChange
from node.record_row import bytes_held, kind_of, unpack_row
from ring.digest import Digest
from ring.errors import Corrupt
from ring.limits import PARTITIONS
from ring.record import ABSENT, RecordKind, RecordState

PENDING_MIN: Final = 32 * 1024
PENDING_MAX: Final = 256 * 1024  # some 60 MB
LOOKED_UP_MAX: Final = 4096  # some 700 KB

_VERIFY_ROWS: Final = 4096  # about so many at a time

log = structlog.get_logger()


class IndexState(enum.Enum):
    """What an opened table found."""

    FRESH = "fresh"  # no index: everything must come from the log
    READY = "ready"  # what the log says after `covered` must be applied
    DISCARDED = "discarded"  # as FRESH, but there was one that cannot be used; it was moved away


class OpenedTable(Struct, frozen=True):
    """A table as its index has it, and why that was discarded, None when it was not."""

    table: IndexedTable
    state: IndexState
    reason: str | None


class IndexedTable:
    """node.index.located_table.LocatedTable over an index; `open_table` makes one.

    entries_max: rows or claims that one transaction of a checkpoint brings into the index.
    damage: what was found wrong with the index, None while nothing was.  sums: what peers compare.
    """

    def __init__(
        self,
        index: Index,
        summary: Summary,
        entries_max: int = ENTRIES_MAX,
        sums: FactSums | None = None,
    ) -> None:
        self.damage: str | None = None
        self.sums = sums or FactSums()
        self._damaged = asyncio.Event()
        self._index = index
        self._entries_max = entries_max
        self._totals = summary.totals
        self._floors = summary.floors
        self._covered = summary.covered
        self._ahead = summary.ahead
        self._position = summary.covered
        self._fresh = Overlay()
        self._frozen: Overlay | None = None
        self._looked_up: dict[bytes, bytes | None] = {}  # rule 7
        self._layers = [self._fresh]  # newest first
        self._reader = WatchedReader(index, self._found)
        self.order = LayeredOrder(self._layers, self._reader)
        self._claims = LayeredClaims(self._layers, self._reader)
        self._turn = asyncio.Lock()

    # --- reading ----------------------------------------------------------------------------------

    @property
    def records(self) -> int:
        return self._totals.records

    @property
    def held(self) -> int:
        return self._totals.held

    @property
    def bytes_stored(self) -> int:
        return self._totals.bytes_stored

    @property
    def live_bytes(self) -> Mapping[int, int]:
        return self._totals.live_bytes

    @property
    def covered(self) -> Position | None:
        return self._covered

    @property
    def replay_to(self) -> Position | None:
        """How far the log must be replayed before checkpoints go on, None when it was."""
        ahead = self._ahead
        if ahead is None or (self._position is not None and ahead.position <= self._position):
            return None
        return ahead.position

    @property
    def pending(self) -> int:
        """Rows and claims in memory that no checkpoint has brought into the index yet."""
        return sum(map(len, self._layers))

    @property
    def is_full(self) -> bool:
        """Whether enough is pending to be worth a checkpoint."""
        enough = min(max(PENDING_MIN, self.records // 8), PENDING_MAX)
        return len(self._fresh) >= enough

    def state(self, key: bytes) -> RecordState:
        payload = self._payload(key)
        return ABSENT if payload is None else unpack_row(row_of(payload))

    def glance(self, key: bytes) -> RecordState:
        payload = self._payload(key, remembers=False)
        return ABSENT if payload is None else unpack_row(row_of(payload))

    def value_bytes(self, key: bytes, kind: RecordKind) -> int | None:
        payload = self._payload(key)
        if payload is None:
            return None
        row = row_of(payload)
        return bytes_held(row) if kind_of(row) == kind else None

    def location(self, key: bytes) -> Location | None:
        payload = self._payload(key)
        return None if payload is None else location_of(payload)

    def floor(self, partition: int) -> int:
        """See Table."""
        return self._floors.get(partition, 0)

    def floors(self) -> dict[int, int]:
        """See Table."""
        return dict(sorted(self._floors.items()))

    def is_claimed_by(self, key: bytes, claimant: Digest) -> bool:
        """See Table."""
        return self._claims.has(key, claimant.key)

    def claimants(
        self, key: bytes, after: Digest | None, limit: int
    ) -> tuple[list[Digest], bool]:
        """See Table."""
        start = None if after is None else after.key
        found = self._claims.after(key, start, limit + 1)
        return [Digest.from_key(claimant) for claimant in found[:limit]], len(found) <= limit

    # --- changing ---------------------------------------------------------------------------------

    def apply(
        self, change: RecordChange, located: Mapping[bytes, Location | None], position: Position
    ) -> None:
        """See LocatedTable."""
        assert self._position is None or self._position <= position, (self._position, position)
        rows, dropped, unclaimed = change.rows, change.dropped, change.dropped
        claims = change.claims
        ahead = self._ahead
        if ahead is not None and position > ahead.position:
            self._catch_up(ahead)
        elif ahead is not None:  # rule 5
            rows = {key: row for key, row in rows.items() if key > ahead.last_row}
            dropped = [key for key in dropped if key > ahead.last_row]
            located = {key: place for key, place in located.items() if key > ahead.last_row}
            unclaimed = [chunk for chunk in unclaimed if chunk > ahead.last_chunk]
            claims = [claim for claim in claims if claim[0] > ahead.last_chunk]
        payload_of = self._payload
        touched = {**dict.fromkeys(dropped), **rows, **located}
        before = {key: payload_of(key) for key in touched}
        after: dict[bytes, bytes | None] = dict.fromkeys(dropped)
        for key, row in rows.items():
            after[key] = with_row(after.get(key, before[key]), row)
        for key, location in located.items():
            after[key] = with_location(after.get(key, before[key]), location)
        gone = {chunk: self._claims_watched(chunk) for chunk in unclaimed}
        new = [claim for claim in dict.fromkeys(claims) if self._is_news(*claim, gone)]
        # From here on nothing can fail.
        fresh = self._fresh
        for key, payload in after.items():
            if payload != before[key]:
                self._totals.replace(before[key], payload)
                self.sums.record_changed(key, _row(before[key]), _row(payload))
                fresh.set_row(key, payload)
        for chunk, claimants in gone.items():
            for claimant in claimants:
                self.sums.claim_dropped(chunk, claimant)
        for chunk, claimant in new:
            self.sums.claim_added(chunk, claimant)
        for chunk in unclaimed:
            fresh.drop_claims(chunk)
        for chunk, claimant in claims:
            fresh.add_claim(chunk, claimant)
        for partition, generation in change.floors.items():
            if generation > self.floor(partition):
                self._floors[partition] = fresh.floors[partition] = generation
        self._position = fresh.position = position

    def end_replay(self) -> None:
        """The log has no more; to be called before anything new is applied.

        Raises Corrupt when the index has seen more of the log than there is: what is missing there
        reached some keys of the index and not others.
        """
        if self.replay_to is not None:
            raise Corrupt(f"the log ends before {self.replay_to}, which the index has seen already")

    async def checkpoint(self) -> Position | None:
        """See LocatedTable."""
        async with self._turn:
            if self.damage is not None:
                raise Corrupt(self.damage)
            if self.replay_to is not None:
                return self._covered
            if self._frozen is not None:
                await self._merge(self._frozen)
            if self._fresh.position is not None:
                for _ in self._fresh.settle():
                    await asyncio.sleep(0)
                await self._merge(self._freeze())
        return self._covered

    async def warm(self) -> None:
        """See Index."""
        await self._index.warm()

    async def verify_partition(self, partition: int) -> str | None:
        """What is wrong with a partition in the index, None when nothing is; reads all of it."""
        return await self._look(partitions_check(partition, partition + 1))

    async def verify(self) -> str | None:
        """What is first found wrong with the index, None when nothing is; reads all of it."""
        stride = max(1, PARTITIONS * _VERIFY_ROWS // (self.records + 1))
        for first in range(0, PARTITIONS, stride):
            check = partitions_check(first, min(first + stride, PARTITIONS))
            wrong = await self._look(check)
            if wrong is not None:
                return wrong
        return await self.verify_summary()

    async def verify_summary(self) -> str | None:
        """Whether the partitions together are what the summary says; what is wrong, or None."""
        return await self._look(check_summary)

    async def until_damaged(self) -> str:
        """Wait until the index is found to be damaged; how."""
        await self._damaged.wait()
        assert self.damage is not None
        return self.damage

    async def close(self) -> bool:
        """Let go of the index; idempotent, false as there.  What is pending stays in the log."""
        return await self._index.close()

    # --- layers -----------------------------------------------------------------------------------

    def _payload(self, key: bytes, *, remembers: bool = True) -> bytes | None:
        for layer in self._layers:
            known = layer.rows.get(key, MISSING)
            if not isinstance(known, Missing):
                return known
        looked_up = self._looked_up
        payload = looked_up.get(key, MISSING)
        if isinstance(payload, Missing):
            payload = self._reader.payload(row_key(key))
            if not remembers:
                return payload
            if len(looked_up) >= LOOKED_UP_MAX:
                looked_up.clear()
            looked_up[key] = payload
        return payload

    def _is_news(self, chunk: bytes, claimant: bytes, gone: Container[bytes]) -> bool:
        """Whether a claim is to be told of: new, or gone in this very change, which moves a key."""
        watched = self.sums.watches(chunk)
        return watched and (chunk in gone or not self._claims.has(chunk, claimant))

    def _claims_watched(self, chunk: bytes) -> list[bytes]:
        """All claims on a chunk, where somebody wants to know."""
        return self._claims.every(chunk) if self.sums.watches(chunk) else []

    def _catch_up(self, ahead: Ahead) -> None:
        """The log was replayed to the end of a checkpoint that a crash cut short: finish it first.

        Merged together with what comes later, it could be cut short again, with some keys as they
        were at its end and nothing to say so.
        """
        self._ahead = None
        if self._frozen is None and self._fresh.position is not None:
            self._freeze().position = ahead.position

    def _freeze(self) -> Overlay:
        """Begin a new overlay above the one that is to be merged."""
        frozen = self._fresh
        for _ in frozen.settle():  # what came while it was being settled
            pass
        self._fresh, self._frozen = Overlay(), frozen
        self._layers[:] = [self._fresh, frozen]
        return frozen

    async def _merge(self, frozen: Overlay) -> None:
        try:
            for transaction in transactions(frozen, self._entries_max):
                await self._index.write(transaction)
        except Corrupt as error:
            self._found(error.detail)
            raise
        self._frozen = None
        self._looked_up.clear()
        self._layers[:] = [self._fresh]
        self._covered = frozen.position

    # --- damage -----------------------------------------------------------------------------------

    async def _look(self, check: Check) -> str | None:
        try:
            wrong = await self._index.read(check)
        except Corrupt as error:
            wrong = error.detail
        if wrong is not None:
            self._found(wrong)
        return wrong

    def _found(self, wrong: str) -> None:
        if self.damage is None:
            log.error("the index is damaged and must be made anew", reason=wrong)
            self.damage = wrong
            self._index.condemn()
            self._damaged.set()


def _row(payload: bytes | None) -> int | None:
    return None if payload is None else row_of(payload)


async def open_table(
    home: IndexHome, *, entries_max: int = ENTRIES_MAX, sums: FactSums | None = None
) -> OpenedTable:
    """Open the table that an index keeps; one that is not sound is discarded.

    Raises StorageFault or DiskFull.
    """
    opened = await home.open()
    index, reason = opened.index, opened.discarded
    try:
        summary = read_summary(index)
        if summary is None and index.after(b"", 1, below=b"\xff"):
            raise Corrupt("the index has no summary")
    except Corrupt as error:
        await index.close()
        await home.discard()
        index, reason, summary = (await home.open()).index, error.detail, None
    if reason is not None:
        log.error("the index was discarded", reason=reason)
        state = IndexState.DISCARDED
    else:
        state = IndexState.FRESH if summary is None else IndexState.READY
    table = IndexedTable(index, summary or Summary(), entries_max, sums)
    return OpenedTable(table, state, reason)
