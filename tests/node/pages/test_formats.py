"""The formats of the manifest: published vectors, our own, and what counts as damage (H21)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.pages.manifest_format import (
    Change,
    Frame,
    Snapshot,
    decode_log,
    decode_snapshot,
    encode_log,
)
from ring.errors import Corrupt
from tests.node.pages.frames import PAGE, guid
from tests.node.pages.vectors import AB, CD, DELETE_AB, SET_7, SET_AB, SNAPSHOT_6


def test_h21_records_without_checksums_are_the_published_ones() -> None:
    assert Change(AB, Frame(0, b"")).encode() == SET_AB
    assert Change(AB, None).encode() == DELETE_AB
    assert Change(bytes(range(16)), Frame(7, b"")).encode() == SET_7
    tail = decode_log(SET_AB + SET_7 + DELETE_AB, "log", None)
    assert tail.changes == [
        Change(AB, Frame(0, b"")),
        Change(bytes(range(16)), Frame(7, b"")),
        Change(AB, None),
    ]
    assert tail.good_bytes == len(SET_AB + SET_7 + DELETE_AB)


def test_h21_a_snapshot_of_version_6_is_the_published_one() -> None:
    snapshot = Snapshot({AB: Frame(0, b""), CD: Frame(2, b"")}, 3)

    assert snapshot.encode(6) == SNAPSHOT_6
    assert len(SNAPSHOT_6) == 72
    assert decode_snapshot(SNAPSHOT_6, "it") == snapshot


def test_h21_records_of_ours_have_their_golden_bytes() -> None:
    changes = [(AB, Frame(7, b"c" * 16)), (CD, None)]

    assert encode_log(changes, 5) == bytes.fromhex(
        "4d4c4731 30000000 03" + "ab" * 16 + "0700000000000000 0500000000000000" + "63" * 16
        + "d555ed98"
        + "4d4c4731 18000000 04" + "cd" * 16 + "0500000000000000 9d23a357"
    )  # fmt: skip


def test_h21_a_snapshot_of_ours_has_its_golden_bytes() -> None:
    snapshot = Snapshot({AB: Frame(0, b"s" * 16), CD: Frame(2, b"")}, 3, PAGE, 9)

    encoded = snapshot.encode()

    assert encoded == bytes.fromhex(
        "415254534e4d4e46 0700 02000000 0000 0300000000000000"
         "00200000 00000000 0900000000000000"
        + "ab" * 16 + "0000000000000000" + "73" * 16
        + "cd" * 16 + "0200000000000000" + "00" * 16
        + "3bee084da662e8229547943a02e91a9c"
    )  # fmt: skip
    assert decode_snapshot(encoded, "it") == snapshot


guids = st.binary(min_size=16, max_size=16)
frames = st.builds(
    Frame, st.integers(0, 2**40), st.binary(min_size=16, max_size=16).filter(any)
)


@given(st.lists(st.tuples(guids, st.none() | frames), max_size=20), st.integers(1, 2**50))
def test_h21_what_is_encoded_is_decoded(
    changes: list[tuple[bytes, Frame | None]], sequence: int
) -> None:
    data = encode_log(changes, sequence)

    tail = decode_log(data, "log", sequence - 1)

    assert [(change.guid, change.frame) for change in tail.changes] == changes
    assert tail.good_bytes == len(data)
    assert decode_log(data, "log", sequence).changes == []


@given(st.integers(0, 400), st.data())
def test_h21_a_log_cut_anywhere_is_a_prefix(cut: int, data: st.DataObject) -> None:
    flushes = [encode_log([(guid(n), Frame(n, b"s" * 16)), (guid(n + 1), None)], n)
               for n in range(1, 5)]  # fmt: skip
    log = b"".join(flushes)[:cut]

    tail = decode_log(log, "log", 0)

    assert tail.good_bytes <= len(log)
    assert log[: tail.good_bytes] == b"".join(
        change.encode() for change in tail.changes
    )
    assert len(log) - tail.good_bytes < 61


@pytest.mark.parametrize("bit", range(8))
def test_h21_a_flipped_bit_in_a_log_is_damage(bit: int) -> None:
    log = encode_log([(guid(n), Frame(n, b"s" * 16)) for n in range(1, 3)], 1)
    log += encode_log([(guid(1), None)], 2)
    for at in range(len(log)):
        bad = bytearray(log)
        bad[at] ^= 1 << bit
        with pytest.raises(Corrupt):
            decode_log(bytes(bad), "log", 0)


def test_h21_a_lost_sector_before_a_later_flush_is_damage() -> None:
    flushes = [encode_log([(guid(n), Frame(n, b"s" * 16))], n) for n in range(1, 30)]
    log = bytearray(b"".join(flushes))
    log[512:1024] = bytes(512)

    with pytest.raises(Corrupt, match="later flushes follow"):
        decode_log(bytes(log), "log", 0)


def test_h21_a_lost_sector_of_the_last_flush_is_a_torn_tail() -> None:
    first = encode_log([(guid(1), Frame(1, b"s" * 16))], 1)
    log = bytearray(first)
    log += encode_log([(guid(n), Frame(n, b"s" * 16)) for n in range(2, 60)], 2)
    log[512:1024] = bytes(512)

    tail = decode_log(bytes(log), "log", 0)

    assert tail.good_bytes == 512 // 61 * 61
    assert len(tail.changes) == 8
