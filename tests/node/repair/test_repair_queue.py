"""The queue of repair: order, bounds, waits that grow."""

from __future__ import annotations

from node.repair.repair_queue import RepairQueue
from ring.digest import Digest
from ring.life import NodeId
from ring.record import RecordKey

ONE, TWO, THREE = (RecordKey(Digest.of(b"%d" % number)) for number in range(3))
A, B = NodeId("a"), NodeId("b")


def queue(limit: int = 10) -> RepairQueue:
    """An empty one."""
    return RepairQueue(limit, retry_s=2.0, retry_max_s=10.0)


def test_records_come_in_the_order_in_which_they_are_due() -> None:
    waiting = queue()
    waiting.add(ONE, "a", 3.0)
    waiting.add(TWO, "a", 1.0)
    waiting.add(THREE, "a", 9.0)
    assert waiting.next_due_s() == 1.0
    assert [task.key for task in waiting.take(5.0, 10)] == [TWO, ONE]
    assert waiting.take(5.0, 10) == []
    assert len(waiting) == 1


def test_being_told_again_brings_a_record_forward_and_never_back() -> None:
    waiting = queue()
    waiting.add(ONE, "first", 5.0, A)
    waiting.add(ONE, "second", 9.0, B)
    waiting.add(ONE, "third", 2.0, A)
    (task,) = waiting.take(2.0, 10)
    assert (task.reason, task.askable, task.due_s) == ("first", (A, B), 2.0)
    assert waiting.next_due_s() is None
    assert dict(waiting.by_reason) == {"first": 1}


def test_what_finds_no_room_is_counted() -> None:
    waiting = queue(limit=2)
    assert [waiting.add(key, "a", 0.0) for key in (ONE, TWO, THREE, ONE)] == [
        True, True, False, True
    ]
    assert (len(waiting), waiting.overflow_total) == (2, 1)


def test_waits_double_up_to_the_longest() -> None:
    waiting = queue()
    waiting.add(ONE, "a", 0.0)
    now_s, waits = 0.0, []
    for _ in range(5):
        (task,) = waiting.take(now_s, 1)
        waiting.again(task, now_s)
        due_s = waiting.next_due_s()
        assert due_s is not None
        waits.append(due_s - now_s)
        now_s = due_s
    assert waits == [2.0, 4.0, 8.0, 10.0, 10.0]


def test_after_ever_so_many_tries_it_still_comes_back() -> None:
    waiting = queue()
    waiting.add(ONE, "a", 0.0)
    (task,) = waiting.take(0.0, 1)
    task.attempts = 100_000
    waiting.again(task, 0.0)
    assert waiting.next_due_s() == 10.0


def test_telling_of_what_just_failed_does_not_make_it_fail_faster() -> None:
    waiting = queue()
    waiting.add(ONE, "a", 0.0)
    (task,) = waiting.take(0.0, 1)
    task.attempts = 3
    waiting.again(task, 100.0)
    waiting.add(ONE, "hint", 100.0)
    assert waiting.next_due_s() == 102.0


def test_what_was_told_during_a_try_is_not_forgotten() -> None:
    waiting = queue()
    waiting.add(ONE, "a", 0.0, A)
    (task,) = waiting.take(0.0, 1)
    waiting.add(ONE, "hint", 1.0, B)
    task.attempts = 3
    waiting.again(task, 100.0)
    (again,) = waiting.take(200.0, 10)
    assert (again.askable, again.due_s) == ((A, B), 102.0)
    assert len(waiting) == 0
