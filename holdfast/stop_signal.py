"""How a process of the cluster learns that it shall stop."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Final

_STDIN: Final = 0
_READ_BYTES: Final = 4096


def stop_event(*, with_stdin: bool) -> asyncio.Event:
    """Set by SIGTERM or SIGINT, and with `with_stdin` also when standard input ends.

    Its end is how a process hears that the one that started it is gone, however that died.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if with_stdin:

        def readable() -> None:
            if not os.read(_STDIN, _READ_BYTES):
                loop.remove_reader(_STDIN)
                stop.set()

        loop.add_reader(_STDIN, readable)
    return stop
