"""The arithmetic and the report of `python -m bench.trouble` are right.  No test here times."""

from __future__ import annotations

import pytest

from bench.trouble.experiment import Phase, Result, phase
from bench.trouble.faults import FAULTS
from bench.trouble.load import Done
from bench.trouble.network import Network
from bench.trouble.table import as_text, factor, is_kept


def done(elapsed_s: float, *, good: bool = True, status: int = 200) -> Done:
    return Done("get", 0.0, elapsed_s, status, good)


def of(p99_s: float, *, requests: int = 10_000, bad: int = 0) -> Phase:
    return Phase(requests, requests - bad, p99_s / 2, p99_s, 2 * p99_s, {"get 503": bad})


def result(before: Phase, first: Phase, during: Phase, *, refused: int = 0) -> Result:
    return Result(FAULTS[1], before, first, during, of(0.01), 0.5, None, refused)


def test_a_phase_has_shares_quantiles_and_every_kind_of_failure() -> None:
    summed = phase([*(done(0.001 * n) for n in range(99)), done(5, good=False, status=0)])
    assert (summed.requests, summed.good, summed.success) == (100, 99, 0.99)
    assert (summed.p50_s, summed.p99_s, summed.worst_s) == (0.05, 5, 5)
    assert summed.failures == {"get 0": 1}


def test_a_phase_without_requests_has_no_failures() -> None:
    assert phase([]).success == 1.0


@pytest.mark.parametrize(
    ("first", "during", "refused", "kept"),
    [
        (of(9.0), of(0.03), 0, True),
        (of(0.01), of(0.031), 0, False),
        (of(0.01, bad=20), of(0.01), 0, True),
        (of(0.01, bad=21), of(0.01), 0, False),
        (of(0.01), of(0.01), 1, False),
    ],
)
def test_the_promise_is_judged_by_all_successes_and_by_times_after_five_seconds(
    first: Phase, during: Phase, refused: int, kept: bool
) -> None:
    assert is_kept(result(of(0.01), first, during, refused=refused)) is kept


@pytest.mark.parametrize(
    ("during", "after", "kept"),
    [
        ({"put 503": 9_000}, {"put 503": 100, "get 0": 3}, True),
        ({"put 503": 9_000, "get 0": 1}, {}, False),
        ({"put 503": 9_000}, {"put 503": 1_001}, False),
        ({"get 404": 1}, {}, False),
        ({"get 200": 1}, {}, False),
    ],
)
def test_an_overload_may_refuse_but_says_so_and_leaves_nothing_behind(
    during: dict[str, int], after: dict[str, int], *, kept: bool
) -> None:
    def failing(failures: dict[str, int]) -> Phase:
        return Phase(10_000, 10_000 - sum(failures.values()), 0.1, 0.2, 0.3, failures)

    (flood,) = [fault for fault in FAULTS if fault.is_overload]
    calm = failing({})
    measured = Result(flood, calm, failing(during), calm, failing(after), None, None, 7)
    assert is_kept(measured) is kept


def test_the_table_says_what_failed_and_when() -> None:
    text = as_text([result(of(0.01), of(0.02, bad=7), of(0.04), refused=3)], "title")
    assert factor(result(of(0.01), of(0.01), of(0.04))) == 4
    assert "BROKEN" in text
    assert "frozen, first: 7 x get 503" in text
    assert "frozen: 3 requests were not sent" in text


def test_names_of_two_runs_have_nothing_in_common() -> None:
    one, two = Network(5, 1), Network(5, 2)
    names = [{made.hub, *(made.namespace(n) for n in range(1, 6))} for made in (one, two)]
    assert not names[0] & names[1]
    assert [len(each) for each in names] == [6, 6]
