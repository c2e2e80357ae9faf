"""Which segments are worth freeing, from sizes alone.  No I/O.

Rules:
1.  Of what was put into the store, `share_min` must count; below it the emptiest segments are
    freed.  Of those fewest bytes have to be written anew, and every segment empties by waiting.
    What fills batches up to whole blocks is no reason to free anything: it is there from the start.
2.  A segment costs what freeing it writes: the values that count in it, and the rows of what it
    speaks of.  The rows are known once it was looked at; before, they are those of its values at
    least.
3.  One that is so full that little would be won is left alone (`share_max`), also below
    `share_min`.  It rests until much was written since, or much of it died; longer each time.
4.  One that no checkpoint covers yet needs a checkpoint first.  It waits until all of those that
    are not covered have much more to win than that writes.
5.  On a full disk all that counts is what can be won at all (`PRESSED_SHARE_MAX`).  Of large values
    that must be more than their heads and what fills them up to whole blocks, or they would be
    moved from one reserve to the next for ever (`bulk_won_min_bytes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

PRESSED_SHARE_MAX: Final = 0.9
NEARLY_EMPTY_SHARE: Final = 0.05
_REST_FACTOR_MAX: Final = 16
_WON_FOR_CHECKPOINT: Final = 4  # at least so many times what it writes


class Candidate(Struct, frozen=True):
    """A segment that nothing is written to any more.

    used_bytes: its length.  live_bytes: of values in it.  row_bytes: about, of the rows of those
    values.  is_covered: no checkpoint has to be made before it can go.  is_log: it has batches.
    """

    number: int
    used_bytes: int
    live_bytes: int
    row_bytes: int
    is_covered: bool
    is_log: bool = True


class _Rest(Struct, frozen=True):
    """A segment that was not worth freeing, or could not be: until when, and what lived in it."""

    until_bytes: int
    live_bytes: int
    factor: int


class VictimChoice:
    """See the module."""

    def __init__(self, share_min: float, share_max: float, *, bulk_won_min_bytes: int) -> None:
        self._share_min = share_min
        self._share_max = share_max
        self._bulk_won_min_bytes = bulk_won_min_bytes
        self._row_bytes: dict[int, int] = {}  # of segments that were looked at
        self._resting: dict[int, _Rest] = {}
        self._seen_bytes = 0  # of segments looked at lately
        self._seen_packed_bytes = 0

    def victims(
        self,
        candidates: Sequence[Candidate],
        applied_bytes: int,
        *,
        checkpoint_bytes: int,
        is_pressed: bool,
    ) -> list[Candidate]:
        """What is worth a look, the emptiest first.

        applied_bytes: how much was ever written to the log by this process.  checkpoint_bytes: what
        a checkpoint would write now.
        """
        self._forget_others(candidates)
        packed_bytes = sum(map(self._packed_bytes, candidates))
        share = sum(map(self._cost_bytes, candidates)) / max(1, packed_bytes)
        won_bytes = sum(
            one.used_bytes - self._cost_bytes(one) for one in candidates if not one.is_covered
        )
        is_checkpoint_worth_it = won_bytes >= _WON_FOR_CHECKPOINT * checkpoint_bytes
        found = []
        for one in candidates:
            own = self._cost_bytes(one) / max(1, one.used_bytes)
            if self._is_resting(one, applied_bytes):
                continue
            if is_pressed:
                won_bytes = one.used_bytes - one.live_bytes
                is_much = won_bytes >= self._bulk_won_min_bytes or not one.live_bytes
                is_wanted = own <= PRESSED_SHARE_MAX and (one.is_log or is_much)
            elif one.is_covered:
                is_wanted = own <= NEARLY_EMPTY_SHARE or share < self._share_min
            else:
                is_wanted = share < self._share_min and is_checkpoint_worth_it
            if is_wanted and own <= self.share_max(is_pressed=is_pressed):
                found.append((own, one.number, one))
        return [one for _, _, one in sorted(found)]

    def share_max(self, *, is_pressed: bool) -> float:
        """How much of a segment may count for freeing it to be worth it."""
        return PRESSED_SHARE_MAX if is_pressed else self._share_max

    def tried(self, one: Candidate, applied_bytes: int) -> None:
        """It is about to be looked at: unless that frees it, it rests for a while."""
        before = self._resting.get(one.number)
        has_died = before is None or 10 * one.live_bytes < 9 * before.live_bytes
        factor = 1 if before is None or has_died else min(2 * before.factor, _REST_FACTOR_MAX)
        until_bytes = applied_bytes + factor * one.used_bytes
        self._resting[one.number] = _Rest(until_bytes, one.live_bytes, factor)

    def learned(self, one: Candidate, row_bytes: int, packed_bytes: int) -> None:
        """What a look found: the rows that count, and what was ever put into the segment."""
        self._row_bytes[one.number] = row_bytes
        self._seen_bytes = self._seen_bytes // 2 + one.used_bytes
        self._seen_packed_bytes = self._seen_packed_bytes // 2 + packed_bytes

    def _packed_bytes(self, one: Candidate) -> float:
        """About what was ever put into a segment, as far as those that were looked at tell."""
        if not one.is_log or not self._seen_bytes:
            return one.used_bytes
        return one.used_bytes * min(1.0, self._seen_packed_bytes / self._seen_bytes)

    def _cost_bytes(self, one: Candidate) -> int:
        return one.live_bytes + self._row_bytes.get(one.number, one.row_bytes)

    def _is_resting(self, one: Candidate, applied_bytes: int) -> bool:
        rest = self._resting.get(one.number)
        if rest is None:
            return False
        if applied_bytes < rest.until_bytes and 10 * one.live_bytes >= 9 * rest.live_bytes:
            return True
        self._row_bytes.pop(one.number, None)  # a look will tell anew
        return False

    def _forget_others(self, candidates: Sequence[Candidate]) -> None:
        numbers = {one.number: None for one in candidates}
        for known in (self._row_bytes, self._resting):
            for number in [number for number in known if number not in numbers]:
                del known[number]
