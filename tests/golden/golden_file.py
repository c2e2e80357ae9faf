"""Files that hold what must not change by accident: placement, bytes on the wire, verdicts.

`pytest --rewrite-golden` writes what the tests find; what a change of one means stands in the test
that reads it.  Never written otherwise.
"""

from pathlib import Path

FOLDER = Path(__file__).parent


class Golden:
    """The golden files, to be compared or to be rewritten."""

    def __init__(self, *, rewrite: bool) -> None:
        self._rewrite = rewrite

    def check(self, name: str, actual: str) -> None:
        """Fail unless the file `name` (its path below tests/golden) says `actual`."""
        path = FOLDER / name
        if self._rewrite:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(actual, encoding="utf-8")
        expected = path.read_text(encoding="utf-8") if path.exists() else ""
        assert expected == actual, f"{path} is another; `pytest --rewrite-golden` writes it anew"
