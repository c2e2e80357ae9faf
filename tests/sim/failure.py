"""An exception in one line: what it is and where it was raised."""

from __future__ import annotations

import traceback

from ring.errors import HoldfastError


def in_words(error: BaseException | None) -> str:
    """Kind, message and place; groups are taken apart."""
    if error is None:
        return "ended without an error"
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(in_words(part) for part in error.exceptions)
    detail = error.detail if isinstance(error, HoldfastError) else str(error)
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return f"{type(error).__name__}: {detail}"
    *_, package, module = frames[-1].filename.split("/")
    return f"{type(error).__name__}: {detail} at {package}/{module}:{frames[-1].lineno}"
