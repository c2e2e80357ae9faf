"""The clock of a connection: who may keep it waiting, and for how long."""

from __future__ import annotations

import pytest

from gateway.http.config import HttpConfig
from gateway.http.phase import Phase, Watch

CONFIG = HttpConfig(
    first_request_s=10,
    idle_s=75,
    body_grace_s=10,
    answer_grace_s=60,
    rate_min=1_000,
    store_s=300,
    linger_s=2,
)


class Sweeps:
    """A watch that is looked at once a second."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.watch = Watch(0.0)

    def overdue_after_s(
        self,
        phase: Phase,
        *,
        for_s: int,
        rate: float = 0,
        steps_per_s: int = 0,
        request: int = 1,
        first_bytes: int = 0,
    ) -> int | None:
        """When it is over, looking for so many seconds; None when it never is."""
        for second in range(for_s):
            self.now_s += 1
            if self.watch.is_overdue(
                CONFIG,
                self.now_s,
                phase,
                step=phase * 1_000_000 + second * steps_per_s,
                request=request,
                moved_bytes=first_bytes + int(rate * second),
            ):
                return second + 1
        return None


@pytest.mark.parametrize(
    ("phase", "limit_s"),
    [
        (Phase.FRESH, 10),
        (Phase.IDLE, 75),
        (Phase.HEAD, 10),
        (Phase.BODY, 10),
        (Phase.STORE, 300),
        (Phase.ANSWER, 60),
        (Phase.LINGER, 2),
    ],
)
def test_standing_still_is_over_at_the_limit_and_at_most_a_sweep_late(
    phase: Phase, limit_s: int
) -> None:
    after_s = Sweeps().overdue_after_s(phase, for_s=1_000)

    assert after_s is not None
    assert limit_s <= after_s <= limit_s + 1


def test_a_head_is_not_prolonged_by_bytes() -> None:
    assert Sweeps().overdue_after_s(Phase.HEAD, for_s=20, rate=10_000) == 11


def test_a_store_that_moves_on_is_never_late() -> None:
    assert Sweeps().overdue_after_s(Phase.STORE, for_s=2_000, steps_per_s=1) is None


@pytest.mark.parametrize("phase", [Phase.BODY, Phase.ANSWER])
def test_a_client_at_the_minimum_rate_is_never_late(phase: Phase) -> None:
    assert Sweeps().overdue_after_s(phase, for_s=2_000, rate=1_001, steps_per_s=2) is None


@pytest.mark.parametrize("phase", [Phase.BODY, Phase.ANSWER])
@pytest.mark.parametrize("rate", [1, 999])
def test_a_client_that_drips_is_late_however_often_it_wakes_the_store(
    phase: Phase, rate: int
) -> None:
    assert Sweeps().overdue_after_s(phase, for_s=100, rate=rate, steps_per_s=2) is not None


def test_what_was_fast_before_does_not_excuse_a_stall() -> None:
    sweeps = Sweeps()
    assert sweeps.overdue_after_s(Phase.BODY, for_s=5, rate=1e9) is None

    after_s = sweeps.overdue_after_s(Phase.BODY, for_s=100, first_bytes=4_000_000_000)

    assert after_s is not None
    assert after_s <= 17


def test_time_in_which_the_store_was_waited_for_does_not_count() -> None:
    sweeps = Sweeps()
    for _ in range(50):
        assert sweeps.overdue_after_s(Phase.BODY, for_s=1) is None
        assert sweeps.overdue_after_s(Phase.STORE, for_s=200, steps_per_s=1) is None
        if sweeps.watch.is_overdue(
            CONFIG, sweeps.now_s + 1, Phase.BODY, step=0, request=1, moved_bytes=0
        ):
            pytest.fail("a patient client was thrown out")
        sweeps.watch = Watch(sweeps.now_s)


def test_every_request_has_a_patience_of_its_own() -> None:
    sweeps = Sweeps()
    for request in range(20):
        assert sweeps.overdue_after_s(Phase.BODY, for_s=9, request=request) is None


@pytest.mark.parametrize("phase", list(Phase))
def test_a_process_that_had_no_time_blames_nobody(phase: Phase) -> None:
    watch = Watch(0.0)

    overdue = [
        watch.is_overdue(CONFIG, now_s, phase, step=1, request=1, moved_bytes=0)
        for now_s in (1.0, 1_000_000.0)
    ]

    assert overdue == [False, phase is Phase.LINGER]
