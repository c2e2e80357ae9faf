"""The report: one line for each fault, in words that say what was counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.trouble.experiment import Phase, Result

SUCCESS_MIN: Final = 0.999
P99_FACTOR_MAX: Final = 3.0
GOOD_AFTER_FLOOD_MIN: Final = 0.9

REFUSALS: Final = ("0", "408", "429", "503")
"""Statuses that say nothing of a blob; 0 is no answer in time."""

_HEAD: Final = (
    f"{'node 1 is':34} {'p99 before':>10} | {'first 5 s: good':>15} {'p99':>7} | "
    f"{'then: good':>10} {'p99':>7} {'x before':>8} | {'after: good':>11} {'p99':>7} | "
    f"{'noticed':>7} {'back':>7} | P12"
)


def as_text(results: Sequence[Result], title: str) -> str:
    """The table, and below it every kind of failure that there was."""
    lines = [title, "", _HEAD, "-" * len(_HEAD)]
    lines += [_line(result) for result in results]
    for result in results:
        for name in ("before", "first", "during", "after"):
            failures = getattr(result, name).failures
            if failures:
                words = ", ".join(f"{count} x {what}" for what, count in failures.items())
                lines.append(f"{result.fault.key}, {name}: {words} (0: no answer in 15 s)")
        if result.refused:
            lines.append(f"{result.fault.key}: {result.refused} requests were not sent")
    return "\n".join(lines)


def _line(result: Result) -> str:
    return (
        f"{result.fault.words:34} {_ms(result.before):>10} | "
        f"{_share(result.first):>15} {_ms(result.first):>7} | "
        f"{_share(result.during):>10} {_ms(result.during):>7} {factor(result):>8.1f} | "
        f"{_share(result.after):>11} {_ms(result.after):>7} | "
        f"{_seconds(result.noticed_s):>7} {_seconds(result.back_s):>7} | "
        f"{'kept' if is_kept(result) else 'BROKEN'}"
    )


def factor(result: Result) -> float:
    """How many times as long the p99 is, from the fifth second of the fault on."""
    return result.during.p99_s / max(result.before.p99_s, 1e-6)


def is_kept(result: Result) -> bool:
    """Promise P12: counted over the whole fault, times from its fifth second on.

    Of an overload: that everybody hears something, be it a refusal, and that it leaves nothing
    behind: requests that come right after it are answered.
    """
    if result.fault.is_overload:
        failures = (*result.first.failures, *result.during.failures)
        heard = not any(what.endswith(" 0") for what in failures)
        is_over = result.after.success >= GOOD_AFTER_FLOOD_MIN
        return heard and is_over and not wrong_answers(result)
    first, during = result.first, result.during
    success = (first.good + during.good) / max(1, first.requests + during.requests)
    return success >= SUCCESS_MIN and factor(result) <= P99_FACTOR_MAX and not result.refused


def wrong_answers(result: Result) -> int:
    """Those that were no refusal: bytes of another blob, or 404 for one that is there."""
    phases = (result.before, result.first, result.during, result.after)
    return sum(
        count
        for phase in phases
        for what, count in phase.failures.items()
        if what.rsplit(" ", 1)[1] not in REFUSALS
    )


def _ms(phase: Phase) -> str:
    return f"{phase.p99_s * 1000:.0f} ms"


def _share(phase: Phase) -> str:
    return f"{100 * phase.success:.2f}%"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
