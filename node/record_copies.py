"""The copies that a record store keeps: compared before they are trusted, put aside when bad.

Callers hold the key's lock.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from node.ledger import Ledger
from node.record_change import RecordChange
from node.record_row import pack_row
from node.value_check import ValueCheck
from node.values import Values
from ring.digest import Buffer
from ring.errors import Corrupt, StorageFault
from ring.facts import needs_value
from ring.record import RecordKey, RecordKind, RecordState, without_value

WhenBad = Callable[[RecordKey, str, bool], None]

log = structlog.get_logger()


class RecordCopies:
    """quarantined_total, lost_total: copies found bad or missing since the store was opened.

    when_lost: told of each record that has no copy here any more because of that.
    when_bad: told of each such copy, also of one that is replaced at once: the record, what is
    wrong in words, and whether the copy is gone rather than bad.
    """

    def __init__(self, values: Values, ledger: Ledger, check: ValueCheck) -> None:
        self.quarantined_total = 0
        self.lost_total = 0
        self.when_lost: Callable[[RecordKey], None] | None = None
        self.when_bad: WhenBad | None = None
        self._values = values
        self._ledger = ledger
        self._check = check

    async def keep(
        self, key: RecordKey, kind: RecordKind, value: Buffer, before: RecordState
    ) -> bool:
        """Have the checked `value` stored; whether a good copy was here already.

        A copy that cannot be read may be good: it stays until the new one has taken its place.
        """
        if before.held:
            try:
                reason = await self._fault_of_copy(key, kind, value, before)
            except StorageFault as error:
                name, words = str(key.digest), error.detail
                log.warning("a copy cannot be read and is written anew", digest=name, error=words)
            else:
                if reason is None:
                    return True
                await self._condemn(key, before, reason)
        await self._values.write(key, kind, value)
        return False

    async def _fault_of_copy(
        self, key: RecordKey, kind: RecordKind, value: Buffer, before: RecordState
    ) -> str | None:
        """What is wrong with the copy that is here, None when it is `value`.

        Raises Corrupt when it is a good record, and needed, that contradicts a recipe: data proves
        itself, of two recipes neither does.  What is in the trash has no say.  Raises StorageFault
        when it cannot be read.
        """
        try:
            present = await self._values.read(key, before.kind)
        except FileNotFoundError:
            return "it is missing"
        if kind is before.kind and await self._check.are_equal(present, value):
            return None
        is_needed = needs_value(before)
        if is_needed and kind is RecordKind.RECIPE and await self._check.is_good(
            key, before.kind, before.size_bytes, present
        ):
            raise Corrupt(f"{key.digest}: this recipe contradicts the record that is here")
        return "its bytes do not match"

    async def _condemn(self, key: RecordKey, state: RecordState, reason: str) -> None:
        """Put the copy that is here aside."""
        log.warning("a bad copy goes into quarantine", digest=str(key.digest), reason=reason)
        self.quarantined_total += 1
        if self.when_bad is not None:
            self.when_bad(key, reason, False)
        await self._values.quarantine(key, state.kind)

    async def set_aside(
        self, key: RecordKey, state: RecordState, reason: str = "its bytes do not match"
    ) -> None:
        """Put a copy aside that is bad, and remember that none is here."""
        await self._condemn(key, state, reason)
        row = pack_row(without_value(state))
        await self._ledger.commit(RecordChange(rows={key.raw: row}), essential=True)
        if self.when_lost is not None:
            self.when_lost(key)

    async def lose(self, key: RecordKey, state: RecordState) -> None:
        """Remember that the copy is gone, which somebody else must have removed."""
        log.warning("a copy is missing", digest=str(key.digest))
        self.lost_total += 1
        if self.when_bad is not None:
            self.when_bad(key, "its bytes are gone", True)
        row = pack_row(without_value(state))
        await self._ledger.commit(RecordChange(rows={key.raw: row}), essential=True)
        if self.when_lost is not None:
            self.when_lost(key)
