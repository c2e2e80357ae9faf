r"""The target of a request: percent-decoding without a second meaning, paths without a way out.

Rules (RFC 3986 for the characters):
1.  A target is taken as the client sent it; nothing is normalised, so two spellings of one path
    never meet, except that `%3A` and the like are the characters that they stand for.
2.  A character that a path or query must not contain is an error in words, not a guess: raw
    non-ASCII, `#`, `\\`, a `%` without two hex digits, an encoded slash or control character,
    bytes that are not UTF-8, `.` and `..` as segments.
3.  A parameter that the route does not know, or that comes twice, is an error too: a misspelt
    `limit` must not silently list everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from ring.errors import BadRequest

_PARAMETERS_MAX: Final = 16
_SEGMENTS_MAX: Final = 16
_SHOWN: Final = 80
_PATH: Final = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*", re.ASCII)
_QUERY: Final = re.compile(r"(?:[A-Za-z0-9\-._~!$'()*+,;=:@/?&]|%[0-9A-Fa-f]{2})*", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Target:
    """Decoded segments of the path (`/v1/blobs` is v1, blobs) and the parameters in order."""

    segments: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...]

    def parameter(self, known: Sequence[str]) -> Mapping[str, str]:
        """The parameters by name; raises BadRequest for one that is unknown or comes twice."""
        found: dict[str, str] = {}
        for name, value in self.parameters:
            if name not in known:
                what = ", ".join(known) if known else "none"
                raise BadRequest(f"unknown parameter {name[:_SHOWN]!r}; there is {what}")
            if name in found:
                raise BadRequest(f"the parameter {name} comes twice")
            found[name] = value
        return found


def parse_target(text: str, host: str) -> Target:
    """Read a request target in origin-form or in absolute-form.

    Raises BadRequest, also when an absolute-form names another host than the Host header.
    """
    if not text.startswith("/"):
        text = _origin_of(text, host)
    path, question, query = text.partition("?")
    if not _PATH.fullmatch(path):
        raise BadRequest(f"the path {path[:_SHOWN]!r} has a character that must be percent-encoded")
    raw = path[1:].split("/")
    if len(raw) > _SEGMENTS_MAX:
        raise BadRequest(f"the path has more than {_SEGMENTS_MAX} segments")
    segments = tuple(_segment(part) for part in raw)
    return Target(segments, _parameters(query) if question else ())


def _origin_of(text: str, host: str) -> str:
    """The origin-form inside an absolute-form."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() != "http":
        raise BadRequest(f"the target {text[:_SHOWN]!r} is neither a path nor an http URL")
    cut = min((at for at in map(rest.find, "/?") if at >= 0), default=len(rest))
    authority, origin = rest[:cut], rest[cut:]
    if not authority or authority.lower() != host.lower():
        raise BadRequest(
            f"the target names {authority[:_SHOWN]!r}, the Host header {host[:_SHOWN]!r}"
        )
    return origin if origin.startswith("/") else f"/{origin}"


def _segment(raw: str) -> str:
    text = _decoded(raw) if "%" in raw else raw
    if text in (".", ".."):
        raise BadRequest(f"{text!r} is no part of a path here")
    if "/" in text or "\\" in text:
        raise BadRequest(f"{raw[:_SHOWN]!r} hides a slash")
    return text


def _parameters(query: str) -> tuple[tuple[str, str], ...]:
    if not _QUERY.fullmatch(query):
        raise BadRequest(f"the query {query[:_SHOWN]!r} has a character that must be encoded")
    parts = query.split("&") if query else []
    if len(parts) > _PARAMETERS_MAX:
        raise BadRequest(f"more than {_PARAMETERS_MAX} parameters")
    pairs = (part.partition("=") for part in parts)
    return tuple((_decoded(name), _decoded(value)) for name, _, value in pairs)


def _decoded(raw: str) -> str:
    try:
        text = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest(f"{raw[:_SHOWN]!r} does not decode to UTF-8") from None
    if _CONTROL.search(text):
        raise BadRequest(f"{raw[:_SHOWN]!r} hides a control character")
    return text
