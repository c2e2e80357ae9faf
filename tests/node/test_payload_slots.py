"""Buffers for large payloads: aligned, used again, never while somebody still reads them."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.payload_slots import PayloadSlots
from ring.limits import CHUNK_BYTES, KIB, MIB

PAGE_BYTES = 4096


def address_of(view: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


@pytest.mark.parametrize("size_bytes", [1, 65_537, 128 * KIB, 128 * KIB + 1, CHUNK_BYTES])
def test_a_buffer_is_as_long_as_asked_and_starts_a_page(size_bytes: int) -> None:
    view = PayloadSlots().take(size_bytes)

    assert len(view) == size_bytes
    assert view.nbytes == size_bytes
    assert not view.readonly
    assert view.contiguous
    assert address_of(view) % PAGE_BYTES == 0


def test_memory_is_used_again_once_nobody_looks() -> None:
    slots = PayloadSlots()
    first = slots.take(CHUNK_BYTES)
    where = address_of(first)
    del first
    second = slots.take(CHUNK_BYTES - 5)

    assert address_of(second) == where
    assert slots.idle_bytes == 0


def test_a_slice_keeps_the_memory_from_being_used_again() -> None:
    slots = PayloadSlots()
    whole = slots.take(CHUNK_BYTES)
    whole[100:105] = b"bytes"
    part = whole[100:105].toreadonly()
    del whole
    other = slots.take(CHUNK_BYTES)
    other[:] = bytes(CHUNK_BYTES)

    assert bytes(part) == b"bytes"
    assert slots.idle_bytes == 0
    del part
    assert slots.idle_bytes == CHUNK_BYTES


def test_what_lies_unused_has_a_bound() -> None:
    slots = PayloadSlots(idle_bytes_max=2 * CHUNK_BYTES)
    views = [slots.take(CHUNK_BYTES) for _ in range(5)]
    views.clear()

    assert slots.idle_bytes == 2 * CHUNK_BYTES


def test_buffers_outlive_where_they_came_from() -> None:
    view = PayloadSlots().take(CHUNK_BYTES)
    view[-1:] = b"x"

    assert bytes(view[-1:]) == b"x"


@given(st.lists(st.tuples(st.integers(1, CHUNK_BYTES), st.integers(0, 4)), max_size=20))
def test_no_two_who_hold_buffers_share_memory(steps: list[tuple[int, int]]) -> None:
    slots = PayloadSlots(idle_bytes_max=16 * MIB)
    held: list[tuple[int, memoryview]] = []
    for number, (size_bytes, drops) in enumerate(steps):
        view = slots.take(size_bytes)
        view[0] = view[-1] = number
        held.append((number, view))
        del view
        del held[:drops]
        assert all(view[0] == view[-1] == number for number, view in held)
        assert slots.idle_bytes <= 16 * MIB
