"""Where a process listens: host and port, as written in configurations and layouts."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from ring.errors import BadRequest

_PORT_MAX: Final = (1 << 16) - 1
_FORM: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Address:
    """A listening address.

    host: a name or an IP address, an IPv6 one without its brackets.  port: 0 for any free one.
    """

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `host:port` or `[IPv6]:port`; raises BadRequest."""
        match = _FORM.fullmatch(text)
        if match is None or int(match[2]) > _PORT_MAX:
            raise BadRequest(f"{text[:80]!r} is not host:port, such as 127.0.0.1:7070")
        return cls(match[1].strip("[]"), int(match[2]))
