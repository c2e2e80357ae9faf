"""The routes of blobs over real sockets: what clients were promised (docs/PROTOCOL.md)."""

from __future__ import annotations

import json

import pytest

from gateway.http.config import HttpConfig
from ring.digest import Algorithm, Digest
from ring.errors import Busy, Corrupt, DiskFull, HoldfastError, StorageFault, Unavailable
from ring.limits import CHUNK_BYTES
from tests.fakes.memory_blob_store import MemoryBlobStore
from tests.gateway.http.doors import Door, running_door
from tests.gateway.http.wire import Reply, request

HELLO = b"hello, world"
DIGEST = Digest.of(HELLO)
PATH = f"/v1/blobs/{DIGEST}"


async def ask(door: Door, method: str, target: str, *lines: str, body: bytes = b"") -> Reply:
    wire = await door.wire()
    await wire.send(request(method, target, *lines, body=body))
    return await wire.reply(method)


async def test_a_put_answers_201_then_200_and_both_name_the_blob() -> None:
    async with running_door() as door:
        first = await ask(door, "PUT", PATH, body=HELLO)
        second = await ask(door, "PUT", PATH, body=HELLO)

        assert (first.status, second.status) == (201, 200)
        assert json.loads(first.body) == {
            "digest": str(DIGEST),
            "size": len(HELLO),
            "created": True,
        }
        assert json.loads(second.body)["created"] is False
        assert first.headers["etag"] == f'"{DIGEST}"'
        assert door.store.blobs == {DIGEST: HELLO}


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("size_bytes", [0, 1, 1024, 100_000, CHUNK_BYTES, CHUNK_BYTES + 1])
async def test_what_was_put_comes_back(algorithm: Algorithm, size_bytes: int) -> None:
    data = bytes(range(256)) * (size_bytes // 256 + 1)
    data = data[:size_bytes]
    digest = Digest.of(data, algorithm)
    async with running_door() as door:
        put = await ask(door, "PUT", f"/v1/blobs/{digest}", body=data)
        got = await ask(door, "GET", f"/v1/blobs/{digest}")

    assert put.status == 201
    assert (got.status, got.body) == (200, data)


async def test_a_get_says_what_caches_and_browsers_need() -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, HELLO)

        got = await ask(door, "GET", PATH)

    assert got.headers == {
        "server": "holdfast",
        "date": "Sun, 06 Nov 1994 08:49:37 GMT",
        "content-type": "application/octet-stream",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
        "cache-control": "public, max-age=31536000, immutable",
        "accept-ranges": "bytes",
        "etag": f'"{DIGEST}"',
        "holdfast-generation": "1",
        "content-length": str(len(HELLO)),
    }


async def test_head_says_what_get_says_without_the_body() -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, HELLO)

        got = await ask(door, "GET", PATH)
        head = await ask(door, "HEAD", PATH)

        assert (head.status, head.headers, head.body) == (200, got.headers, b"")
        assert door.store.calls[-1] == "stat"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_answer_that_too_few_nodes_confirmed_says_so(method: str) -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, HELLO)
        door.store.faults.confirmed = False

        reply = await ask(door, method, PATH)

    assert (reply.status, reply.headers["holdfast-quorum"]) == (200, "no")


async def test_a_blob_that_is_not_there_is_404_in_words() -> None:
    async with running_door() as door:
        reply = await ask(door, "GET", PATH)

    assert (reply.status, reply.code) == (404, "not_found")
    assert str(DIGEST) in reply.problem()["detail"]


async def test_a_post_computes_the_digest_and_says_where_the_blob_is() -> None:
    sha = Digest.of(HELLO, Algorithm.SHA256)
    async with running_door() as door:
        native = await ask(door, "POST", "/v1/blobs", body=HELLO)
        named = await ask(door, "POST", "/v1/blobs?algo=sha256", body=HELLO)
        again = await ask(door, "POST", "/v1/blobs?algo=sha256", body=HELLO)

    assert (native.status, native.headers["location"]) == (201, PATH)
    assert (named.status, named.headers["location"]) == (201, f"/v1/blobs/{sha}")
    assert json.loads(named.body) == {"digest": str(sha), "size": len(HELLO), "created": True}
    assert (again.status, json.loads(again.body)["created"]) == (201, False)


async def test_a_post_under_an_unknown_algorithm_stores_nothing() -> None:
    async with running_door() as door:
        reply = await ask(door, "POST", "/v1/blobs?algo=md5", body=HELLO)

        assert (reply.status, reply.code) == (400, "unsupported_algorithm")
        assert not door.store.blobs


async def test_a_body_under_another_digest_is_422_and_names_both() -> None:
    other = Digest.of(b"something else")
    async with running_door() as door:
        reply = await ask(door, "PUT", f"/v1/blobs/{other}", body=HELLO)

        assert (reply.status, reply.code) == (422, "digest_mismatch")
        assert str(other) in reply.problem()["detail"]
        assert str(DIGEST) in reply.problem()["detail"]
        assert not door.store.blobs


async def test_a_delete_is_204_also_when_there_was_nothing() -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, HELLO)

        first = await ask(door, "DELETE", PATH)
        second = await ask(door, "DELETE", PATH)
        got = await ask(door, "GET", PATH)

    assert (first.status, second.status, got.status) == (204, 204, 404)
    assert "content-length" not in first.headers


async def test_what_was_deleted_comes_back_unless_the_trash_was_skipped() -> None:
    undelete = f"/v1/admin/undelete/{DIGEST}"
    async with running_door() as door:
        await ask(door, "PUT", PATH, body=HELLO)
        await ask(door, "DELETE", PATH)
        back, there = await ask(door, "POST", undelete), await ask(door, "POST", undelete)
        got = await ask(door, "GET", PATH)
        deleted = await ask(door, "DELETE", f"{PATH}?now=1")
        gone = await ask(door, "POST", undelete)

    assert (back.status, there.status, got.body) == (201, 200, HELLO)
    assert json.loads(back.body) == {"digest": str(DIGEST), "size": len(HELLO), "created": True}
    assert (deleted.status, gone.status, gone.code) == (204, 404, "not_found")


@pytest.mark.parametrize("query", ["now=2", "now=", "now=true", "now=1&now=1", "later=1"])
async def test_a_delete_with_a_misspelt_parameter_deletes_nothing(query: str) -> None:
    async with running_door() as door:
        await ask(door, "PUT", PATH, body=HELLO)

        assert (await ask(door, "DELETE", f"{PATH}?{query}")).status == 400
        assert (await ask(door, "GET", PATH)).status == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unavailable("two of three nodes are silent"), 503),
        (Corrupt("no good copy"), 503),
        (StorageFault("EIO"), 503),
        (Busy("too much at once"), 503),
        (DiskFull("no room anywhere"), 507),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "POST"])
async def test_an_error_of_the_store_is_its_status_and_its_words(
    method: str, error: HoldfastError, status: int
) -> None:
    async with running_door() as door:
        door.store.faults.error = error
        body = HELLO if method in ("PUT", "POST") else b""

        reply = await ask(door, method, "/v1/blobs" if method == "POST" else PATH, body=body)

    assert reply.status == status
    assert ("retry-after" in reply.headers) == (status == 503)
    if method != "HEAD":
        assert (reply.code, reply.problem()["detail"]) == (error.code, error.detail)


async def test_a_connection_serves_many_requests_in_order() -> None:
    async with running_door() as door:
        wire = await door.wire()
        for number in range(20):
            data = b"%d" % number
            path = f"/v1/blobs/{Digest.of(data)}"
            await wire.send(request("PUT", path, body=data))
            assert (await wire.reply()).status == 201
            await wire.send(request("GET", path))
            assert (await wire.reply()).body == data

        assert door.value("holdfast_http_connections_total") == 1


async def test_pipelined_requests_are_answered_in_order() -> None:
    blobs = [b"%d" % number for number in range(100)]
    async with running_door() as door:
        for data in blobs:
            await door.store.put(Digest.of(data), data)
        wire = await door.wire()
        await wire.send(b"".join(request("GET", f"/v1/blobs/{Digest.of(data)}") for data in blobs))

        assert [(await wire.reply()).body for _ in blobs] == blobs


async def test_an_encoded_colon_and_upper_case_hex_name_the_same_blob() -> None:
    encoded = f"/v1/blobs/blake3%3a{DIGEST.hex}"
    upper = f"/v1/blobs/blake3:{DIGEST.hex.upper()}"
    async with running_door() as door:
        await ask(door, "PUT", encoded, body=HELLO)

        replies = [await ask(door, "GET", path) for path in (PATH, encoded, upper)]

        assert list(door.store.blobs) == [DIGEST]
    assert [reply.body for reply in replies] == [HELLO] * 3
    assert {reply.headers["etag"] for reply in replies} == {f'"{DIGEST}"'}


async def test_the_list_comes_in_pages_in_wire_order() -> None:
    store = MemoryBlobStore()
    stored = [Digest.of(b"%d" % n, algorithm) for n in range(7) for algorithm in Algorithm]
    for digest, data in zip(stored, [b"%d" % n for n in range(7) for _ in Algorithm], strict=True):
        await store.put(digest, data)
    async with running_door(store) as door:
        listed: list[dict[str, object]] = []
        target = "/v1/blobs?limit=4"
        while True:
            page = json.loads((await ask(door, "GET", target)).body)
            listed.extend(page["blobs"])
            if page["next"] is None:
                break
            target = f"/v1/blobs?limit=4&after={page['next']}"

    assert [entry["digest"] for entry in listed] == sorted(map(str, stored))
    assert {entry["size"] for entry in listed} == {1}


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=-1", "limit=x", "limit=", "limit=%2B1", "limit=1.5"),
        *("after=", "after=sha256:ab", "after=nothing", "limit=1&limit=2", "limt=1"),
        "limit=" + "9" * 19,
        "&".join(f"p{number}=1" for number in range(1_000)),
    ],
)
async def test_a_list_with_a_parameter_that_makes_no_sense_is_400(query: str) -> None:
    async with running_door() as door:
        reply = await ask(door, "GET", f"/v1/blobs?{query}")

        assert reply.status == 400
        assert reply.problem()["detail"]
        assert not door.store.calls


@pytest.mark.parametrize("limit", ["1001", "2147483648", "1" + "0" * 17])
async def test_a_limit_beyond_a_page_means_a_page(limit: str) -> None:
    async with running_door() as door:
        reply = await ask(door, "GET", f"/v1/blobs?limit={limit}")

    assert json.loads(reply.body) == {"blobs": [], "next": None}


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("POST", PATH, "DELETE, GET, HEAD, PUT"),
        ("PUT", "/v1/blobs", "GET, HEAD, POST"),
        ("DELETE", "/healthz", "GET, HEAD"),
        ("OPTIONS", PATH, "DELETE, GET, HEAD, PUT"),
        ("TRACE", "/v1/status", "GET, HEAD"),
    ],
)
async def test_a_method_that_a_path_does_not_have_is_405(
    method: str, target: str, allow: str
) -> None:
    async with running_door() as door:
        reply = await ask(door, method, target)

    assert (reply.status, reply.code) == (405, "method_not_allowed")
    assert reply.headers["allow"] == allow


async def test_a_fault_of_our_own_is_500_without_its_insides() -> None:
    async with running_door() as door:
        await door.store.put(DIGEST, HELLO)
        door.store.faults.reading = (0, ZeroDivisionError("secret"))

        reply = await ask(door, "GET", PATH)

        assert (reply.status, reply.code) == (500, "internal")
        assert b"secret" not in reply.body
        assert door.value("holdfast_http_errors_total", code="crash") == 1
        door.store.faults.reading = None
        assert (await ask(door, "GET", PATH)).status == 200


async def test_more_requests_than_the_door_takes_are_503_and_operators_still_get_in() -> None:
    async with running_door(config=HttpConfig(sweep_s=0.02, requests_in_flight_max=0)) as door:
        reply = await ask(door, "GET", PATH)
        health = await ask(door, "GET", "/healthz")

    assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "busy", "2")
    assert health.status == 200
