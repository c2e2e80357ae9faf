"""`python -m bench store`: the storage engine without a cluster.

Standard output has the table, or the JSON list, and nothing else.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench import progress
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.store.amplification import amplification, churn
from bench.store.compaction import compaction
from bench.store.figure import Figure, as_json, as_text
from bench.store.frames import frames
from bench.store.gets import gets
from bench.store.opened import log_to_stderr
from bench.store.puts import chunks, puts
from bench.store.scale import QUICK, TOTAL_S, Scale
from bench.store.setting import Setting
from bench.store.start import start

Measure = Callable[[Setting], list[Figure]]

_MEASURES: Final[dict[str, Measure]] = {
    "frames": frames,
    "puts": puts,
    "gets": gets,
    "amplification": amplification,
    "deletes": churn,
    "chunks": chunks,
    "compaction": compaction,
    "start": start,
}
KEYS: Final = tuple(_MEASURES)


def run_store(
    folder: Path, only: Sequence[str], *, is_quick: bool, records: int | None, json: bool
) -> int:
    """Measure, print, and return the exit status: 1 when something could not be measured."""
    log_to_stderr()
    scale = QUICK if is_quick else Scale()
    if records is not None:
        scale = dataclasses.replace(scale, records=records)
    deadline = Deadline(TOTAL_S)
    figures = []
    for key in KEYS:
        if not only or key in only:
            figures += measured(key, _MEASURES[key], folder / key, scale, deadline)
    print(as_json(figures) if json else as_text(figures))
    return 1 if any(figure.value is None for figure in figures) else 0


def measured(
    key: str, measure: Measure, folder: Path, scale: Scale, deadline: Deadline
) -> list[Figure]:
    """The figures of one measurement, or one that says why there are none; clears up."""
    progress.say(f"store: {key}")
    try:
        deadline.share_s(1, key)
        folder.mkdir()
        return measure(Setting(folder, scale, deadline))
    except RowFailed as error:
        progress.say(f"{key} was not measured: {error}")
        return [Figure(key, key, "", None, failure=str(error))]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
