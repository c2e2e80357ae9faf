"""Health, readiness and metrics of a node, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NoReturn

import pytest
from prometheus_client.parser import text_string_to_metric_families

from node.health import CONNECTIONS_MAX, HEAD_BYTES_MAX, NodeHealth
from ring.address import Address
from ring.control import StatusReply
from ring.errors import BadRequest, StorageFault
from ring.operating import PARTITION_BITMAP_BYTES, CareReply, LedgerCount


class Node:
    """A node whose state a test chooses."""

    def __init__(self) -> None:
        self.state = "voter"
        self.fault: StorageFault | None = None
        self.care: CareReply | None = None

    async def tell_care(self) -> CareReply | None:
        return self.care

    async def status(self) -> StatusReply:
        if self.fault is not None:
            raise self.fault
        return StatusReply(self.state, "says a test", 7, 70, 700, (("quarantined_total", 2),))


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
async def health(node: Node) -> AsyncIterator[NodeHealth]:
    counters = {"holdfast_node_server": {"connections_total": 5}}
    server = NodeHealth(node.status, node.tell_care, counters)
    yield server
    await server.stop()


@pytest.fixture
async def address(health: NodeHealth) -> Address:
    return await health.start(Address("127.0.0.1", 0))


async def _ask(address: Address, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def _get(address: Address, path: str) -> tuple[int, str]:
    answer = await _ask(address, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = answer.decode().partition("\r\n\r\n")
    assert f"Content-Length: {len(body.encode())}" in head
    return int(head.split()[1]), body


async def test_a_voter_is_healthy_and_ready(address: Address) -> None:
    assert await _get(address, "/healthz") == (200, "ok\n")
    assert await _get(address, "/readyz?verbose") == (200, "ready\n")


async def test_a_receiver_is_healthy_but_not_ready(address: Address, node: Node) -> None:
    node.state = "receiver"

    assert await _get(address, "/healthz") == (200, "ok\n")
    assert await _get(address, "/readyz") == (503, "receiver: says a test\n")


async def test_a_node_that_drains_is_not_ready(address: Address, health: NodeHealth) -> None:
    health.drain()

    assert await _get(address, "/readyz") == (503, "the node is stopping\n")


async def test_a_disk_that_fails_is_said_in_words(address: Address, node: Node) -> None:
    node.fault = StorageFault("the disk is gone")

    assert await _get(address, "/readyz") == (503, "the disk is gone\n")
    assert await _get(address, "/metrics") == (503, "the disk is gone\n")


async def test_metrics_are_those_of_the_status_and_of_the_processes_parts(address: Address) -> None:
    status, text = await _get(address, "/metrics")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

    assert status == 200
    assert samples == {
        ("holdfast_node_state", "voter"): 1,
        ("holdfast_node_records",): 7,
        ("holdfast_node_bytes_stored",): 70,
        ("holdfast_node_bytes_free",): 700,
        ("holdfast_node_quarantined_total",): 2,
        ("holdfast_node_server_connections_total",): 5,
    }


async def test_metrics_tell_the_ledger_and_the_background_work(
    address: Address, node: Node
) -> None:
    led = b"\x03" + bytes(PARTITION_BITMAP_BYTES - 1)
    ledger = LedgerCount(led, (0, 1, 2, 40, 0), 3, 5, 0, 900, 1_700_000_000, 70, ())
    node.care = CareReply(ledger, "", (("repair_queue", 8), ("now_s", 1_800_000_000)), ())
    _, text = await _get(address, "/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    by_copies = {
        sample.labels["copies"]: sample.value
        for sample in families["holdfast_node_led_digests"].samples
    }
    assert by_copies == {"0": 0, "1": 1, "2": 2, "3": 40, "more": 0}
    values = {name: family.samples[0].value for name, family in families.items()}
    assert values["holdfast_node_led_partitions"] == 2
    assert values["holdfast_node_led_digests_short"] == 3
    assert values["holdfast_node_led_waiting_bytes"] == 900
    assert values["holdfast_node_repair_queue"] == 8
    assert "holdfast_node_now_s" not in families
    assert families["holdfast_node_quarantined"].documentation.startswith("Copies found bad")


async def test_what_is_not_there_and_what_cannot_be_done_is_refused(address: Address) -> None:
    assert (await _get(address, "/"))[0] == 404
    assert (await _ask(address, b"POST /healthz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405 ")
    assert (await _ask(address, b"\r\n\r\n")).startswith(b"HTTP/1.1 405 ")


async def test_head_has_no_body(address: Address) -> None:
    answer = await _ask(address, b"HEAD /healthz HTTP/1.1\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")
    assert b"Content-Length: 3\r\n" in answer


async def test_a_head_without_end_is_not_waited_for(address: Address) -> None:
    with pytest.raises(ConnectionError):
        assert await _ask(address, b"GET /" + b"x" * (2 * HEAD_BYTES_MAX)) == b""
        raise ConnectionResetError


async def test_connections_are_bounded_and_free_again_when_they_end(address: Address) -> None:
    idle = [
        await asyncio.open_connection(address.host, address.port) for _ in range(CONNECTIONS_MAX)
    ]
    with pytest.raises((ConnectionError, AssertionError)):
        await _get(address, "/healthz")
    for _, writer in idle:
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await _get(address, "/healthz") == (200, "ok\n")
                break
            except (ConnectionError, AssertionError):
                await asyncio.sleep(0.01)


async def test_an_address_that_is_taken_is_refused_in_words(address: Address) -> None:
    async def never() -> NoReturn:
        raise AssertionError

    with pytest.raises(BadRequest, match="cannot listen on 127"):
        await NodeHealth(never, never, {}).start(address)
