"""What strangers can cause does not fill a log."""

from __future__ import annotations

from structlog.testing import capture_logs

from node.bounded_log import BoundedLog


def test_lines_beyond_the_bound_are_counted_and_told_of_later() -> None:
    now_s = 0.0
    bounded = BoundedLog(lambda: now_s, lines_max=2, period_s=10.0)
    with capture_logs() as lines:
        for number in range(5):
            bounded.warning("refused", number=number)
        now_s = 10.0
        bounded.warning("refused", number=5)

    assert [line.get("number") for line in lines] == [0, 1, None, 5]
    assert lines[2]["count"] == 3
