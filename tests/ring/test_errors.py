"""The table of errors: codes, statuses, and whether trying again can help."""

import pytest

from ring.errors import (
    BadHex,
    BadRequest,
    HoldfastError,
    InvalidDigest,
    NotFound,
    PeerProtocol,
    UnsafePath,
    error_class,
    every_error,
)
from tests.golden.golden_file import Golden


def test_the_table_never_changes_by_accident(golden: Golden) -> None:
    """Clients act on all three columns; codes are the wire's names of errors."""
    lines = [
        f"{kind.code} {kind.status} {'retryable' if kind.retryable else 'final'}"
        for kind in every_error()
    ]

    golden.check("errors.txt", "\n".join(lines) + "\n")


def test_every_error_has_a_sentence_about_itself() -> None:
    for kind in every_error():
        assert kind.__doc__, kind
        assert kind.__doc__.strip(), kind


def test_statuses_say_whose_fault_it_is_and_whether_to_retry() -> None:
    for kind in every_error():
        assert 400 <= kind.status < 600
        if kind.status == 503:
            assert kind.retryable, kind.code
        if kind.status < 500 and kind.code != "request_timeout":
            assert not kind.retryable, kind.code


def test_an_error_is_found_by_its_code() -> None:
    for kind in every_error():
        assert kind is error_class(kind.code)


@pytest.mark.parametrize("code", ["", "new_error", "NOT_FOUND", "HoldfastError"])
def test_an_unknown_code_is_the_peers_fault(code: str) -> None:
    assert PeerProtocol is error_class(code)


def test_what_invalid_digest_catches_is_what_parsing_raises() -> None:
    assert issubclass(BadHex, InvalidDigest)
    assert issubclass(UnsafePath, BadRequest)
    assert not issubclass(NotFound, BadRequest)


def test_an_error_says_its_detail_and_keeps_its_facts() -> None:
    error = NotFound("nobody has it", digest="blake3:00", tries=3, raw=b"\0")

    assert "nobody has it" == str(error) == error.detail
    assert {"digest": "blake3:00", "tries": 3, "raw": b"\0"} == error.facts


def test_the_base_of_all_errors_is_never_raised_itself() -> None:
    with pytest.raises(AssertionError):
        HoldfastError("something")


def test_two_errors_never_share_a_code() -> None:
    with pytest.raises(AssertionError):
        type("Again", (HoldfastError,), {}, code="not_found", status=404, retryable=False)
