"""What every measurement of the store is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.deadline import Deadline
from bench.store.scale import Scale


@dataclass(frozen=True, slots=True)
class Setting:
    """folder: empty, the measurement's own.  deadline: of the whole run."""

    folder: Path
    scale: Scale
    deadline: Deadline
