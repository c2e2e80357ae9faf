"""When a client tries again: the decisions, without a clock."""

from __future__ import annotations

import pytest

from holdfast.problem import PROBLEM_TYPE, read_problem
from holdfast.retry import Attempts, GatewayRefused, RetryPolicy
from ring.errors import (
    Busy,
    DiskFull,
    HoldfastError,
    NotFound,
    PeerProtocol,
    RangeNotSatisfiable,
    Unavailable,
    Unreachable,
)

POLICY = RetryPolicy(deadline_s=30.0, wait_first_s=1.0, wait_max_s=4.0, refused_max=2)


class Dice:
    """Randomness that always draws the same octet."""

    def __init__(self, octet: int) -> None:
        self.octet = octet

    def octets(self, count: int) -> bytes:
        return bytes([self.octet]) * count


def _waits(attempts: Attempts, error: HoldfastError, times: int) -> list[float | None]:
    return [attempts.wait_s(error, 0.0) for _ in range(times)]


def test_waits_double_up_to_a_bound() -> None:
    waits = _waits(Attempts(POLICY, Dice(0), 0.0), Busy("busy"), 5)

    assert waits == [0.5, 1.0, 2.0, 2.0, 2.0]


def test_waits_are_spread_between_half_and_all_of_the_ceiling() -> None:
    low = Attempts(POLICY, Dice(0), 0.0).wait_s(Busy("busy"), 0.0)
    high = Attempts(POLICY, Dice(255), 0.0).wait_s(Busy("busy"), 0.0)

    assert low == 0.5
    assert high is not None
    assert 0.99 < high < 1.0


def test_the_gateway_may_ask_for_more_patience() -> None:
    assert Attempts(POLICY, Dice(0), 0.0).wait_s(Busy("busy", retry_after_s=9), 0.0) == 9.0


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    attempts = Attempts(POLICY, Dice(0), 100.0)

    assert attempts.wait_s(Busy("busy"), 129.5) == 0.5
    assert attempts.wait_s(Busy("busy"), 129.5) is None


def test_progress_starts_the_patience_anew() -> None:
    attempts = Attempts(POLICY, Dice(0), 0.0)
    _waits(attempts, Busy("busy"), 3)

    attempts.progressed(50.0)

    assert attempts.wait_s(Busy("busy"), 79.0) == 0.5


@pytest.mark.parametrize(
    "error", [NotFound("no"), DiskFull("full"), PeerProtocol("what"), RangeNotSatisfiable("no")]
)
def test_what_no_attempt_can_change_is_final(error: HoldfastError) -> None:
    assert Attempts(POLICY, Dice(0), 0.0).wait_s(error, 0.0) is None


def test_an_address_where_nobody_listens_is_given_up_soon() -> None:
    refused = Unreachable("nobody")
    refused.__cause__ = GatewayRefused("refused")
    attempts = Attempts(POLICY, Dice(0), 0.0)

    assert _waits(attempts, refused, 2) == [0.5, None]


def test_a_problem_keeps_its_facts() -> None:
    error = read_problem(
        416,
        {"Content-Type": f"{PROBLEM_TYPE}; charset=utf-8", "Retry-After": "7"},
        b'{"code": "range_not_satisfiable", "detail": "beyond", "size_bytes": 5, "title": "x"}',
    )

    assert type(error) is RangeNotSatisfiable
    assert (error.detail, error.facts) == ("beyond", {"size_bytes": 5, "retry_after_s": 7})


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"code": 7}', b'{"code": ""}', b"\xff"])
def test_a_problem_without_a_code_is_known_by_its_status(body: bytes) -> None:
    headers = {"Content-Type": PROBLEM_TYPE}

    assert type(read_problem(404, headers, body)) is NotFound
    assert type(read_problem(503, headers, body)) is Unavailable
    assert type(read_problem(418, headers, body)) is PeerProtocol


def test_a_retry_after_that_is_a_date_is_ignored() -> None:
    error = read_problem(503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, b"")

    assert error.facts == {}
