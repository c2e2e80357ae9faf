"""The name of a blob: the grammar, the order of its errors, published vectors, round trips."""

import copy
import json
import pickle
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ring.digest import Algorithm, Digest
from ring.errors import (
    BadHex,
    BadLength,
    InvalidDigest,
    MissingSeparator,
    UnsupportedAlgorithm,
)
from ring.limits import DIGEST_KEY_BYTES_MAX, PARTITIONS
from tests.ring.values import digests

VECTORS = [
    (Algorithm.SHA256, b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    (
        Algorithm.SHA256,
        b"hello",
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    ),
    (Algorithm.SHA256, b"{}", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
    (
        Algorithm.SHA512,
        b"hello",
        (
            "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca7"
            "2323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043"
        ),
    ),
    (Algorithm.BLAKE3, b"", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
    (
        Algorithm.BLAKE3,
        b"foo\n",
        "49dc870df1de7fd60794cebce449f5ccdae575affaa67a24b62acb03e039db92",
    ),
    (
        Algorithm.BLAKE3,
        b"hello",
        "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f",
    ),
]
MIXED = "0123456789abcdefABCDEF" + "aB" * 21
GOOD = "a" * 64


@pytest.mark.parametrize(("algorithm", "data", "expected"), VECTORS)
def test_published_vectors(algorithm: Algorithm, data: bytes, expected: str) -> None:
    digest = Digest.of(data, algorithm)

    assert f"{algorithm.label}:{expected}" == str(digest)
    assert expected == digest.hex
    assert bytes.fromhex(expected) == digest.raw
    assert digest.matches(data)
    assert digest.matches(bytearray(data))
    assert digest.matches(memoryview(data))
    assert not digest.matches(data + b"\0")


def test_blake3_is_the_native_digest() -> None:
    assert Digest.of(b"foo\n") == Digest.of(b"foo\n", Algorithm.BLAKE3)


def test_the_same_bytes_have_a_different_name_under_each_algorithm() -> None:
    assert 3 == len({Digest.of(b"hello", algorithm) for algorithm in Algorithm})


@pytest.mark.parametrize("algorithm", Algorithm)
def test_mixed_case_is_read_and_lower_case_written(algorithm: Algorithm) -> None:
    text = f"{algorithm.label}:{(MIXED * 2)[: 2 * algorithm.size_bytes]}"

    digest = Digest.parse(text)
    again = Digest.parse(str(digest))
    assert text.lower() == str(digest)
    assert again == digest
    assert hash(again) == hash(digest)
    assert {digest: 1}[again] == 1


@pytest.mark.parametrize("text", ["abc", "", GOOD, "sha256", f"sha256;{GOOD}"])
def test_a_text_without_a_colon_misses_its_separator(text: str) -> None:
    with pytest.raises(MissingSeparator):
        Digest.parse(text)


@pytest.mark.parametrize(
    "label", ["md5", "SHA256", "Blake3", "", " sha256", "sha256 ", "sha-256", "blake2", "\0"]
)
@pytest.mark.parametrize("rest", [GOOD, "abc", "", "z"])
def test_an_unknown_algorithm_is_named(label: str, rest: str) -> None:
    with pytest.raises(UnsupportedAlgorithm) as caught:
        Digest.parse(f"{label}:{rest}")

    assert repr(label) in caught.value.detail


@pytest.mark.parametrize(
    ("text", "algorithm", "expected", "actual"),
    [
        ("sha256:" + "a" * 63, "sha256", 64, 63),
        ("sha256:" + "a" * 65, "sha256", 64, 65),
        ("sha256:", "sha256", 64, 0),
        ("blake3:" + "a" * 63, "blake3", 64, 63),
        ("sha512:" + "a" * 64, "sha512", 128, 64),
        ("sha256:" + "a" * 128, "sha256", 64, 128),
        ("sha256:" + "z" * 63, "sha256", 64, 63),  # length comes before characters
        ("sha256:" + "a" * 63 + "é", "sha256", 64, 65),  # length counts bytes
        (f"sha256:{GOOD}\n", "sha256", 64, 65),  # nothing is trimmed
        (f"sha256: {GOOD}", "sha256", 64, 65),
        (f"sha256::{GOOD}", "sha256", 64, 65),  # the first colon separates
        (f"sha256:{GOOD}:{GOOD}", "sha256", 64, 129),
        ("sha256:" + "a" * 63 + "\ud800", "sha256", 64, 66),  # what a hostile path decodes to
    ],
)
def test_a_wrong_length_is_told_with_both_numbers(
    text: str, algorithm: str, expected: int, actual: int
) -> None:
    with pytest.raises(BadLength) as caught:
        Digest.parse(text)

    assert {"algorithm": algorithm, "expected": expected, "actual": actual} == caught.value.facts


@pytest.mark.parametrize(
    ("rest", "bad"),
    [
        ("z" * 64, "z"),
        ("a" * 63 + "g", "g"),
        ("a" * 62 + "é", "é"),  # two bytes, so the length is right
        (":" + "a" * 63, ":"),
        ("0x" + "a" * 62, "x"),
        (" " + "a" * 63, " "),
        ("a" * 63 + "\n", "\n"),
        ("a" * 61 + "٣0", "٣"),  # a digit to Python, not to hex
        ("a" * 20 + "q" + "a" * 20 + "w" + "a" * 22, "q"),  # the first one
    ],
)
def test_the_first_character_that_is_no_hex_digit_is_told(rest: str, bad: str) -> None:
    with pytest.raises(BadHex) as caught:
        Digest.parse(f"sha256:{rest}")

    assert {"bad": bad} == caught.value.facts


@given(st.text(max_size=200) | st.from_regex(r"(sha256|sha512|blake3):[0-9a-fA-F]{60,68}"))
@example("sha256:" + "A" * 64)
def test_any_text_is_a_digest_or_an_invalid_one(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except InvalidDigest:
        return
    assert text.lower() == str(digest)


@given(digests())
def test_both_forms_read_back_to_the_same_digest(digest: Digest) -> None:
    assert digest == Digest.parse(str(digest))
    assert digest == Digest.from_key(digest.key)
    assert digest == Digest(digest.algorithm, digest.raw)
    assert bytes((digest.algorithm,)) + digest.raw == digest.key
    assert len(digest.key) < DIGEST_KEY_BYTES_MAX


@given(digests())
def test_as_json_it_is_a_string_in_wire_form(digest: Digest) -> None:
    assert digest == Digest.parse(json.loads(json.dumps(str(digest))))


@given(st.lists(digests(), max_size=20))
def test_digests_sort_like_their_wire_forms(some: list[Digest]) -> None:
    ordered = sorted(some)

    assert sorted(str(digest) for digest in some) == [str(digest) for digest in ordered]
    assert sorted(digest.key for digest in some) == [digest.key for digest in ordered]
    for one, other in pairwise(ordered):
        assert one <= other
        assert (one < other) == (one != other)


def test_wire_forms_of_different_algorithms_sort_like_their_keys() -> None:
    lowest = [Digest(algorithm, bytes(algorithm.size_bytes)) for algorithm in Algorithm]
    highest = [Digest(algorithm, b"\xff" * algorithm.size_bytes) for algorithm in Algorithm]
    some = [*highest, *lowest]

    assert sorted(map(str, some)) == [str(digest) for digest in sorted(some)]


@pytest.mark.parametrize("name", ["key", "raw", "hex", "algorithm", "partition", "other"])
def test_a_digest_cannot_be_changed(name: str) -> None:
    digest = Digest.of(b"hello")
    before = str(digest)

    with pytest.raises(AttributeError):
        setattr(digest, name, b"")
    assert before == str(digest)


def test_a_digest_differs_from_what_is_none() -> None:
    digest = Digest.of(b"hello")

    assert digest != str(digest)
    assert digest != digest.key
    assert digest is not None


def test_a_digest_survives_copying_and_pickling() -> None:
    digest = Digest.of(b"hello", Algorithm.SHA512)

    assert digest == copy.deepcopy(digest)
    assert digest == pickle.loads(pickle.dumps(digest))  # noqa: S301 - our own bytes
    assert f"Digest({digest})" == repr(digest)


@given(digests())
def test_the_partition_is_the_leading_twelve_bits(digest: Digest) -> None:
    assert int(digest.hex[:3], 16) == digest.partition
    assert 0 <= digest.partition < PARTITIONS


@pytest.mark.parametrize(
    ("start", "partition"), [("000", 0), ("001", 1), ("00f", 15), ("010", 16), ("fff", 4095)]
)
def test_partitions_by_example(start: str, partition: int) -> None:
    assert partition == Digest.parse("blake3:" + start + "5" * 61).partition


@pytest.mark.parametrize("key", [b"", b"\x00" + bytes(32), b"\x04" + bytes(32), b"\xff"])
def test_a_key_of_no_known_algorithm_is_refused(key: bytes) -> None:
    with pytest.raises(UnsupportedAlgorithm):
        Digest.from_key(key)


@pytest.mark.parametrize(
    "key", [b"\x01", b"\x01" + bytes(31), b"\x02" + bytes(33), b"\x03" + bytes(32)]
)
def test_a_key_of_the_wrong_length_is_refused(key: bytes) -> None:
    with pytest.raises(BadLength):
        Digest.from_key(key)


def test_the_numbers_of_algorithms_never_change() -> None:
    numbers = {algorithm.label: int(algorithm) for algorithm in Algorithm}

    assert {"blake3": 1, "sha256": 2, "sha512": 3} == numbers


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_hasher_may_be_fed_in_pieces(algorithm: Algorithm) -> None:
    hasher = algorithm.hasher()
    for piece in (b"he", b"", bytearray(b"l"), memoryview(b"lo")):
        hasher.update(piece)

    assert Digest.of(b"hello", algorithm).raw == hasher.digest()
