"""Recipes: the format byte for byte, and every way in which one can be broken."""

import struct

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from ring.digest import Algorithm, Digest
from ring.errors import Corrupt
from ring.limits import BLOB_BYTES_MAX, CHUNK_BYTES, RECIPE_CHUNKS_MAX, RECIPE_HEADER_BYTES_MAX
from ring.recipe import Recipe
from tests.golden.golden_file import Golden
from tests.ring.values import digests

BLOB = Digest.of(b"the blob")
CHUNKS = (Digest.of(b"one"), Digest.of(b"two"), Digest.of(b"three"))
RECIPE = Recipe(2 * CHUNK_BYTES + 1, CHUNKS)
VALUE = RECIPE.encode(BLOB)


def sealed(body: bytes, blob: Digest = BLOB) -> bytes:
    """A value whose checksum is right whatever the body says."""
    return body + blake3(blob.key + body).digest()


def header(  # a body without chunks, every field to be lied about
    *,
    magic: bytes = b"HFRC",
    version: int = 1,
    scheme: int = 0,
    zero: int = 0,
    size_bytes: int = RECIPE.size_bytes,
    count: int = 3,
) -> bytes:
    return struct.pack("<4sBBHQI", magic, version, scheme, zero, size_bytes, count)


ROWS = b"".join(chunk.raw for chunk in CHUNKS)


def test_the_format_byte_for_byte(golden: Golden) -> None:
    size = bytes.fromhex("0100800000000000")
    version, scheme, zero = b"\x01", b"\x00", b"\x00\x00"
    body = b"HFRC" + version + scheme + zero + size + b"\x03\x00\x00\x00" + ROWS

    assert sealed(body) == VALUE
    assert sealed(header() + ROWS) == VALUE
    golden.check("recipe.hex", VALUE.hex("\n", -16) + "\n")


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    chunks = draw(st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=9))
    last = draw(st.integers(1, CHUNK_BYTES))
    size_bytes = (len(chunks) - 1) * CHUNK_BYTES + last
    return Recipe(size_bytes, tuple(Digest(Algorithm.BLAKE3, raw) for raw in chunks))


@given(recipes(), digests())
def test_a_recipe_reads_back_and_only_under_its_digest(recipe: Recipe, blob: Digest) -> None:
    value = recipe.encode(blob)

    assert recipe == Recipe.decode(blob, value)
    assert recipe == Recipe.decode(blob, bytearray(value))
    assert recipe == Recipe.decode(blob, memoryview(value))
    assert value == recipe.encode(blob)
    if blob != BLOB:
        with pytest.raises(Corrupt):
            Recipe.decode(BLOB, value)


def test_a_recipe_swapped_between_algorithms_is_corrupt() -> None:
    """Two digests with the same raw bytes are two blobs."""
    other = Digest(Algorithm.SHA256, BLOB.raw)

    with pytest.raises(Corrupt, match="checksum"):
        Recipe.decode(other, VALUE)


def test_every_flipped_bit_is_corrupt() -> None:
    for at in range(len(VALUE)):
        for bit in range(8):
            flipped = bytearray(VALUE)
            flipped[at] ^= 1 << bit
            with pytest.raises(Corrupt):
                Recipe.decode(BLOB, flipped)


def test_every_truncation_is_corrupt() -> None:
    for length in range(len(VALUE)):
        with pytest.raises(Corrupt):
            Recipe.decode(BLOB, VALUE[:length])


def test_bytes_after_the_end_are_corrupt() -> None:
    for tail in (b"\0", VALUE, bytes(32)):
        with pytest.raises(Corrupt):
            Recipe.decode(BLOB, VALUE + tail)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (header(magic=b"HFRD") + ROWS, "version"),
        (header(version=0) + ROWS, "version 0"),
        (header(version=2) + ROWS, "version 2"),
        (header(scheme=1) + ROWS, "scheme 1"),
        (header(zero=1) + ROWS, "version"),
        (header(count=2) + ROWS, "2 chunks cannot hold"),
        (header(count=4) + ROWS, "4 chunks cannot hold"),
        (header(size_bytes=0, count=0), "0 chunks"),
        (header(size_bytes=CHUNK_BYTES, count=1) + ROWS[:32], "1 chunks"),
        (header(size_bytes=2 * CHUNK_BYTES) + ROWS, "3 chunks cannot hold"),
        (header(size_bytes=3 * CHUNK_BYTES + 1) + ROWS, "3 chunks cannot hold"),
        (header(size_bytes=(1 << 64) - 1, count=(1 << 32) - 1) + ROWS, "chunks cannot hold"),
        (header() + ROWS[:-1], "length"),
        (header() + ROWS[:-32], "length"),
        (header() + ROWS + b"\0", "length"),
        (header() + ROWS + bytes(32), "length"),
        (b"", "too few"),
        (header()[:-1], "too few"),
    ],
)
def test_a_lie_with_a_right_checksum_is_told_in_words(body: bytes, words: str) -> None:
    with pytest.raises(Corrupt, match=words) as caught:
        Recipe.decode(BLOB, sealed(body))

    assert str(BLOB) in caught.value.detail


@given(st.binary(max_size=200), st.booleans())
def test_any_sealed_bytes_are_one_recipe_or_corrupt(body: bytes, starts_well: bool) -> None:
    value = sealed(header() + body if starts_well else body)
    try:
        recipe = Recipe.decode(BLOB, value)
    except Corrupt:
        return
    assert value == recipe.encode(BLOB)


@pytest.mark.parametrize(
    ("size_bytes", "chunks"),
    [
        (CHUNK_BYTES + 1, 2),
        (2 * CHUNK_BYTES, 2),
        (2 * CHUNK_BYTES + 1, 3),
        (3 * CHUNK_BYTES - 1, 3),
        (BLOB_BYTES_MAX - CHUNK_BYTES + 1, RECIPE_CHUNKS_MAX),
        (BLOB_BYTES_MAX, RECIPE_CHUNKS_MAX),
    ],
)
def test_sizes_at_the_edges(size_bytes: int, chunks: int) -> None:
    recipe = Recipe(size_bytes, (BLOB,) * chunks)
    value = recipe.encode(BLOB)

    assert recipe == Recipe.decode(BLOB, value)
    assert len(value) <= CHUNK_BYTES
    assert len(value) <= 32 * chunks + RECIPE_HEADER_BYTES_MAX
    assert CHUNK_BYTES == recipe.chunk_bytes(0) == recipe.chunk_bytes(chunks - 2)
    assert size_bytes - (chunks - 1) * CHUNK_BYTES == recipe.chunk_bytes(chunks - 1)
    assert 1 <= recipe.chunk_bytes(chunks - 1) <= CHUNK_BYTES


@pytest.mark.parametrize(
    ("size_bytes", "chunks"),
    [
        (0, 0),
        (1, 1),
        (CHUNK_BYTES, 1),
        (CHUNK_BYTES + 1, 1),
        (CHUNK_BYTES + 1, 3),
        (BLOB_BYTES_MAX + 1, RECIPE_CHUNKS_MAX + 1),
    ],
)
def test_a_recipe_that_makes_no_sense_cannot_be_made(size_bytes: int, chunks: int) -> None:
    with pytest.raises(AssertionError):
        Recipe(size_bytes, (BLOB,) * chunks)


def test_one_chunk_more_than_a_recipe_can_hold_is_corrupt() -> None:
    count = RECIPE_CHUNKS_MAX + 1
    body = header(size_bytes=BLOB_BYTES_MAX + 1, count=count) + bytes(32 * count)

    with pytest.raises(Corrupt, match="cannot hold"):
        Recipe.decode(BLOB, sealed(body))
