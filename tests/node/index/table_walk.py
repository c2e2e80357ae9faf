"""A random walk of an indexed table beside a plain one, over a log that both are fed from."""

from __future__ import annotations

from random import Random

from node.index.index import IndexHome
from node.index.indexed_table import IndexedTable, IndexState, OpenedTable, open_table
from node.index.located_table import LocatedTable
from node.index.location import Location, Position
from node.record_change import RecordChange
from node.record_row import pack_row
from ring.digest import Algorithm, Digest
from ring.limits import CHUNK_BYTES
from ring.record import RecordKey, RecordKind, RecordState, Root
from tests.fakes.plain_located_table import PlainLocatedTable

Entry = tuple[RecordChange, dict[bytes, Location | None], Position]

KEYS = sorted(
    RecordKey(Digest.of(b"%d" % number, algorithm)).raw
    for number in range(12)
    for algorithm in Algorithm
)
CLAIMANTS = sorted(Digest.of(b"%d" % number, list(Algorithm)[number % 3]) for number in range(7))


class TableWalk:
    """log: everything that was ever applied.  model: what it adds up to."""

    def __init__(self, rng: Random, entries_max: int) -> None:
        self.rng = rng
        self.entries_max = entries_max
        self.log: list[Entry] = []
        self.model = PlainLocatedTable()

    async def open(self, home: IndexHome) -> IndexedTable:
        """A start: what the index has, and after it what only the log has."""
        opened = await open_table(home, entries_max=self.entries_max)
        self.check_opened(opened)
        assert await opened.table.verify() is None
        covered = opened.table.covered
        for entry in self.log:
            if covered is None or covered < entry[2]:
                opened.table.apply(*entry)
        return opened.table

    def check_opened(self, opened: OpenedTable) -> None:
        """A start never covers what was not applied, and begins empty unless it is ready."""
        covered = opened.table.covered
        assert covered is None or covered in [position for _, _, position in self.log]
        if opened.state is not IndexState.READY:
            assert covered is None
            assert opened.table.records == 0

    def change(self, table: IndexedTable) -> None:
        """Apply something new to both."""
        table.apply(*self.next_entry())

    def next_entry(self) -> Entry:
        """Something new in the log and in the model."""
        position = Position(len(self.log) // 7, len(self.log))
        change = self._change()
        located: dict[bytes, Location | None] = {}
        known = [*change.rows, *change.dropped, *self.rng.sample(KEYS, 9)]
        for key in self.rng.sample(known, self.rng.randrange(8)):
            where = Location(self.rng.randrange(4), self.rng.randrange(99), self.rng.randrange(99))
            located[key] = where if self.rng.random() < 0.8 else None
        entry = (change, located, position)
        self.log.append(entry)
        self.model.apply(*entry)
        return entry

    def compare(self, table: IndexedTable) -> None:
        """Everything that can be asked."""
        assert_same(table, self.model, self.rng)

    def _change(self) -> RecordChange:
        rng = self.rng
        keys = rng.sample(KEYS, rng.randrange(7))
        dropped = keys[: rng.randrange(3)] if rng.random() < 0.4 else []
        rows = {key: pack_row(self._state()) for key in keys[len(dropped) :]}
        chunks = rng.choices(KEYS, k=rng.randrange(5))
        claims = [(chunk, rng.choice(CLAIMANTS).key) for chunk in chunks]
        floors = {rng.randrange(4096): rng.randrange(1, 9)} if rng.random() < 0.2 else {}
        return RecordChange(rows=rows, dropped=dropped, claims=claims, floors=floors)

    def _state(self) -> RecordState:
        rng = self.rng
        return RecordState(
            kind=rng.choice(list(RecordKind)),
            size_bytes=rng.randrange(5 * CHUNK_BYTES),
            root=Root(rng.randrange(1, 9)),
            held=rng.random() < 0.7,
            claimed=rng.random() < 0.3,
            verified_at_s=rng.randrange(9),
        )


def assert_same(table: IndexedTable, model: PlainLocatedTable, rng: Random) -> None:
    """Both tables answer everything alike."""
    assert (table.records, table.held, table.bytes_stored) == (
        model.records,
        model.held,
        model.bytes_stored,
    )
    assert table.live_bytes == model.live_bytes
    assert table.floors() == model.floors()
    for after in (None, b"", b"\xff", *rng.sample(KEYS, 4)):
        for limit in (1, 2, 5, 1000):
            assert table.order.after(after, limit) == model.order.after(after, limit)
    for key in KEYS:
        assert table.state(key) == model.state(key)
        assert table.location(key) == model.location(key)
        for kind in RecordKind:
            assert table.value_bytes(key, kind) == model.value_bytes(key, kind)
        _assert_same_claims(table, model, key, rng.choice([None, *CLAIMANTS]))


def _assert_same_claims(
    table: LocatedTable, model: LocatedTable, key: bytes, after: Digest | None
) -> None:
    for limit in (1, 3, 100):
        assert table.claimants(key, after, limit) == model.claimants(key, after, limit)
    for claimant in CLAIMANTS:
        assert table.is_claimed_by(key, claimant) == model.is_claimed_by(key, claimant)
