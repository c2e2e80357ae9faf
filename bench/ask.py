"""One HTTP request at a time to a server on this machine: for set-up and checks, never timed."""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass

from bench.failure import RowFailed


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and whole body of a response."""

    status: int
    body: bytes


def ask(port: int, method: str, path: str, body: bytes = b"", timeout_s: float = 30.0) -> Answer:
    """Send one request on a connection of its own; RowFailed when no answer comes back."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path, body=body or None)
        response = connection.getresponse()
        return Answer(response.status, response.read())
    except (OSError, http.client.HTTPException) as error:
        raise RowFailed(f"{method} {path} got no answer: {error!r}") from error
    finally:
        connection.close()


def is_ready(port: int, timeout_s: float = 1.0) -> bool:
    """Whether /readyz answers 200 at this port; a refused, silent or foreign port is not ready."""
    try:
        return ask(port, "GET", "/readyz", timeout_s=timeout_s).status == 200
    except RowFailed:
        return False


def free_port() -> int:
    """A TCP port on the loopback address that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
