"""Plants each bug in a copy of the tree and sees whether its tests notice.

    python -m tests.mutants [NAME ...]      those whose names contain one of the words

The score is printed last; exit status 1 when a bug escapes, a text to replace is not there exactly
once, or the tests fail on the tree as it is.
"""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import Mutant

ROOT: Final = Path(__file__).parent.parent.parent
PARTS: Final = ("ring", "node", "gateway", "holdfast", "tests", "pyproject.toml")
WORKERS: Final = 2
DEADLINE_S: Final = 300.0
_LINES_SHOWN: Final = 12


def copied_tree(folder: Path) -> Path:
    """The tree without what was generated."""
    tree = folder / "tree"
    tree.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree / part)
    return tree


def fails(tree: Path, tests: tuple[str, ...]) -> tuple[bool, str]:
    """Whether a test fails in `tree`, and the last lines that were printed."""
    if tests[0] == "--seeds":
        command = [sys.executable, "-B", "-m", "tests.sim", *tests]
    elif tests[0] == "--model":
        command = [sys.executable, "-B", "-m", "tests.model", *tests[1:]]
    else:
        options = ["-q", "-x", "-p", "no:cacheprovider"]
        command = [sys.executable, "-B", "-m", "pytest", *options, *tests]
    environ = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=tree, env=environ, capture_output=True, text=True, check=False,
            timeout=DEADLINE_S,
        )
    except subprocess.TimeoutExpired:
        return True, f"no end within {DEADLINE_S:.0f} s"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return done.returncode != 0, "\n".join(lines[-_LINES_SHOWN:])


def plant(mutant: Mutant, tree: Path) -> None:
    """Replace the text; exits when it is not there exactly once."""
    path = tree / mutant.path
    text = path.read_text()
    if text.count(mutant.old) != 1:
        sys.exit(f"{mutant.name}: its text is {text.count(mutant.old)} times in {mutant.path}")
    path.write_text(text.replace(mutant.old, mutant.new))


def try_one(mutant: Mutant) -> tuple[bool, str]:
    """Whether the bug was caught, and a line on it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="holdfast-mutant-") as folder:
        tree = copied_tree(Path(folder))
        plant(mutant, tree)
        caught, words = fails(tree, mutant.tests)
    took_s = time.monotonic() - started
    if caught:
        return True, f"caught   {mutant.name}  ({' '.join(mutant.tests)}, {took_s:.0f} s)"
    return False, f"ESCAPED  {mutant.name}  ({' '.join(mutant.tests)}, {took_s:.0f} s)\n{words}"


def baseline(chosen: list[Mutant]) -> list[str]:
    """What fails on the tree as it is: such a test catches nothing."""
    faults = []
    with tempfile.TemporaryDirectory(prefix="holdfast-mutant-") as folder:
        tree = copied_tree(Path(folder))
        suites = sorted({mutant.tests for mutant in chosen})
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            for tests, (failed, words) in zip(
                suites, pool.map(lambda tests: fails(tree, tests), suites), strict=True
            ):
                if failed:
                    faults.append(f"without any bug, {' '.join(tests)} fails:\n{words}")
    return faults


def main(words: list[str]) -> int:
    """Exit status."""
    known = MUTANTS
    chosen = [m for m in known if not words or any(word in m.name for word in words)]
    faults = baseline(chosen)
    if faults:
        print("\n".join(faults))
        return 1
    caught = 0
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        for good, line in pool.map(try_one, chosen):
            caught += good
            print(line, flush=True)
    print(f"{caught} of {len(chosen)} planted bugs caught")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
