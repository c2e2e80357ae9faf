"""Numbers that processes must agree on: a change is a change of the format."""

import pytest

from ring import limits


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHUNK_BYTES", 4_194_304),
        ("RECIPE_CHUNKS_MAX", 131_000),
        ("PARTITIONS", 4_096),
        ("REPLICAS_MAX", 7),
        ("SPARES_MAX", 2),
        ("MEMBERS_MAX", 256),
        ("ENVELOPE_BYTES_MAX", 1_048_576),
        ("PAYLOAD_BYTES_MAX", 4_194_304),
        ("KEYS_PER_REQUEST_MAX", 4_096),
        ("LIST_ENTRIES_MAX", 1_000),
        ("GENERATION_MAX", 1 << 48),
    ],
)
def test_a_number_of_the_format_stays_what_it_is(name: str, value: int) -> None:
    assert value == getattr(limits, name)


def test_a_member_index_fits_into_one_byte_of_the_table() -> None:
    assert limits.MEMBERS_MAX <= 1 << 8


def test_the_largest_layout_can_be_chosen_from_the_members_there_may_be() -> None:
    assert limits.REPLICAS_MAX + limits.SPARES_MAX <= limits.MEMBERS_MAX
