"""What the harness is doing, for whoever waits: on standard error only.

Standard output belongs to the report.
"""

from __future__ import annotations

import sys
import time
from typing import Final

_BEGAN_S: Final = time.perf_counter()


def say(words: str) -> None:
    """One line with the seconds since the program began."""
    print(f"[{time.perf_counter() - _BEGAN_S:5.0f} s] {words}", file=sys.stderr, flush=True)
