"""Conditions: a tag is the digest, and existence is the store's to say (RFC 9110 13)."""

from __future__ import annotations

import asyncio

import pytest

from gateway.http import conditional
from ring.digest import Digest
from ring.errors import Unavailable
from tests.gateway.http.doors import running_door, until
from tests.gateway.http.wire import Reply, Wire, request

DATA = b"conditional"
DIGEST = Digest.of(DATA)
PATH = f"/v1/blobs/{DIGEST}"
TAG = f'"{DIGEST}"'

LISTS = [
    (TAG, True, True),
    (f"W/{TAG}", True, False),
    (f'"other", {TAG}', True, True),
    (f'"a,b" , ,W/"x",{TAG}  ', True, True),
    ("*", True, True),
    (" * ", True, True),
    ('"other"', False, False),
    (f'"{DIGEST}x"', False, False),
    (str(DIGEST), False, False),
    (f'"{str(DIGEST).upper()}"', False, False),
    (TAG[:-1], False, False),
    (f"junk {TAG}", False, False),
    ("", False, False),
    ('"' * 5_000, False, False),
    (" ," * 4_000, False, False),
    (", ".join(f'"{number}"' for number in range(1_000)) + f", {TAG}", True, True),
]


class OneField:
    """Headers with one field."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __contains__(self, name: object) -> bool:
        return True

    def get(self, name: str) -> str | None:
        return self._value

    def getall(self, name: str, default: object) -> list[str]:
        return [self._value]


@pytest.mark.parametrize(("value", "weak", "strong"), LISTS)
def test_a_list_of_tags_is_compared_weakly_or_strongly(
    value: str, weak: bool, strong: bool
) -> None:
    headers = OneField(value)

    assert conditional.holds_none_match(headers, str(DIGEST)) is weak
    assert conditional.fails_match(headers, str(DIGEST)) is not strong
    assert conditional.fails_match(headers, None)


async def ask(wire: Wire, method: str, *lines: str, body: bytes = b"") -> Reply:
    await wire.send(request(method, PATH, *lines, body=body))
    return await wire.reply(method)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_client_that_has_the_blob_gets_304_without_its_bytes(method: str) -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, DATA)
        door.store.calls.clear()

        reply = await ask(await door.wire(), method, f"If-None-Match: {TAG}")

        assert (reply.status, reply.body) == (304, b"")
        assert reply.headers["etag"] == TAG
        assert "immutable" in reply.headers["cache-control"]
        assert "content-length" not in reply.headers
        assert door.store.calls == ["stat"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_304_that_too_few_nodes_confirmed_says_so(method: str) -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, DATA)
        door.store.faults.confirmed = False

        reply = await ask(await door.wire(), method, f"If-None-Match: {TAG}")

        assert (reply.status, reply.headers["holdfast-quorum"]) == (304, "no")


async def test_a_deleted_blob_is_404_also_for_who_has_it() -> None:
    async with running_door() as door:
        wire = await door.wire()

        assert (await ask(wire, "GET", f"If-None-Match: {TAG}")).status == 404
        assert (await ask(wire, "GET", "If-None-Match: *")).status == 404
        door.store.faults.error = Unavailable("doubt")
        assert (await ask(wire, "GET", f"If-None-Match: {TAG}")).status == 503


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([f"If-Match: {TAG}"], 200),
        (["If-Match: *"], 200),
        (['If-Match: "other"'], 412),
        ([f"If-Match: W/{TAG}"], 412),
        (['If-None-Match: "other"'], 200),
        (['If-None-Match: "other"', f"If-None-Match: {TAG}"], 304),
        ([f"If-Match: {TAG}", f"If-None-Match: {TAG}"], 304),
        (['If-Match: "other"', f"If-None-Match: {TAG}"], 412),
        (["If-Modified-Since: Sun, 06 Nov 2044 08:49:37 GMT"], 200),
        (["If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT"], 200),
        ([f"If-None-Match: {TAG}", "Range: bytes=0-0"], 304),
        ([f"If-Match: {TAG}", "Range: bytes=0-0"], 206),
    ],
)
async def test_conditions_of_a_read(lines: list[str], status: int) -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, DATA)

        assert (await ask(await door.wire(), "GET", *lines)).status == status


@pytest.mark.parametrize(
    ("condition", "when_absent", "when_there"),
    [
        ("If-None-Match: *", 201, 412),
        (f"If-None-Match: {TAG}", 201, 412),
        ('If-None-Match: "other"', 201, 200),
        ("If-Match: *", 412, 200),
        (f"If-Match: {TAG}", 412, 200),
        ('If-Match: "other"', 412, 412),
    ],
)
async def test_conditions_of_a_put(condition: str, when_absent: int, when_there: int) -> None:
    async with running_door() as door:
        wire = await door.wire()
        first = await ask(wire, "PUT", condition, body=DATA)
        assert first.status == when_absent
        assert bool(door.store.blobs) is (when_absent == 201)

        await door.store.put(DIGEST, DATA)
        assert (await ask(wire, "PUT", condition, body=DATA)).status == when_there


async def test_of_two_puts_that_may_only_create_one_does() -> None:
    async with running_door() as door:
        door.store.faults.gate = asyncio.Event()
        wires = [await door.wire() for _ in range(2)]
        puts = [
            asyncio.ensure_future(ask(wire, "PUT", "If-None-Match: *", body=DATA)) for wire in wires
        ]
        while len(door.store.calls) < 2:
            await asyncio.sleep(0)
        door.store.faults.gate.set()

        assert sorted([(await put).status for put in puts]) == [201, 412]


async def test_of_two_puts_that_both_found_nothing_there_one_is_told_so() -> None:
    async with running_door() as door:
        door.store.faults.gate = looking = asyncio.Event()
        wires = [await door.wire() for _ in range(2)]
        puts = [
            asyncio.ensure_future(ask(wire, "PUT", "If-None-Match: *", body=DATA)) for wire in wires
        ]
        await until(lambda: door.store.calls.count("stat") == 2)
        door.store.faults.gate = storing = asyncio.Event()
        looking.set()
        await until(lambda: door.store.calls.count("put") == 2)
        storing.set()

        assert sorted([(await put).status for put in puts]) == [201, 412]


async def test_a_delete_may_ask_for_what_is_there() -> None:
    async with running_door() as door:
        wire = await door.wire()
        assert (await ask(wire, "DELETE", "If-Match: *")).status == 412
        await door.store.put(DIGEST, DATA)
        assert (await ask(wire, "DELETE", 'If-Match: "other"')).status == 412
        assert (await ask(wire, "DELETE", f"If-Match: {TAG}")).status == 204
        assert not door.store.blobs
