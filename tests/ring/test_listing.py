"""Pages of records and claims: they lead on, and end."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ring.digest import Digest
from ring.errors import HoldfastError, InvalidDigest, PeerProtocol
from ring.limits import LIST_ENTRIES_MAX
from ring.listing import ClaimsReply, ListClaims, ListRecords, PageReply, check_page
from ring.messages import Message, pack_state
from ring.record import ABSENT, RecordKey
from tests.ring.every_message import BLOB, CHUNK
from tests.ring.values import digests, keys

KEY = RecordKey(BLOB).raw
ROW = [KEY, list(pack_state(ABSENT))]
LOW, MIDDLE, HIGH = sorted((BLOB, CHUNK, Digest.of(b"other")))


@pytest.mark.parametrize(
    ("kind", "fields", "error"),
    [
        (ListRecords, [KEY, LIST_ENTRIES_MAX + 1, False], PeerProtocol),
        (ListRecords, [KEY, -1, False], PeerProtocol),
        (ListRecords, [KEY, 1, 1], PeerProtocol),
        (ListRecords, [KEY[:-1], 1, True], InvalidDigest),
        (ListRecords, [b"", 1, True], PeerProtocol),
        (ListRecords, [BLOB.key, 1, True], PeerProtocol),
        (PageReply, [[ROW] * (LIST_ENTRIES_MAX + 1), True], PeerProtocol),
        (PageReply, [[KEY], True], PeerProtocol),
        (PageReply, [[[KEY]], True], PeerProtocol),
        (PageReply, [[ROW], None], PeerProtocol),
        (ListClaims, [KEY, None, LIST_ENTRIES_MAX + 1], PeerProtocol),
        (ListClaims, [None, None, 1], PeerProtocol),
        (ListClaims, [KEY, KEY, 1], InvalidDigest),
        (ClaimsReply, [[BLOB.key] * (LIST_ENTRIES_MAX + 1), True], PeerProtocol),
        (ClaimsReply, [[None], True], PeerProtocol),
        (ClaimsReply, [[b"\1"], True], InvalidDigest),
    ],
)
def test_what_is_out_of_bounds_is_refused(
    kind: type[Message], fields: list[object], error: type[HoldfastError]
) -> None:
    with pytest.raises(error):
        kind.parse(fields)


@given(st.none() | digests(), st.lists(digests(), max_size=6), st.booleans())
def test_a_page_leads_on_exactly_when_its_keys_rise(
    after: Digest | None, page: list[Digest], done: bool
) -> None:
    everything = page if after is None else [after, *page]
    leads_on = all(one < other for one, other in pairwise(everything)) and (done or bool(page))
    if leads_on:
        check_page(after, page, done=done)
    else:
        with pytest.raises(PeerProtocol):
            check_page(after, page, done=done)


@given(st.lists(keys, unique=True, max_size=6))
def test_records_in_order_are_a_page(some: list[RecordKey]) -> None:
    check_page(None, sorted(some), done=True)


@pytest.mark.parametrize(
    ("after", "page"),
    [(None, [MIDDLE, LOW]), (None, [LOW, LOW]), (MIDDLE, [LOW]), (LOW, [LOW]), (LOW, [HIGH, LOW])],
)
def test_a_page_that_goes_back_is_the_peers_fault(after: Digest | None, page: list[Digest]) -> None:
    with pytest.raises(PeerProtocol, match="order"):
        check_page(after, page, done=True)


def test_an_empty_page_is_the_last() -> None:
    check_page(LOW, [], done=True)
    with pytest.raises(PeerProtocol, match="empty"):
        check_page(LOW, [], done=False)
