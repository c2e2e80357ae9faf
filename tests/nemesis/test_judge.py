"""The judge of a troubled cluster finds what must not be, and nothing else."""

from __future__ import annotations

import pytest

from tests.nemesis.judge import NO_ANSWER, Heard, Judge, Op

BLOB = "sha256:00"


def judged(*said: tuple[Op, int], last: Heard | None = None, op: Op = Op.GET) -> list[str]:
    """The violations after these answers, and another one."""
    judge = Judge()
    for what, status in said:
        judge.heard(BLOB, what, Heard(status))
    if last is not None:
        judge.heard(BLOB, op, last)
    return [violation.words for violation in judge.violations]


@pytest.mark.parametrize(
    "said",
    [
        [(Op.GET, 404), (Op.PUT, 201), (Op.GET, 200), (Op.DELETE, 204), (Op.HEAD, 404)],
        [(Op.PUT, 201), (Op.GET, 503), (Op.GET, NO_ANSWER), (Op.GET, 200), (Op.PUT, 200)],
        [(Op.PUT, 503), (Op.GET, 200), (Op.GET, 404), (Op.PUT, 201), (Op.GET, 200)],
        [(Op.PUT, 201), (Op.DELETE, NO_ANSWER), (Op.GET, 200), (Op.GET, 404), (Op.DELETE, 204)],
        [(Op.DELETE, 204), (Op.DELETE, 503), (Op.GET, 404)],
    ],
)
def test_what_may_be_heard(said: list[tuple[Op, int]]) -> None:
    assert judged(*said) == []


def test_a_blob_that_was_acknowledged_is_there() -> None:
    lost = ["an acknowledged blob is not there"]
    assert judged((Op.PUT, 201), last=Heard(404)) == lost
    assert judged((Op.PUT, 201), last=Heard(404), op=Op.HEAD) == lost
    assert judged((Op.PUT, 201), (Op.PUT, NO_ANSWER), last=Heard(404)) == lost
    assert judged((Op.PUT, NO_ANSWER), (Op.PUT, 200), last=Heard(404)) == lost


def test_a_blob_that_was_deleted_is_not_there() -> None:
    back = ["a deleted blob is there again"]
    assert judged((Op.PUT, 201), (Op.DELETE, 204), last=Heard(200)) == back
    assert judged(last=Heard(200)) == back
    assert judged((Op.DELETE, 204), (Op.DELETE, 503), last=Heard(200)) == back


def test_an_answer_that_is_not_confirmed_may_bring_a_deleted_blob_back() -> None:
    assert judged((Op.DELETE, 204), last=Heard(200, is_confirmed=False)) == []


def test_other_bytes_are_wrong_whatever_is_known() -> None:
    wrong = Heard(200, is_right=False)
    assert judged((Op.PUT, NO_ANSWER), last=wrong) == ["other bytes than were put"]


@pytest.mark.parametrize(("op", "status"), [(Op.GET, 500), (Op.PUT, 404), (Op.DELETE, 404)])
def test_a_status_that_is_neither_answer_nor_refusal_is_wrong(op: Op, status: int) -> None:
    assert judged(last=Heard(status), op=op) == [f"{op.value} was answered {status}"]


def test_a_write_that_was_not_answered_is_repeated_before_the_next() -> None:
    judge = Judge()
    judge.heard(BLOB, Op.PUT, Heard(NO_ANSWER))
    assert [judge.allowed(BLOB, op) for op in Op] == [Op.PUT, Op.GET, Op.HEAD, Op.PUT]
    judge.heard(BLOB, Op.PUT, Heard(201))
    assert judge.allowed(BLOB, Op.DELETE) is Op.DELETE


def test_at_the_end_a_refusal_is_wrong_too() -> None:
    judge = Judge()
    judge.at_the_end(BLOB, Heard(404))
    assert judge.violations == []
    judge.at_the_end(BLOB, Heard(503))
    assert [one.words for one in judge.violations] == ["a well cluster answered 503"]


def test_a_violation_shows_what_was_heard_before() -> None:
    judge = Judge()
    for number in range(100):
        judge.heard(BLOB, Op.PUT, Heard(201), f"at {number} s")
    judge.heard(BLOB, Op.GET, Heard(404), "at 100 s")
    (violation,) = judge.violations
    assert violation.latest[-2:] == ("at 99 s put: 201", "at 100 s get: 404")
    assert len(violation.latest) < 20
