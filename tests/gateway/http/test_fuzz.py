"""Random bytes at the port: an answer in words or a closed connection, never a crash or a hang."""

from __future__ import annotations

import random
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

import pytest

from ring.digest import Digest
from tests.gateway.http.doors import PATIENT, running_door
from tests.gateway.http.wire import request

DATA = b"fuzz"
PATH = f"/v1/blobs/{Digest.of(DATA)}"
ROUNDS = 150

SEEDS = [
    request("GET", PATH, "Range: bytes=1-2", f'If-None-Match: "{Digest.of(DATA)}"'),
    request("PUT", PATH, body=DATA),
    request("PUT", PATH, "Expect: 100-continue", body=DATA),
    request("POST", "/v1/blobs?algo=sha256", "Transfer-Encoding: chunked")
    + b"4\r\nfuzz\r\n0\r\n\r\n",
    request("DELETE", PATH) + request("GET", PATH),
    request("GET", f"/v1/blobs?limit=3&after={Digest.of(b'')}"),
    request("HEAD", "/metrics", "Connection: close"),
    request("GET", "/healthz", "Connection: Upgrade", "Upgrade: websocket"),
]
PARTS = [
    *(b"\r\n", b"\n", b"\r", b"\0", b":", b" ", b"\t", b",", b"%", b"%2f", b"..", b"#", b"?", b"&"),
    *(b"Host: x\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"HTTP/1.0"),
    *(b"\xff\xfe", b"\xc3\xa9", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"-1"),
    *(b"9" * 30, b"a" * 9_000),
]


def mutated(source: random.Random) -> bytes:
    """A request with a few accidents, or noise."""
    if source.random() < 0.1:
        return source.randbytes(source.randrange(400))
    data = bytearray(b"".join(source.choices(SEEDS, k=source.randrange(1, 4))))
    for _ in range(source.randrange(6)):
        at = source.randrange(len(data) + 1)
        match source.randrange(4):
            case 0:
                data[at : at + 1] = source.randbytes(1)
            case 1:
                del data[at : at + source.randrange(20)]
            case 2:
                data[at:at] = source.choice(PARTS)
            case _:
                end = at + source.randrange(40)
                data[at:at] = data[at:end]
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
async def test_random_bytes_get_an_answer_or_a_closed_connection(
    seed: int, logged: list[MutableMapping[str, Any]]
) -> None:
    source = random.Random(seed)
    async with running_door(config=replace(PATIENT, linger_s=0.05)) as door:
        for _ in range(ROUNDS):
            data = mutated(source)
            wire = await door.wire()
            try:
                for part in (data[:7], data[7:100], data[100:]):
                    await wire.send(part)
                await wire.send(b"", end=True)
            except ConnectionError:
                pass  # the door has heard enough
            answers = await wire.rest()
            wire.close()

            assert b"HTTP/1.1 5" not in answers, data
            assert b"Traceback" not in answers, data
            assert answers == b"" or answers.startswith(b"HTTP/1.1 "), data
        assert door.value("holdfast_http_errors_total", code="crash") == 0
        assert all(digest.matches(data) for digest, data in door.store.blobs.items())
    assert not [line for line in logged if line["log_level"] == "error"]
