"""What an operator types: is everything whole, and what happened to a blob?"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.ask import is_ready

_PROJECT: Final = Path(__file__).parent.parent.parent
_COMMAND_S: Final = 300.0
_PATIENCE_S: Final = 60
_POLL_S: Final = 0.5


class Operator:
    """All of it blocks."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports

    def becomes_ready(self, patience_s: float) -> bool:
        """Whether all gateways say within that time that they are."""
        give_up_s = time.monotonic() + patience_s
        while not all(is_ready(port) for port in self._ports):
            if time.monotonic() > give_up_s:
                return False
            time.sleep(_POLL_S)
        return True

    def repair(self) -> str | None:
        """None when a recount says that all is whole, otherwise what was said."""
        done = self._holdfast("repair", "--patience", str(_PATIENCE_S))
        return None if done.returncode == 0 else f"{done.stdout}{done.stderr}"

    def scrub(self) -> str | None:
        """None when every copy was read again, otherwise what was said."""
        done = self._holdfast("scrub", "--wait", "--patience", str(_PATIENCE_S))
        return None if done.returncode == 0 else f"{done.stdout}{done.stderr}"

    def why(self, digest: str) -> str:
        """The story of a blob."""
        return self._holdfast("why", digest).stdout

    def _holdfast(self, *argv: str) -> subprocess.CompletedProcess[str]:
        url = f"http://127.0.0.1:{self._ports[0]}"
        return subprocess.run(
            [sys.executable, "-m", "holdfast", "admin", *argv, "--gateway", url],
            cwd=_PROJECT,
            capture_output=True,
            text=True,
            check=False,
            timeout=_COMMAND_S,
        )
