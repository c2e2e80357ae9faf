"""A planted bug: what a naive build would do, as one replacement of text.

Rules: `old` occurs exactly once in its file, or the run fails loudly; `tests` are quick and pass on
the tree as it is; a bug is caught when one of them fails.  A run of the simulator counts as a test.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted bug.

    tests: arguments of pytest, of `python -m tests.sim` when they begin with "--seeds", or of
    `python -m tests.model` behind a "--model".
    """

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]
