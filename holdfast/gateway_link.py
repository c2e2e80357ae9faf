"""One HTTP call to a gateway, and the same call again when that may help.

The seam to aiohttp: its exceptions become those of ring/errors.py here and nowhere else in this
package.  Redirects are not followed and nothing is decompressed: bytes are what the digest says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import aiohttp

from holdfast.problem import read_problem
from holdfast.retry import Attempts, GatewayRefused, RetryPolicy
from holdfast.upload import Sending
from ring.digest import Buffer
from ring.errors import DeadlineExceeded, HoldfastError, PeerProtocol, Unreachable
from ring.limits import KIB, MIB
from ring.seams import Randomness

CONNECT_S: Final = 5.0
IDLE_S: Final = 60.0  # without a byte in either direction
ANSWER_S: Final = 120.0  # after an upload's last byte: a large blob's chunks are confirmed then
CONNECTIONS_MAX: Final = 64
ANSWER_BYTES_MAX: Final = 64 * MIB  # a status or a page of a list, never a blob
PROBLEM_BYTES_MAX: Final = 64 * KIB
_FIRST_ERROR_STATUS: Final = 400
_FIRST_REDIRECT_STATUS: Final = 300

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer of status below 300."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        """The body as a JSON object; raises PeerProtocol."""
        try:
            value = json.loads(self.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            shown = self.body[:80].decode("utf-8", "replace")
            raise PeerProtocol(f"the answer is no JSON object: {shown!r}")
        return value


class GatewayLink:
    """A session with one gateway, or with whatever balances the load over several."""

    def __init__(
        self, url: str, token: str | None, policy: RetryPolicy, randomness: Randomness
    ) -> None:
        headers = {"Accept-Encoding": "identity", "User-Agent": "holdfast-python"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self.url = url
        self._policy = policy
        self._randomness = randomness
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=IDLE_S),
            headers=headers,
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    def attempts(self) -> Attempts:
        """A fresh budget of attempts, starting now."""
        return Attempts(self._policy, self._randomness, asyncio.get_running_loop().time())

    async def retry(
        self, work: Callable[[], Awaitable[T]], *, repeatable: Callable[[], bool] = lambda: True
    ) -> T:
        """Do `work` until it succeeds, cannot succeed, or the policy's patience is over."""
        attempts = self.attempts()
        while True:
            try:
                return await work()
            except HoldfastError as error:
                if not repeatable():
                    raise
                wait_s = attempts.wait_s(error, asyncio.get_running_loop().time())
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)

    async def ask(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None
    ) -> Answered:
        """Ask without a body, repeatedly if need be; raises the gateway's error."""

        async def once() -> Answered:
            response = await self.open(method, path, params=params)
            with self.translated():
                async with response:
                    return await _whole(response)

        return await self.retry(once)

    async def open(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """Ask once, for an answer of status below 300 whose body is still to be read."""
        with self.translated():
            response = await self._session.request(
                method, self.url + path, params=params, headers=headers, allow_redirects=False
            )
            return await _accepted(response)

    async def upload(
        self, method: str, path: str, sending: Sending, *, params: Mapping[str, str] | None = None
    ) -> Answered:
        """Send a body once; raises the gateway's error, or the source's own fault.

        Waiting for the source takes as long as it takes; waiting for the gateway is bounded.
        """
        headers = {"Content-Type": "application/octet-stream"}
        if sending.size_bytes is not None:
            headers["Content-Length"] = str(sending.size_bytes)
        try:
            with self.translated():
                async with asyncio.timeout(IDLE_S) as patience:
                    response = await self._session.request(
                        method,
                        self.url + path,
                        params=params,
                        headers=headers,
                        data=_watched(sending, patience),
                        allow_redirects=False,
                    )
                    async with await _accepted(response):
                        return await _whole(response)
        except HoldfastError:
            if sending.fault is not None:
                raise sending.fault from None
            raise

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what aiohttp raises inside into errors of ring/errors.py."""
        try:
            yield
        except aiohttp.ConnectionTimeoutError as error:
            raise Unreachable(f"no connection to {self.url} in {CONNECT_S:g} s") from error
        except aiohttp.ClientConnectorError as error:
            reason = error.os_error.strerror or str(error.os_error)
            refused = GatewayRefused(str(error))
            raise Unreachable(f"no gateway answers at {self.url}: {reason}") from refused
        except TimeoutError as error:
            raise DeadlineExceeded(f"{self.url} did not answer in time") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            raise Unreachable(f"the connection to {self.url} broke: {error}") from error
        except aiohttp.ClientError as error:
            raise PeerProtocol(f"{self.url} does not speak HTTP properly: {error}") from error


async def _watched(sending: Sending, patience: asyncio.Timeout) -> AsyncIterator[Buffer]:
    """The pieces; the clock runs only while the gateway is to take one, or to answer."""
    loop = asyncio.get_running_loop()

    def wait_until(when: float | None) -> None:
        with contextlib.suppress(RuntimeError):  # the answer came early and the wait is over
            patience.reschedule(when)

    wait_until(None)
    async for piece in sending.pieces():
        wait_until(loop.time() + IDLE_S)
        yield piece
        wait_until(None)
    wait_until(loop.time() + ANSWER_S)


async def _accepted(response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
    """The response when it is no error; otherwise raises what it says."""
    if response.status < _FIRST_REDIRECT_STATUS:
        return response
    async with response:
        if response.status < _FIRST_ERROR_STATUS:
            raise PeerProtocol(f"the answer was a redirect (HTTP status {response.status})")
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > PROBLEM_BYTES_MAX:
                break
        raise read_problem(response.status, response.headers, bytes(body[:PROBLEM_BYTES_MAX]))


async def _whole(response: aiohttp.ClientResponse) -> Answered:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > ANSWER_BYTES_MAX:
            raise PeerProtocol(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
    return Answered(response.status, response.headers, bytes(body))
