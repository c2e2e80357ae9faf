"""`python -m bench repair`: prints what comparisons cost and how soon a lost disk is whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench import progress
from bench.failure import RowFailed
from bench.repair import absence, recovery, traffic
from bench.store.opened import log_to_stderr

KEYS: Final = ("traffic", "recovery", "absence")
DIFFERENCES: Final = (0, 1, 10, 100, 1_000, 10_000)
_RECORDS: Final = 1_000_000
_RECORDS_QUICK: Final = 50_000
_BLOBS: Final = 100_000
_BLOBS_QUICK: Final = 3_000
_DELETES: Final = 10_000
_DELETES_QUICK: Final = 400


def run_repair(folder: Path, only: Sequence[str], *, is_quick: bool, records: int | None) -> int:
    """Measure, print, and return the exit status: 1 when something could not be measured."""
    log_to_stderr()
    parts, failed = [], False
    for key in KEYS:
        if only and key not in only:
            continue
        try:
            if key == "traffic":
                count = records or (_RECORDS_QUICK if is_quick else _RECORDS)
                differences = [n for n in DIFFERENCES if n <= count // 10]
                parts.append(traffic.as_text(traffic.measure(count, differences)))
            elif key == "absence":
                count = records or (_DELETES_QUICK if is_quick else _DELETES)
                parts.append(absence.as_text(absence.measure(folder, count)))
            else:
                blobs = records or (_BLOBS_QUICK if is_quick else _BLOBS)
                calm_s = 5.0 if is_quick else 20.0
                parts.append(recovery.as_text(recovery.measure(folder, blobs, calm_s)))
        except RowFailed as error:
            progress.say(f"{key} was not measured: {error}")
            parts.append(f"{key}: not measured: {error}")
            failed = True
    print("\n\n".join(parts))
    return 1 if failed else 0
