"""When cyclic garbage is collected: not in the middle of a run, and wholly after it.

A collection calls finalisers, and when it comes depends on everything else in the process, so it
must have no say in the order of events.  What a run leaves behind (processes that ended stand where
they stood, in cycles with what they waited for) is freed at its end.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_afterwards() -> Iterator[None]:
    """No collection in the block, one of everything made in it at its end.  May be nested."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    gc.freeze()  # what was there before is not looked at again and again
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()
        gc.enable()
