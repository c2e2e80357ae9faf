"""What a gateway says when it says no: problem+json (RFC 9457) back into the class that it was.

The gateway's `code` names the class; `detail` is its sentence; other members are facts.  Whatever
stands between client and gateway, or in its place, may answer too.  Its pages have no code, so a
404 of theirs says nothing about a blob: only a gateway's is an absence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from ring.errors import (
    BadRequest,
    DiskFull,
    HoldfastError,
    NotFound,
    PeerProtocol,
    RangeNotSatisfiable,
    TooLarge,
    Unauthenticated,
    Unavailable,
    error_class,
)

PROBLEM_TYPE: Final = "application/problem+json"
_RESERVED: Final = frozenset(("type", "title", "status", "code", "detail", "instance"))
_OF_ANYBODY: Final[Mapping[int, type[HoldfastError]]] = {
    401: Unauthenticated,
    403: Unauthenticated,
    413: TooLarge,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
_OF_GATEWAY: Final[Mapping[int, type[HoldfastError]]] = {
    **_OF_ANYBODY,
    400: BadRequest,
    404: NotFound,
    416: RangeNotSatisfiable,
    507: DiskFull,
}
_SHOWN_CHARACTERS: Final = 200


def read_problem(status: int, headers: Mapping[str, str], body: bytes) -> HoldfastError:
    """The error that an answer of status 400 or more stands for.

    An answer to HEAD has no body, but the same Content-Type as the answer to GET would have.  A
    `Retry-After` in seconds becomes the fact `retry_after_s`.
    """
    ours = headers.get("Content-Type", "").partition(";")[0].strip() == PROBLEM_TYPE
    members = _members(body) if ours else {}
    code = members.get("code")
    detail = members.get("detail")
    facts = {
        name: value
        for name, value in members.items()
        if name not in _RESERVED and isinstance(value, str | int)
    }
    retry_after = headers.get("Retry-After", "")
    if retry_after.isascii() and retry_after.isdigit():
        facts["retry_after_s"] = int(retry_after)
    if isinstance(code, str) and code:
        kind = error_class(code)
        if isinstance(detail, str) and detail:
            return kind(detail, **facts)
        return kind(f"the gateway answered {code}", **facts)
    if ours:
        kind = _OF_GATEWAY.get(status, PeerProtocol)
        return kind(f"the gateway answered with HTTP status {status}", **facts)
    return _of_somebody_else(status, body, facts)


def _of_somebody_else(
    status: int, body: bytes, facts: Mapping[str, str | int]
) -> HoldfastError:
    shown = " ".join(body[:_SHOWN_CHARACTERS].decode("utf-8", "replace").split())
    said = f"HTTP status {status}" + (f" and {shown!r}" if shown else "")
    kind = _OF_ANYBODY.get(status, PeerProtocol)
    return kind(f"who answered is no gateway of Holdfast; it said {said}", **facts)


def _members(body: bytes) -> dict[str, object]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
