"""Whether a Host header names a host, and whether it is the one that the target names.

Nothing is routed by the name; the check refuses requests that a proxy in front may have read
differently (RFC 9112 3.2: a server MUST answer 400 to a Host that is invalid or that the target
contradicts).
"""

from __future__ import annotations

import re
from typing import Final

from ring.errors import BadRequest

_PORT_MAX: Final = 65_535
_HOST: Final = re.compile(
    r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9\-._~]{1,255})(?::(?P<port>[0-9]{1,5}))?", re.ASCII
)


def check_host(value: str) -> None:
    """Raise BadRequest unless `value` is a name or address, with a port or without."""
    found = _HOST.fullmatch(value)
    if found is None or int(found["port"] or 0) > _PORT_MAX:
        raise BadRequest(f"the Host header {value[:80]!r} names no host")
