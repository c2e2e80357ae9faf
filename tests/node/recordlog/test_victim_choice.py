"""Which segments are freed: as few bytes as possible, and none again and again for nothing."""

from __future__ import annotations

import pytest

from node.recordlog.victim_choice import Candidate, VictimChoice

USED = 1000


def candidate(
    number: int, live_bytes: int, *, row_bytes: int = 0, is_covered: bool = True
) -> Candidate:
    return Candidate(number, USED, live_bytes, row_bytes, is_covered)


def chosen(
    choice: VictimChoice,
    *candidates: Candidate,
    applied_bytes: int = 0,
    checkpoint_bytes: int = 100,
    is_pressed: bool = False,
) -> list[int]:
    found = choice.victims(
        candidates, applied_bytes, checkpoint_bytes=checkpoint_bytes, is_pressed=is_pressed
    )
    return [one.number for one in found]


def new_choice() -> VictimChoice:
    return VictimChoice(share_min=0.7, share_max=0.8, bulk_won_min_bytes=200)


def test_the_emptiest_come_first_when_too_much_of_the_store_is_dead() -> None:
    found = chosen(new_choice(), candidate(1, 700), candidate(2, 300), candidate(3, 900))
    assert found == [2, 1]


def test_nothing_is_freed_while_enough_of_the_store_counts_but_what_is_empty() -> None:
    full = [candidate(number, 1000) for number in range(10, 20)]
    assert chosen(new_choice(), candidate(1, 400), candidate(2, 20), *full) == [2]


def test_rows_count_as_what_they_cost() -> None:
    choice = new_choice()
    assert chosen(choice, candidate(1, 650, row_bytes=100)) == []
    assert chosen(choice, candidate(1, 650, row_bytes=20)) == [1]
    choice.learned(candidate(1, 0), 500, USED)
    assert chosen(choice, candidate(1, 100), candidate(2, 650)) == [1, 2]
    assert chosen(choice, candidate(1, 400), candidate(2, 650)) == []


def test_one_that_was_tried_rests_until_much_was_written_or_died() -> None:
    choice, one = new_choice(), candidate(1, 500)
    choice.tried(one, 0)
    assert chosen(choice, one, applied_bytes=USED - 1) == []
    assert chosen(choice, one, applied_bytes=USED) == [1]
    assert chosen(choice, candidate(1, 449), applied_bytes=1) == [1]


@pytest.mark.parametrize(("tries", "factor"), [(1, 1), (2, 2), (3, 4), (9, 16)])
def test_it_rests_longer_each_time(tries: int, factor: int) -> None:
    choice, one = new_choice(), candidate(1, 500)
    for _ in range(tries):
        choice.tried(one, 0)
    assert chosen(choice, one, applied_bytes=factor * USED - 1) == []
    assert chosen(choice, one, applied_bytes=factor * USED) == [1]


def test_those_without_a_checkpoint_wait_until_they_are_worth_one_together() -> None:
    choice = new_choice()
    covered = candidate(1, 600)
    fresh = [candidate(number, 600, is_covered=False) for number in (2, 3)]
    assert chosen(choice, covered, *fresh, checkpoint_bytes=201) == [1]
    assert chosen(choice, covered, *fresh, checkpoint_bytes=200) == [1, 2, 3]
    full = [candidate(number, 1000) for number in range(10, 20)]
    assert chosen(choice, *fresh, *full, checkpoint_bytes=0) == []


def test_on_a_full_disk_all_that_can_be_won_is() -> None:
    choice = new_choice()
    fresh = candidate(2, 850, is_covered=False)
    assert chosen(choice, candidate(1, 950), fresh) == []
    assert chosen(choice, candidate(1, 950), fresh, is_pressed=True) == [2]
    assert choice.share_max(is_pressed=False) < choice.share_max(is_pressed=True)


def test_what_is_gone_is_forgotten() -> None:
    choice, one = new_choice(), candidate(1, 500)
    choice.tried(one, 0)
    choice.learned(one, 900, USED)
    assert chosen(choice, candidate(2, 500)) == [2]
    assert chosen(choice, one) == [1]


def test_what_fills_batches_up_is_not_dead() -> None:
    choice, one = new_choice(), candidate(1, 400)
    assert chosen(choice, one) == [1]
    choice.learned(candidate(2, 0), 0, USED // 2)
    assert chosen(choice, one) == []
    assert chosen(choice, candidate(1, 340)) == [1]


def test_on_a_full_disk_large_values_are_not_moved_for_the_blocks_around_them() -> None:
    def bulk(number: int, live_bytes: int) -> Candidate:
        return Candidate(number, USED, live_bytes, 0, is_covered=True, is_log=False)

    found = chosen(new_choice(), bulk(1, 801), bulk(2, 800), bulk(3, 0), is_pressed=True)
    assert found == [3, 2]
