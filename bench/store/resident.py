"""`python -m bench.store.resident FOLDER FIRST COUNT`: a process that opens a store and stays.

It puts COUNT tiny records from number FIRST on, says on standard output what it did and waits for
SIGTERM, at which it closes the store.  The seconds of `ready` count from its own birth.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvloop

from bench import proc
from bench.store import bodies, load
from bench.store.opened import Kind, log_to_stderr, opened

_WRITERS: Final = 512
_LIFE_S_MAX: Final = 600.0  # an orphan ends by itself


async def reside(folder: Path, first: int, count: int) -> None:
    """Open, fill, wait, close."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with opened(Kind.PAGES, folder) as store:
        born = proc.stat(os.getpid())
        assert born is not None
        print(f"ready {proc.boot_clock_s() - born.start_s:.3f}", flush=True)
        began_s = time.perf_counter()
        made = (bodies.tiny(number) for number in range(first, first + count))
        await load.puts(store, made, _WRITERS)
        print(f"filled {time.perf_counter() - began_s:.3f}", flush=True)
        print(f"records {store.usage().records}", flush=True)
        async with asyncio.timeout(_LIFE_S_MAX):
            await stop.wait()


def main(argv: Sequence[str]) -> int:
    """Until SIGTERM."""
    log_to_stderr()
    folder, first, count = argv
    uvloop.run(reside(Path(folder), int(first), int(count)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
