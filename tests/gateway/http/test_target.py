"""Targets and hosts: one meaning or 400; no spelling leads out of the API or to another blob."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.host import check_host
from gateway.http.target import parse_target
from ring.digest import Digest
from ring.errors import BadRequest
from tests.gateway.http.doors import running_door
from tests.gateway.http.wire import request

HEX = Digest.of(b"").hex
SHA512 = "ab" * 64

BAD_TARGETS = [
    "/v1/../../etc/passwd",
    "/v1/./blobs",
    "/%2e%2e/v1",
    "/..%2fetc",
    "/v1/..\\..\\x",
    "/v1%5cblobs",
    "/v1%2fblobs",
    "/%c0%ae%c0%ae/x",
    "/%ff",
    "/%",
    "/%4",
    "/%zz",
    "/%00",
    "/v1%0d%0aX: y",
    "/v1/blobs#fragment",
    "/v1/blobs|",
    "/v1/bl\u00f6bs",
    "/\udcff",
    "/v1/blobs?a=#",
    "/v1/blobs?a=%gg",
    "/v1/blobs?limit=%00",
    "/v1/blobs?limit=\u0661",
    "*",
    "v1/blobs",
    "",
    "ftp://localhost/v1/blobs",
    "https://localhost/v1/blobs",
    "http://evil.example/v1/blobs",
    "http:///v1/blobs",
    "http://user@localhost/v1/blobs",
    "/" + "a/" * 20,
    "/?" + "&" * 20,
]


@pytest.mark.parametrize("text", BAD_TARGETS)
def test_a_target_with_two_meanings_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_target(text, "localhost")


@pytest.mark.parametrize(
    ("text", "segments", "parameters"),
    [
        ("/", ("",), ()),
        ("/v1/blobs", ("v1", "blobs"), ()),
        ("/v1/blobs/", ("v1", "blobs", ""), ()),
        ("//v1/blobs", ("", "v1", "blobs"), ()),
        ("/v1/a%3Ab", ("v1", "a:b"), ()),
        ("/%252e%252e", ("%2e%2e",), ()),
        ("/%25ff", ("%ff",), ()),
        ("/a+b?c=d+e&f", ("a+b",), (("c", "d+e"), ("f", ""))),
        ("/a?b=c=d&e=%26", ("a",), (("b", "c=d"), ("e", "&"))),
        ("/a?", ("a",), ()),
        ("/%e2%82%ac", ("€",), ()),
        ("http://localhost/v1/blobs?x=y", ("v1", "blobs"), (("x", "y"),)),
        ("HTTP://LocalHost", ("",), ()),
        ("http://localhost?x", ("",), (("x", ""),)),
    ],
)
def test_a_target_is_decoded_once(
    text: str, segments: tuple[str, ...], parameters: tuple[tuple[str, str], ...]
) -> None:
    target = parse_target(text, "localhost")

    assert (target.segments, target.parameters) == (segments, parameters)


@given(st.text(max_size=80))
def test_every_target_is_understood_or_refused(text: str) -> None:
    try:
        target = parse_target(text, "localhost")
    except BadRequest:
        return
    assert all(".." != segment and "/" not in segment for segment in target.segments)


GOOD_HOSTS = ["localhost", "a.b-c_d~e", "127.0.0.1:7070", "[::1]", "[::1]:80", "x:0", "x:65535"]
BAD_HOSTS = [
    "",
    " ",
    "a b",
    "a,b",
    "user@host",
    "host/path",
    "evil/@x:99999",
    "host:",
    "host:65536",
    "host:99999",
    "host:-1",
    "host:1:2",
    "::1",
    "[::1",
    "[]",
    "h\u00f6st",
    "a" * 256,
    "host\n",
    "host#",
    "host?",
    "%41",
]


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_a_host_that_names_none_is_refused(host: str) -> None:
    with pytest.raises(BadRequest):
        check_host(host)


@given(st.text(max_size=300))
def test_no_host_is_a_crash(text: str) -> None:
    with contextlib.suppress(BadRequest):
        check_host(text)


PATHS = [
    (f"/v1/blobs/blake3:{HEX}", 404, "not_found"),
    (f"/v1/blobs/blake3%3A{HEX}", 404, "not_found"),
    (f"/v1/blobs/blake3:{HEX.upper()}", 404, "not_found"),
    (f"/v1/blobs/blake3:%{ord(HEX[0]):02x}{HEX[1:]}", 404, "not_found"),
    (f"/v1/blobs/sha512:{SHA512}", 404, "not_found"),
    (f"/v1/blobs/blake3:{HEX[:-1]}", 400, "bad_length"),
    (f"/v1/blobs/blake3:{HEX}0", 400, "bad_length"),
    (f"/v1/blobs/sha512:{HEX}", 400, "bad_length"),
    (f"/v1/blobs/blake3:{HEX}%0a", 400, "bad_request"),
    (f"/v1/blobs/blake3:{HEX[:-1]}%00", 400, "bad_request"),
    (f"/v1/blobs/blake3:{HEX[:-1]}g", 400, "bad_hex"),
    (f"/v1/blobs/blake3:{HEX[:-2]}%c3%a9", 400, "bad_hex"),
    ("/v1/blobs/blake3:" + "%d9%a1" * 64, 400, "bad_length"),
    (f"/v1/blobs/{HEX}", 400, "missing_separator"),
    (f"/v1/blobs/:{HEX}", 400, "unsupported_algorithm"),
    (f"/v1/blobs/md5:{HEX}", 400, "unsupported_algorithm"),
    (f"/v1/blobs/BLAKE3:{HEX}", 400, "unsupported_algorithm"),
    (f"/v1/blobs/%20blake3:{HEX}", 400, "unsupported_algorithm"),
    (f"/v1/blobs/sha256+b64:{HEX}", 400, "unsupported_algorithm"),
    ("/v1/blobs/..%2f..%2fetc:x", 400, "bad_request"),
    ("/v1/blobs/%252e%252e", 400, "missing_separator"),
    ("/v1/blobs/%25ff", 400, "missing_separator"),
    ("/v1/blobs/%ff", 400, "bad_request"),
    (f"/v1/blobs/blake3:{HEX}?", 404, "not_found"),
    (f"/v1/blobs/blake3:{HEX}?x=1", 400, "bad_request"),
    (f"/v1/blobs/blake3:{HEX}#f", 400, "bad_request"),
    (f"/v1/blobs/blake3:{HEX}/", 404, "no_such_route"),
    (f"/v1/blobs//blake3:{HEX}", 404, "no_such_route"),
    (f"//v1/blobs/blake3:{HEX}", 404, "no_such_route"),
    (f"/V1/blobs/blake3:{HEX}", 404, "no_such_route"),
    ("/v1/blobs/", 404, "no_such_route"),
    ("/", 404, "no_such_route"),
    ("/favicon.ico", 404, "no_such_route"),
    ("/v1/admin/where/", 404, "no_such_route"),
    ("/v1/admin/where/blake3", 400, "missing_separator"),
    ("/v1/blobs:missing", 404, "no_such_route"),
    (f"http://localhost/v1/blobs/blake3:{HEX}", 404, "not_found"),
    (f"http://LOCALHOST/v1/blobs/blake3:{HEX}", 404, "not_found"),
    (f"http://elsewhere/v1/blobs/blake3:{HEX}", 400, "bad_request"),
]


@pytest.mark.parametrize(("target", "status", "code"), PATHS)
async def test_a_path_is_what_it_says_or_an_error_in_words(
    target: str, status: int, code: str
) -> None:
    async with running_door() as door:
        wire = await door.wire()
        await wire.send(request("GET", target))
        reply = await wire.reply()

    assert (reply.status, reply.code) == (status, code)
    assert reply.problem()["detail"]


async def test_text_from_a_path_reaches_no_header() -> None:
    async with running_door() as door:
        wire = await door.wire()
        await wire.send(request("GET", "/v1/blobs/a%0d%0aX-Evil:%201"))
        reply = await wire.reply()

    assert reply.status == 400
    assert not any("evil" in name for name in reply.headers)


async def test_a_target_that_names_its_host_is_compared_with_every_host() -> None:
    async with running_door() as door:
        wire = await door.wire()
        for host, status in (("one", 200), ("other", 400), ("one", 200)):
            await wire.send(request("GET", "http://one/healthz", host=host))
            assert (await wire.reply()).status == status


VARIED = {
    "targets": lambda number: request("GET", f"/v1/blobs?limit={number}"),
    "hosts": lambda number: request("GET", "/healthz", host=f"{number}.{'x' * 200}"),
}


@pytest.mark.parametrize("varied", VARIED.values(), ids=VARIED.keys())
async def test_what_is_remembered_of_requests_has_a_bound(varied: Callable[[int], bytes]) -> None:
    async with running_door() as door:
        wire = await door.wire()

        async def ask(numbers: range) -> None:
            for number in numbers:
                await wire.send(varied(number))
                assert (await wire.reply()).status == 200

        tracemalloc.start()
        try:
            await ask(range(1_000, 1_600))
            before_bytes, _ = tracemalloc.get_traced_memory()
            await ask(range(1_600, 2_700))
            after_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert after_bytes - before_bytes < 200_000
