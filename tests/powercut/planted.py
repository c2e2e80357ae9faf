"""Plants known bugs in copies of the tree and sees whether power cuts find them.

    python -m tests.powercut.planted [--states N] [WORD ...]      those whose names contain a word

The bugs are those of tests/mutants; here are the ones that only a real disk can tell from a good
store.  Exit status 1 when one escapes, 2 when it cannot run here.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.mutants.__main__ import copied_tree, plant
from tests.mutants.catalogue import MUTANTS
from tests.powercut.__main__ import CANNOT_RUN

# By the subject whose power cuts find it.
PLANTED: Final = {
    "log: ack before the data sync": "records",
    "log: no sync of a new segment's directory entry": "records",
    "log: extents are not synced before the log names them": "records",
    "log: a log segment is removed before the checkpoint": "records",
    "index: LMDB does not sync": "records",
    "frames are rewritten in place": "pages",
    "a slot is reused before the flush": "pages",
    "the log is not synced": "pages",
    "a snapshot is renamed and its directory not synced": "pages",
}


def is_found(name: str, subject: str, states: int) -> tuple[bool, str]:
    """Whether a run on a copy with the bug fails, and what it said last."""
    (mutant,) = (known for known in MUTANTS if known.name == name)
    with tempfile.TemporaryDirectory(prefix="holdfast-planted-") as folder:
        tree = copied_tree(Path(folder))
        plant(mutant, tree)
        done = subprocess.run(
            (
                sys.executable, "-B", "-m", "tests.powercut", "--no-faults", "--rounds", "0",
                "--subject", subject, "--states", str(states),
            ),
            cwd=tree, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(tree)},
        )
    words = done.stdout + done.stderr
    if done.returncode == CANNOT_RUN:
        sys.exit(words)
    wrong = [line for line in words.splitlines() if "WRONG" in line or line.startswith("power cut")]
    return done.returncode == 1, "\n".join(wrong[:1]) or words[-1500:]


def main(arguments: list[str]) -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.powercut.planted", description=__doc__)
    parser.add_argument("--states", type=int, default=500)
    parser.add_argument("words", nargs="*")
    options = parser.parse_args(arguments)
    chosen = {
        name: subject
        for name, subject in PLANTED.items()
        if not options.words or any(word in name for word in options.words)
    }
    found = 0
    for name, subject in chosen.items():
        started_s = time.monotonic()
        good, words = is_found(name, subject, options.states)
        found += good
        took_s = time.monotonic() - started_s
        print(f"{'found  ' if good else 'ESCAPED'}  {name}  ({subject}, {took_s:.0f} s)\n  {words}",
              flush=True)
    print(f"{found} of {len(chosen)} planted bugs found by power cuts on a real disk")
    return 0 if found == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
