"""Which copies that cannot be read may be given up."""

from __future__ import annotations

from node.scrub.unreadable import SUSPECTS_MAX, Unreadable
from ring.digest import Digest
from ring.record import RecordKey


def key(number: int = 0) -> RecordKey:
    return RecordKey(Digest.of(b"%d" % number))


def made() -> Unreadable:
    return Unreadable(retry_s=30.0, tries=3, give_up_s=60.0)


def test_a_copy_is_hopeless_after_enough_tries_over_enough_time() -> None:
    unreadable = made()
    assert unreadable.failed(key(), 0.0, "EIO")
    for now_s in (1.0, 2.0, 3.0):
        assert not unreadable.failed(key(), now_s, "EIO")
    assert not unreadable.is_hopeless(key(), 59.0)
    assert unreadable.is_hopeless(key(), 60.0)


def test_a_long_time_alone_is_not_enough() -> None:
    unreadable = made()
    unreadable.failed(key(), 0.0, "EIO")
    unreadable.failed(key(), 1.0, "EIO")
    assert not unreadable.is_hopeless(key(), 1e6)


def test_it_is_tried_again_after_a_while() -> None:
    unreadable = made()
    unreadable.failed(key(), 100.0, "EIO")
    assert not unreadable.due(129.0)
    (suspect,) = unreadable.due(130.0)
    assert (suspect.key, suspect.words) == (key(), "EIO")
    unreadable.failed(key(), 130.0, "EIO again")
    assert not unreadable.due(159.0)
    assert [suspect.words for suspect in unreadable.suspects] == ["EIO again"]


def test_what_can_be_read_after_all_is_forgotten() -> None:
    unreadable = made()
    unreadable.failed(key(), 0.0, "EIO")
    unreadable.forget(key())
    assert not unreadable.suspects
    assert key() not in unreadable
    assert not unreadable.is_hopeless(key(), 1e6)


def test_when_very_many_cannot_be_read_none_is_given_up() -> None:
    unreadable = made()
    for number in range(SUSPECTS_MAX + 1):
        for now_s in (0.0, 30.0, 60.0):
            unreadable.failed(key(number), now_s, "EIO")
    assert len(unreadable) == SUSPECTS_MAX
    assert unreadable.overflow
    assert not unreadable.is_hopeless(key(0), 1e6)
    for number in range(SUSPECTS_MAX):
        unreadable.forget(key(number))
    assert not unreadable.overflow
