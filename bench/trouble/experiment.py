"""One fault under load: before, at first, afterwards, and when the node is back."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp

from bench.trouble.cluster import PORT
from bench.trouble.faults import Fault, Place
from bench.trouble.load import Done, Load

FIRST_S: Final = 5.0
_WATCH_S: Final = 0.1
_CALM_S: Final = 2.0
_GAUGE: Final = 'holdfast_gateway_node_in_doubt{node="node-1"'


@dataclass(frozen=True, slots=True)
class Timing:
    """Lengths in seconds."""

    before_s: float = 10.0
    during_s: float = 20.0
    after_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Phase:
    """Requests that were due in one phase: how many, how many went well, quantiles in seconds."""

    requests: int
    good: int
    p50_s: float
    p99_s: float
    worst_s: float
    failures: dict[str, int]

    @property
    def success(self) -> float:
        """Share of requests that were answered as they had to be."""
        return self.good / self.requests if self.requests else 1.0


@dataclass(frozen=True, slots=True)
class Result:
    """noticed_s: from the fault until the gateway passed the node over; back_s: from its end until
    it did no more.  None when that was not seen.
    """

    fault: Fault
    before: Phase
    first: Phase
    during: Phase
    after: Phase
    noticed_s: float | None
    back_s: float | None
    refused: int


def phase(done: Sequence[Done]) -> Phase:
    """Sum up requests."""
    times = sorted(one.elapsed_s for one in done) or [0.0]
    failures = Counter(f"{one.kind} {one.status}" for one in done if not one.good)
    good = sum(one.good for one in done)
    return Phase(
        len(done), good, _quantile(times, 0.5), _quantile(times, 0.99), times[-1],
        dict(sorted(failures.items())),
    )


def _quantile(times: Sequence[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))]


class _Watch:
    """Looks at the gateway's own metrics: when it passes the node over."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, bool]] = []

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        url = f"http://127.0.0.1:{PORT}/metrics"
        async with aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    async with session.get(url) as response:
                        text = await response.text()
                    self.seen.append((loop.time(), _GAUGE in text))
                await asyncio.sleep(_WATCH_S)

    def noticed_s(self, begin_s: float, end_s: float) -> float | None:
        """From the fault until the node was first passed over."""
        times = [at_s for at_s, in_doubt in self.seen if in_doubt and begin_s <= at_s < end_s]
        return times[0] - begin_s if times else None

    def back_s(self, end_s: float) -> float | None:
        """From the end of the fault until the node was not passed over for `_CALM_S`."""
        calm_since_s: float | None = None
        for at_s, in_doubt in self.seen:
            if at_s < end_s:
                continue
            if in_doubt:
                calm_since_s = None
            elif calm_since_s is None:
                calm_since_s = at_s
            elif at_s - calm_since_s >= _CALM_S:
                return calm_since_s - end_s
        return None


async def experiment(fault: Fault, place: Place, timing: Timing, load: Load) -> Result:
    """Let it happen; the node is whole again when this returns or raises."""
    loop = asyncio.get_running_loop()
    load.done.clear()
    watch = _Watch()
    watching = loop.create_task(watch.run())
    begin_s = loop.time() + timing.before_s
    end_s = begin_s + timing.during_s
    whole_s = timing.before_s + timing.during_s + timing.after_s
    loading = loop.create_task(load.run(whole_s))
    try:
        await asyncio.sleep(timing.before_s)
        await asyncio.to_thread(fault.begin, place)
        acting = None if fault.during is None else loop.create_task(_act(fault, place))
        try:
            await asyncio.sleep(max(0.0, end_s - loop.time()))
        finally:
            if acting is not None:
                acting.cancel()
                await asyncio.gather(acting, return_exceptions=True)
            await asyncio.to_thread(fault.end, place)
        await loading
        await load.settled()
    finally:
        for task in (watching, loading):
            task.cancel()
        await asyncio.gather(watching, loading, return_exceptions=True)
    done = load.done
    return Result(
        fault,
        before=phase([one for one in done if one.due_s < begin_s]),
        first=phase([one for one in done if begin_s <= one.due_s < begin_s + FIRST_S]),
        during=phase([one for one in done if begin_s + FIRST_S <= one.due_s < end_s]),
        after=phase([one for one in done if one.due_s >= end_s]),
        noticed_s=watch.noticed_s(begin_s, end_s),
        back_s=watch.back_s(end_s),
        refused=load.refused,
    )


async def _act(fault: Fault, place: Place) -> None:
    assert fault.during is not None
    await fault.during(place)
