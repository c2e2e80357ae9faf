"""The forms of what stands in the index, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.index.index_keys import claim_key, partition_key, row_key
from node.index.located_row import location_of, row_of, with_location, with_row
from node.index.location import Location, Position
from node.index.partition_sum import PartitionSum
from node.index.sealed_value import seal, unseal
from node.index.summary import Ahead, Summary
from node.record_row import pack_row
from ring.errors import Corrupt
from ring.record import RecordKind, RecordState, live

HELD = pack_row(RecordState(kind=RecordKind.DATA, size_bytes=5, root=live(1), held=True))
GONE = pack_row(RecordState(kind=RecordKind.DATA, size_bytes=5, root=live(1)))
WHERE = Location(7, 4096, 5)


def a_summary() -> Summary:
    summary = Summary()
    summary.covered = Position(3, 8192)
    summary.ahead = Ahead(Position(4, 4096), b"row", b"")
    summary.totals.records, summary.totals.held, summary.totals.bytes_stored = 9, 5, 1234
    summary.totals.live_bytes = {7: 600, 2: 34}
    summary.floors = {4095: 3, 1: 2}
    return summary


def test_the_form_of_a_row() -> None:
    payload = with_location(with_row(None, HELD), WHERE)

    assert payload is not None
    assert payload.hex() == (
        "55000000000000000080000000000000"  # the row
        "07000000" + "0010000000000000" + "05000000"
    )
    assert row_of(payload) == HELD
    assert location_of(payload) == WHERE


def test_a_location_stands_only_on_a_row_that_holds_a_value() -> None:
    held, gone = with_row(None, HELD), with_row(None, GONE)
    located = with_location(held, WHERE)

    assert with_location(None, WHERE) is None
    assert with_location(gone, WHERE) == gone
    assert with_row(located, GONE) == gone
    assert with_row(located, HELD) == located
    assert with_row(gone, HELD) == held
    assert with_location(located, None) == held
    assert location_of(held) is None


def test_the_form_of_a_summary() -> None:
    assert a_summary().encode().hex() == (
        "0100" + "01" + "0300000000000000" + "0020000000000000"
        + "01" + "0400000000000000" + "0010000000000000" + "03" + "00"
        + "0900000000000000" + "0500000000000000" + "d204000000000000"
        + "02000000" + "02000000" + "726f77"
        + "0100" + "0200000000000000" + "ff0f" + "0300000000000000"
        + "02000000" + "2200000000000000" + "07000000" + "5802000000000000"
    )  # fmt: skip


@pytest.mark.parametrize("summary", [Summary(), a_summary()])
def test_a_summary_survives_its_encoding_and_no_cut(summary: Summary) -> None:
    body = summary.encode()
    again = Summary.decode(body)

    assert again.encode() == body
    assert (again.covered, again.ahead) == (summary.covered, summary.ahead)
    for wrong in [body + b"\0", *(body[:size] for size in range(len(body)))]:
        with pytest.raises(Corrupt):
            Summary.decode(wrong)


def test_the_form_of_sums_and_their_order_does_not_matter() -> None:
    values = [bytes(20) + bytes([number] * 8) for number in (255, 1, 9)]
    one, other = PartitionSum(), PartitionSum()
    for value in values:
        one.add_row(value)
    for value in [*reversed(values), values[0]]:
        other.add_row(value)
    other.add_row(values[0], -1)

    assert one == other
    assert one.encode().hex() == "0300000000000000" + "0" * 16 + "09" + "0a" * 7
    assert PartitionSum.decode(one.encode()) == one
    one.add_claim(values[0])
    assert one.claims == 1
    for wrong in (b"", one.encode() + b"\0"):
        with pytest.raises(Corrupt):
            PartitionSum.decode(wrong)


def test_sums_that_fall_below_nothing_are_no_sums() -> None:
    found = PartitionSum()
    found.add_row(bytes(8), -1)

    with pytest.raises(Corrupt):
        found.encode()


def test_the_keys_of_the_index() -> None:
    assert row_key(b"\0\1key") == b"r\0\1key"
    assert claim_key(b"\0\1key", b"\1who") == b"c\0\1key\1who"
    assert partition_key(0x0ABC) == b"p\x0a\xbc"


@given(st.binary(min_size=1, max_size=40), st.binary(max_size=40), st.data())
def test_a_seal_belongs_to_key_and_payload(key: bytes, payload: bytes, data: st.DataObject) -> None:
    value = seal(key, payload)
    assert unseal(key, value) == payload
    at = data.draw(st.integers(0, len(value) - 1))
    wrong = bytearray(value)
    wrong[at] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(Corrupt):
        unseal(key, bytes(wrong))
    with pytest.raises(Corrupt):
        unseal(key + b"\0", value)
    for size in range(len(value)):
        with pytest.raises(Corrupt):
            unseal(key, value[:size])


def test_the_form_of_a_seal() -> None:
    assert seal(b"key", b"payload").hex() == b"payload".hex() + "67bf316bccb78564"
