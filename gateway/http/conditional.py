"""Conditional requests (RFC 9110 13).

The entity tag of a blob is its digest: strong, the same on every gateway and for ever.  A tag says
nothing about existence, so every condition is decided with the store's answer in hand: 304 for a
blob that was deleted would revive it in the client's eyes.  Dates are not kept, so conditions on
them are ignored, and an `If-Range` with a date never matches.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.http.headers import Headers

_ENTRY: Final = re.compile(r'[ \t,]*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?=,|$)')


def holds_none_match(headers: Headers, tag: str) -> bool:
    """Whether `If-None-Match` lists the tag of what is there (weak comparison): 304, or 412."""
    values = headers.getall("If-None-Match", ())
    return any(_lists(value, tag, strong=False) for value in values)


def fails_match(headers: Headers, tag: str | None) -> bool:
    """Whether `If-Match` is there and does not list the tag (strong comparison): 412.

    `tag` is None when nothing is there.
    """
    values = headers.getall("If-Match", ())
    if not values:
        return False
    return tag is None or not any(_lists(value, tag, strong=True) for value in values)


def allows_range(headers: Headers, tag: str) -> bool:
    """Whether `If-Range` is absent or is the tag (strong comparison)."""
    value = headers.get("If-Range")
    return value is None or value.strip(" \t") == f'"{tag}"'


def _lists(value: str, tag: str, *, strong: bool) -> bool:
    if value.strip(" \t") == "*":
        return True
    position = 0
    while found := _ENTRY.match(value, position):
        if found[2] == tag and not (strong and found[1]):
            return True
        position = found.end()
    return False
