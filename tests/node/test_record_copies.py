"""A copy that cannot be read at the moment is not given up for that."""

from __future__ import annotations

import pytest

from node.ledger import ApplyOnly
from node.record_copies import RecordCopies
from node.record_table import RecordTable
from node.value_check import ValueCheck, in_place
from node.values import MemoryValues
from ring.digest import Buffer, Digest
from ring.errors import DiskFull, StorageFault
from ring.record import RecordKey, RecordKind, RecordState, live

KEY = RecordKey(Digest.of(b"blob"))
HELD = RecordState(RecordKind.DATA, 4, live(1), held=True)


class TroubledValues(MemoryValues):
    """Reads fail; writes fail as long as there is no room."""

    def __init__(self) -> None:
        super().__init__(1 << 20)
        self.has_room = True

    async def read(self, key: RecordKey, kind: RecordKind) -> Buffer:
        raise StorageFault("input/output error while reading")

    async def write(self, key: RecordKey, kind: RecordKind, value: Buffer) -> None:
        if not self.has_room:
            raise DiskFull("no room")
        await super().write(key, kind, value)


async def test_it_stays_when_the_new_one_cannot_be_written() -> None:
    values = TroubledValues()
    copies = RecordCopies(values, ApplyOnly(RecordTable()), ValueCheck(in_place))
    await values.write(KEY, RecordKind.DATA, b"blob")
    values.has_room = False
    with pytest.raises(DiskFull):
        await copies.keep(KEY, RecordKind.DATA, b"blob", HELD)
    assert values.values[KEY, RecordKind.DATA] == b"blob"
    values.has_room = True
    assert not await copies.keep(KEY, RecordKind.DATA, b"blob", HELD)
    assert copies.quarantined_total == 0
