"""Bounds and deadlines of one HTTP door, with the reason for each number.

Values of one process: two gateways may differ.  What processes must agree on is in ring/limits.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from ring.limits import BLOB_BYTES_MAX, CHUNK_BYTES, KIB, MIB


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """Defaults are for a public listener; a test makes the times small.

    blob_bytes_max: larger uploads are refused with 413.
    connections_max: further connections get 503 and are closed.
    requests_in_flight_max: further requests for blobs get 503; those of operators do not count.
    body_bytes_in_flight_max: memory for bodies that are being received; a body of at most
        CHUNK_BYTES counts whole, a larger one or one of unknown size counts CHUNK_BYTES.
    target_bytes_max, field_bytes_max, fields_max, head_bytes_max: the request line, one header
        line, their number, and all of them together.
    first_request_s: from the connection to a complete request head; also from the first byte of a
        later head to its end.
    idle_s: between two requests.
    body_grace_s, rate_min: over every such span of waiting for a body, so many bytes a second.
    answer_grace_s, rate_min: the same for a client that takes its answer.
    store_s: the longest silence of the store, which has deadlines of its own: a last resort.
    linger_s, linger_bytes_max: how long and how much is read and thrown away after an answer that
        ends a connection, so that the client sees the answer and not a reset (RFC 9112 9.6).
    sweep_s: how often all these are looked at; a deadline is late by at most that.
    retry_after_s: what a 503 suggests.
    fault_lines_max: lines of log per sweep about requests that were refused; the rest is counted.
    """

    blob_bytes_max: int = BLOB_BYTES_MAX
    connections_max: int = 8_192
    requests_in_flight_max: int = 1_024
    body_bytes_in_flight_max: int = 512 * MIB
    target_bytes_max: int = 8_190
    field_bytes_max: int = 8_190
    fields_max: int = 100
    head_bytes_max: int = 64 * KIB
    first_request_s: float = 10.0
    idle_s: float = 75.0
    body_grace_s: float = 10.0
    rate_min: int = 1 * KIB
    answer_grace_s: float = 60.0
    store_s: float = 300.0
    linger_s: float = 2.0
    linger_bytes_max: int = 16 * MIB
    sweep_s: float = 1.0
    retry_after_s: int = 2
    fault_lines_max: int = 50

    def __post_init__(self) -> None:
        assert 0 < self.blob_bytes_max <= BLOB_BYTES_MAX
        assert self.body_bytes_in_flight_max >= CHUNK_BYTES
        assert self.target_bytes_max <= self.head_bytes_max
