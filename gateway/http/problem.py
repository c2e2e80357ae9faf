"""Errors as clients see them: problem+json (RFC 9457) with the error's own code.

`code` and `status` come from the table in ring/errors.py and from nowhere else.  Facts of the error
that are text or numbers become members of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from gateway.http.answer import Answer
from ring.errors import HoldfastError, MethodNotAllowed, RangeNotSatisfiable

PROBLEM_FIELDS: Final = (
    b"Content-Type: application/problem+json\r\nX-Content-Type-Options: nosniff\r\n"
    b"Cache-Control: no-store\r\n"
)
INTERNAL_CODE: Final = "internal"
_TYPE_PREFIX: Final = "urn:holdfast:problem:"
_INTERNAL_STATUS: Final = 500
_UNAVAILABLE_STATUS: Final = 503
_DETAIL_CHARACTERS_MAX: Final = 1_000


def problem(error: HoldfastError, *, request_id: str, retry_after_s: int) -> Answer:
    """The answer that says no."""
    facts = {name: fact for name, fact in error.facts.items() if isinstance(fact, str | int)}
    fields = PROBLEM_FIELDS
    if error.status == _UNAVAILABLE_STATUS:
        fields += b"Retry-After: %d\r\n" % retry_after_s
    if isinstance(error, MethodNotAllowed):
        fields += f"Allow: {facts['allow']}\r\n".encode("ascii")
    if isinstance(error, RangeNotSatisfiable) and "size_bytes" in facts:
        fields += f"Content-Range: bytes */{facts['size_bytes']}\r\n".encode("ascii")
    members = {**facts, "request": request_id, "detail": error.detail[:_DETAIL_CHARACTERS_MAX]}
    return _answer(error.status, error.code, fields, members)


def internal_problem(request_id: str) -> Answer:
    """The answer to a fault of our own; the log has the rest under the same request id."""
    detail = "the gateway failed in a way that it did not foresee; its log says more"
    members = {"request": request_id, "detail": detail}
    return _answer(_INTERNAL_STATUS, INTERNAL_CODE, PROBLEM_FIELDS, members)


def _answer(status: int, code: str, fields: bytes, facts: Mapping[str, str | int]) -> Answer:
    members = {
        **facts,
        "type": _TYPE_PREFIX + code,
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
    }
    body = json.dumps(members).encode("ascii") + b"\n"
    return Answer(status, fields, body, code=code, detail=str(facts["detail"]))
