"""A process that the harness started and will end, whatever happens in between."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench import proc

_POLL_S: Final = 0.02
_LOG_LINES: Final = 20


class Child:
    """Starts `argv` at construction, in a session of its own; its output goes to the file `log`.

    The session is how children are found whose parent died before them.
    """

    def __init__(self, argv: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def exited(self) -> bool:
        return self._process.poll() is not None

    def last_words(self) -> str:
        """The last lines of its output, for a message that says why it failed."""
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])

    def stop(self, grace_s: float) -> str:
        """Ask it to end, and force it and its descendants after `grace_s`; returns a complaint.

        The complaint is empty when it ended by itself, in time, with exit code 0 or by the signal.
        """
        family = _by_pid(proc.descendants(self.pid))
        if not self.exited:
            self._process.terminate()
        complaint = ""
        try:
            code = self._process.wait(grace_s)
            if code not in {0, -signal.SIGTERM}:
                complaint = f"ended with exit code {code}"
        except subprocess.TimeoutExpired:
            complaint = f"did not end within {grace_s:.0f} s of SIGTERM and was killed"
            self._process.kill()
            self._process.wait()
        family |= _by_pid(proc.session(self.pid))
        orphans = [member for member in family.values() if _same(member)]
        if orphans and not complaint:
            complaint = f"left {len(orphans)} processes behind, which were killed"
        for orphan in orphans:
            _kill(orphan)
        return complaint


def _by_pid(members: Sequence[proc.Stat]) -> dict[int, proc.Stat]:
    return {member.pid: member for member in members}


def _same(member: proc.Stat) -> bool:
    """Whether the very process still lives: its number may belong to another one by now."""
    now = proc.stat(member.pid)
    return now is not None and now.start_s == member.start_s


def _kill(member: proc.Stat) -> None:
    try:
        os.kill(member.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    end_s = time.perf_counter() + 5
    while _same(member) and time.perf_counter() < end_s:
        time.sleep(_POLL_S)
