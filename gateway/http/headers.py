"""What the door asks of a request's headers; the parser's own type fills it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol


class Headers(Protocol):
    """Fields by name without regard to case, values as sent without surrounding blanks."""

    def __contains__(self, name: object) -> bool:
        """Whether the field is there."""

    def get(self, name: str) -> str | None:
        """The first value."""

    def getall(self, name: str, default: Sequence[str]) -> Sequence[str]:
        """All values, in order; `default` when there is none."""


class _NoHeaders:
    """Of what could not be parsed."""

    def __contains__(self, name: object) -> bool:
        return False

    def get(self, name: str) -> str | None:
        del name
        return None

    def getall(self, name: str, default: Sequence[str]) -> Sequence[str]:
        del name
        return default


NO_HEADERS: Final[Headers] = _NoHeaders()
