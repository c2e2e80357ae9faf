"""Copies that turn out bad: somebody is told, and the evidence is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from node.fact_sums import PartitionFacts
from ring.messages import CopyVerdict
from ring.record import RecordKey, RecordKind
from tests.conformance.record_stores import STORES, Factory, Subject, key_of, put

VALUE = b"what was put" * 9
Told = list[tuple[RecordKey, str, bool]]


@pytest.fixture(params=STORES, ids=lambda factory: factory.__name__)
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    factory: Factory = request.param
    async with factory(tmp_path) as opened:
        yield opened


@pytest.fixture
def told(subject: Subject) -> Told:
    """What the store says of bad copies."""
    found: Told = []
    subject.local.watch_bad_copies(lambda key, words, is_gone: found.append((key, words, is_gone)))
    return found


async def damaged(subject: Subject) -> RecordKey:
    key = await put(subject, VALUE)
    await subject.damage(key, RecordKind.DATA, VALUE[:-1] + b"?")
    return key


async def test_who_watches_is_told_what_is_wrong_and_the_copy_is_kept(
    subject: Subject, told: Told
) -> None:
    key = await damaged(subject)
    other = await put(subject, b"well")
    assert await subject.local.verify(key) is CopyVerdict.QUARANTINED
    assert told == [(key, "its bytes do not match", False)]
    assert len(await subject.local.quarantined(key)) == 1
    assert await subject.local.quarantined(other) == []


async def test_a_bad_copy_that_is_replaced_at_once_is_told_of_too(
    subject: Subject, told: Told
) -> None:
    key = await damaged(subject)
    await put(subject, VALUE)
    assert told == [(key, "its bytes do not match", False)]
    assert len(await subject.local.quarantined(key)) == 1


async def test_a_copy_that_can_be_read_is_not_given_up(subject: Subject, told: Told) -> None:
    key = await put(subject, VALUE)
    assert await subject.local.give_up(key) is CopyVerdict.GOOD
    assert await subject.local.give_up(key_of(b"never put")) is CopyVerdict.ABSENT
    assert (await subject.local.get(key))[1] == VALUE
    assert told == []


async def test_copies_that_must_be_kept_are_counted_with_their_bytes_and_their_age(
    subject: Subject,
) -> None:
    async def counted() -> tuple[int, int, int, int | None]:
        found: PartitionFacts = await subject.local.facts.partition(key.digest.partition)
        return found.kept, found.held, found.held_bytes, found.oldest_s

    key = await put(subject, VALUE)
    first_s = int(subject.clock.seconds)
    assert await counted() == (1, 1, len(VALUE), first_s)
    subject.clock.seconds += 50
    await subject.local.verify(key)
    assert await counted() == (1, 1, len(VALUE), first_s)  # a lower bound
    await subject.local.facts.count_ages(key.digest.partition)
    assert await counted() == (1, 1, len(VALUE), first_s + 50)
    await subject.damage(key, RecordKind.DATA, b"?" * len(VALUE))
    await subject.local.verify(key)
    assert (await counted())[:3] == (1, 0, 0)
    await subject.local.bury(key, 1)
    assert (await counted())[:3] == (0, 0, 0)
