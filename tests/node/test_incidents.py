"""The journal of incidents: bounded, in order, and the same again is one."""

from __future__ import annotations

from node.incidents import Incidents
from ring.digest import Digest
from ring.operating import INCIDENTS_TOLD_MAX, IncidentKind
from ring.record import RecordKey
from tests.fakes.manual_clock import ManualClock

ONE, OTHER = (RecordKey(Digest.of(data)) for data in (b"one", b"other"))


def test_incidents_of_a_record_are_told_in_order() -> None:
    clock = ManualClock(10.0)
    incidents = Incidents(clock)
    incidents.note(ONE, IncidentKind.MISSING, "gone")
    clock.seconds = 20.0
    incidents.note(OTHER, IncidentKind.FETCHED, "from b")
    incidents.note(ONE, IncidentKind.FETCHED, "from a")
    assert [(one.at_s, one.words) for one in incidents.of(ONE)] == [(10, "gone"), (20, "from a")]
    assert [one.kind for one in incidents.of(OTHER)] == [IncidentKind.FETCHED]


def test_the_same_again_is_one_incident_that_happened_more_often() -> None:
    clock = ManualClock(10.0)
    incidents = Incidents(clock, limit=3)
    for second in range(100):
        clock.seconds = second
        incidents.note(ONE, IncidentKind.NOT_REPAIRED, "no source")
    (incident,) = incidents.of(ONE)
    assert (incident.times, incident.at_s) == (100, 99)
    assert len(incidents) == 1


def test_the_oldest_goes_when_there_are_too_many() -> None:
    incidents = Incidents(ManualClock(), limit=5)
    for number in range(12):
        incidents.note(ONE if number % 2 else OTHER, IncidentKind.FETCHED, f"from {number}")
    assert len(incidents) == 5
    assert [one.words for one in incidents.of(ONE)] == ["from 7", "from 9", "from 11"]
    for number in range(5):
        incidents.note(OTHER, IncidentKind.MISSING, f"{number}")
    assert incidents.of(ONE) == ()


def test_no_more_is_told_than_a_message_may_carry() -> None:
    incidents = Incidents(ManualClock())
    for number in range(3 * INCIDENTS_TOLD_MAX):
        incidents.note(ONE, IncidentKind.FETCHED, f"{number}" * 300)
    told = incidents.of(ONE)
    assert len(told) == INCIDENTS_TOLD_MAX
    assert told[-1].words.startswith(f"{3 * INCIDENTS_TOLD_MAX - 1}")


def test_who_found_a_bad_copy_is_said() -> None:
    incidents = Incidents(ManualClock())
    with incidents.looking(ONE, "found by the scrub"):
        incidents.bad_copy(ONE, "its bytes do not match", is_gone=False)
        incidents.bad_copy(OTHER, "its bytes are gone", is_gone=True)
    incidents.bad_copy(ONE, "its bytes do not match", is_gone=False)
    assert [one.words for one in incidents.of(ONE)] == [
        "its bytes do not match; found by the scrub",
        "its bytes do not match; found as it was read or written again",
    ]
    assert [one.kind for one in incidents.of(OTHER)] == [IncidentKind.MISSING]
