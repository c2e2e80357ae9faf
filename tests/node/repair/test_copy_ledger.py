"""The count of digests by copies, against a count of everything by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.repair.copy_ledger import Difference, LedPartition, bitmap, count_copies
from ring.digest import Digest
from ring.life import NodeId
from ring.limits import PARTITIONS
from ring.operating import COPIES_TOLD
from ring.record import ABSENT, RecordKey, RecordKind, RecordState, live

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
SIZE = 100
HELD = RecordState(RecordKind.DATA, SIZE, live(1), held=True, verified_at_s=50)
LACKING = RecordState(RecordKind.DATA, SIZE, live(1))


def key(number: int) -> RecordKey:
    return RecordKey(Digest.of(b"%d" % number))


def led(kept: int, held: int, *others: NodeId, partition: int = 0) -> LedPartition:
    return LedPartition(partition, others, kept, held, 50 if held else None)


def test_what_nobody_differs_on_has_all_copies() -> None:
    compared = {B: Difference((), 10), C: Difference((), 30)}
    count = count_copies([0], [led(7, 7, B, C)], compared, lambda _: HELD)
    assert (count.copies, count.short, count.unsettled) == ((0, 0, 0, 7, 0), 0, 0)
    assert (count.age_ms, count.oldest_verified_s, count.not_compared) == (30, 50, ())
    assert count.led == bitmap([0])


def test_a_keeper_that_was_not_compared_has_no_copy() -> None:
    count = count_copies([0], [led(7, 7, B, C)], {B: Difference((), 10)}, lambda _: HELD)
    assert (count.copies, count.short) == ((0, 0, 7, 0, 0), 7)
    assert count.not_compared == (C,)


def test_what_is_lost_everywhere_has_no_copy_although_all_agree() -> None:
    compared = {B: Difference((), 10), C: Difference((), 30)}
    count = count_copies([0], [led(3, 2, B, C)], compared, lambda _: LACKING)
    assert (count.copies, count.short) == ((1, 0, 0, 2, 0), 1)


def test_a_difference_about_what_is_unknown_here_is_no_digest_yet() -> None:
    one = key(1)
    compared = {B: Difference((one,), 10)}
    partition = one.digest.partition
    for partitions in ([], [led(0, 0, B, partition=partition)]):
        count = count_copies([partition], partitions, compared, lambda _: ABSENT)
        assert (sum(count.copies), count.unsettled) == (0, 1)
    elsewhere = count_copies([partition ^ 1], [], compared, lambda _: ABSENT)
    assert elsewhere.unsettled == 0


def test_a_chunk_that_is_left_over_is_no_digest_and_no_difference() -> None:
    chunk = RecordState(RecordKind.DATA, SIZE, held=True, claimed=True, verified_at_s=50)
    one = key(1)
    partition = one.digest.partition
    compared = {B: Difference((), 10, (one,)), C: Difference((), 10, (one,))}
    here = [led(3, 3, B, C, partition=partition)]
    count = count_copies([partition], here, compared, lambda _: chunk)
    assert (count.copies, count.short, count.unsettled) == ((0, 0, 0, 2, 0), 0, 0)
    assert count.left_over == 1

    for partitions in ([], [led(3, 3, B, C, partition=partition)]):
        count = count_copies([partition], partitions, compared, lambda _: ABSENT)
        assert (count.left_over, count.short) == (1, 0)
        assert count.copies[3] == (3 if partitions else 0)


def test_a_chunk_that_differs_from_one_and_is_left_over_by_another_is_counted_once() -> None:
    one = key(1)
    partition = one.digest.partition
    compared = {B: Difference((one,), 10), C: Difference((), 10, (one,))}
    count = count_copies(
        [partition], [led(1, 1, B, C, partition=partition)], compared, lambda _: HELD
    )
    assert (sum(count.copies), count.short, count.left_over) == (1, 1, 0)


def test_partitions_are_told_by_their_bits() -> None:
    bits = bitmap([0, 9, PARTITIONS - 1])
    assert (bits[0], bits[1], bits[-1]) == (1, 2, 128)
    assert sum(byte.bit_count() for byte in bits) == 3


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=30))
def test_counts_are_those_of_looking_at_every_record(here: list[tuple[bool, bool, bool]]) -> None:
    """Each record: whether a (who counts), b and c hold a copy."""
    keys = [key(number) for number in range(len(here))]
    states = {one: HELD if held[0] else LACKING for one, held in zip(keys, here, strict=True)}
    compared = {
        node: Difference(
            [one for one, held in zip(keys, here, strict=True) if held[0] != held[at]], 1
        )
        for at, node in ((1, B), (2, C))
    }
    by_partition: dict[int, list[int]] = {}
    for number, one in enumerate(keys):
        by_partition.setdefault(one.digest.partition, []).append(number)
    partitions = [
        led(len(numbers), sum(here[n][0] for n in numbers), B, C, partition=partition)
        for partition, numbers in sorted(by_partition.items())
    ]
    count = count_copies(list(by_partition), partitions, compared, lambda one: states[one])

    expected = [0] * COPIES_TOLD
    for held in here:
        expected[sum(held)] += 1
    assert count.copies == tuple(expected)
    assert count.short == sum(expected[:3])
    assert count.waiting_bytes == sum(
        (3 - sum(held)) * SIZE for held in here if len(set(held)) > 1
    )
