"""What operators ask for and what the log says: health, metrics, status, faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.http.fault_log import FaultLog
from ring.digest import Digest
from ring.errors import Unavailable
from tests.gateway.http.doors import PATIENT, Door, running_door
from tests.gateway.http.wire import Reply, request

DATA = b"operators"
DIGEST = Digest.of(DATA)
PATH = f"/v1/blobs/{DIGEST}"
Logged = list[MutableMapping[str, Any]]


async def ask(door: Door, method: str, target: str, body: bytes = b"") -> Reply:
    wire = await door.wire()
    await wire.send(request(method, target, body=body))
    return await wire.reply(method)


async def test_a_process_that_answers_is_healthy_even_when_it_is_not_ready() -> None:
    async with running_door() as door:
        door.views.reason = "no layout has been fetched yet"
        health = await ask(door, "GET", "/healthz")
        ready = await ask(door, "GET", "/readyz")

        assert (health.status, health.body) == (200, b"ok\n")
        assert (ready.status, ready.code) == (503, "unavailable")
        assert ready.problem()["detail"] == "no layout has been fetched yet"
        assert "retry-after" in ready.headers

        door.views.reason = None
        assert (await ask(door, "GET", "/readyz")).status == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/v1/status", "/v1/blobs"])
async def test_head_is_answered_wherever_get_is(path: str) -> None:
    async with running_door() as door:
        head, got = await ask(door, "HEAD", path), await ask(door, "GET", path)

    assert (head.status, head.body) == (200, b"")
    assert head.headers.keys() == got.headers.keys()


async def test_status_and_where_are_json() -> None:
    async with running_door() as door:
        status = await ask(door, "GET", "/v1/status")
        where = await ask(door, "GET", f"/v1/admin/where/blake3%3A{DIGEST.hex}")

        assert json.loads(status.body) == {"nodes": [{"node": "n1", "up": True}]}
        assert json.loads(where.body) == {"digest": str(DIGEST), "copies": ["n1"]}
        assert door.views.asked == [DIGEST]
        dry, begun = await ask(door, "GET", "/v1/admin/gc"), await ask(door, "POST", "/v1/admin/gc")
        assert json.loads(dry.body) == {"nodes": [], "begun": False}
        assert json.loads(begun.body) == {"nodes": [], "begun": True}
        door.views.is_away = True
        assert (await ask(door, "GET", f"/v1/admin/where/{DIGEST}")).code == "unavailable"


async def test_why_repair_and_scrub_are_json_and_only_a_post_begins_something() -> None:
    async with running_door() as door:
        why = await ask(door, "GET", f"/v1/admin/why/{DIGEST}")
        assert json.loads(why.body) == {"digest": str(DIGEST), "words": ["nobody knows"]}
        assert door.views.asked == [DIGEST]
        for path, order in (("repair", "REPAIR"), ("scrub", "SCRUB")):
            seen = await ask(door, "GET", f"/v1/admin/{path}")
            begun = await ask(door, "POST", f"/v1/admin/{path}")
            assert json.loads(seen.body) == {"begun": None}
            assert json.loads(begun.body) == {"begun": order}
            assert (await ask(door, "PUT", f"/v1/admin/{path}")).status == 405


async def test_metrics_count_requests_bytes_and_errors() -> None:
    async with running_door() as door:
        await ask(door, "PUT", PATH, DATA)
        for _ in range(3):
            await ask(door, "GET", PATH)
        await ask(door, "GET", "/v1/blobs/nonsense")
        await ask(door, "GET", "/nothing")
        text = (await ask(door, "GET", "/metrics")).body.decode()

    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["process_resident_memory_bytes"].samples[0].value > 0
    requests = {
        (sample.labels["route"], sample.labels["method"], sample.labels["status"]): sample.value
        for sample in families["holdfast_http_requests"].samples
    }
    assert requests == {
        ("blob", "PUT", "201"): 1,
        ("blob", "GET", "200"): 3,
        ("unknown", "GET", "400"): 1,
        ("unknown", "GET", "404"): 1,
    }
    received = {
        sample.labels["method"]: sample.value
        for sample in families["holdfast_http_request_bytes"].samples
    }
    assert received == {"PUT": len(DATA), "GET": 0}
    errors = {
        sample.labels["code"]: sample.value for sample in families["holdfast_http_errors"].samples
    }
    assert errors == {"missing_separator": 1, "no_such_route": 1}
    seconds = families["holdfast_http_request_seconds"].samples
    counts = [sample.value for sample in seconds if sample.labels.get("le") == "+Inf"]
    assert sorted(counts) == [1, 1, 1, 3]


async def test_an_error_has_one_line_of_log_and_the_client_has_its_name(logged: Logged) -> None:
    async with running_door() as door:
        door.store.faults.error = Unavailable("two of three nodes are silent")
        reply = await ask(door, "GET", PATH)

    assert [line["event"] for line in logged] == ["request refused"]
    (line,) = logged
    assert line["log_level"] == "warning"
    assert line["request"] == reply.problem()["request"]
    assert (line["code"], line["status"]) == ("unavailable", 503)
    assert (line["method"], line["route"]) == ("GET", "blob")
    assert line["detail"] == "two of three nodes are silent"


async def test_what_is_no_fault_is_not_logged(logged: Logged) -> None:
    async with running_door() as door:
        await ask(door, "PUT", PATH, DATA)
        await ask(door, "GET", PATH)
        await ask(door, "DELETE", PATH)
        await ask(door, "GET", PATH)
        door.views.reason = "starting"
        await ask(door, "GET", "/readyz")

    assert not logged


async def test_clients_cannot_flood_the_log(logged: Logged) -> None:
    async with running_door(config=replace(PATIENT, fault_lines_max=5, sweep_s=3600)) as door:
        for _ in range(50):
            await ask(door, "GET", "/nothing")
        assert len(logged) == 5


async def test_after_a_flood_the_log_goes_on(logged: Logged) -> None:
    async def ask_until(event: str) -> None:
        async with asyncio.timeout(10):
            while event not in [line["event"] for line in logged]:
                for _ in range(16):
                    await ask(door, "GET", "/nothing")

    async with running_door(config=replace(PATIENT, fault_lines_max=2)) as door:
        await ask_until("refused requests not logged")
        logged.clear()
        await ask_until("request refused")


def test_what_was_not_logged_is_counted_in_one_line_per_sweep(logged: Logged) -> None:
    faults = FaultLog(lines_max=2)
    for _ in range(7):
        faults.noticed("a client stopped reading")
    faults.sweep()
    faults.sweep()
    faults.noticed("a client stopped reading")

    events = [line["event"] for line in logged]
    assert events == [
        *["a client stopped reading"] * 2,
        "refused requests not logged",
        "a client stopped reading",
    ]
    assert logged[2]["count"] == 5


async def test_what_a_client_sends_reaches_the_log_only_escaped(logged: Logged) -> None:
    async with running_door() as door:
        wire = await door.wire()
        await wire.send(b"GET /v1/blobs/md5\x1b[31m:\x07 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await wire.reply()
        await ask(door, "GET", "/v1/blobs/%1b%5B31m:ab")

    assert len(logged) == 2
    assert all(str(value).isprintable() for line in logged for value in line.values())
