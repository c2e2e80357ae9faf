"""The row of the gateway's memory while many large uploads run at once.

The uploads are real and each has bytes of its own, so the disk must hold three copies of all of
them; their size is therefore a parameter, and the row names it. Memory that is bounded reaches its
peak within the first chunks of every upload. The row is judged only when uploads are long enough
to show that (FULL_BYTES, 16 chunks each) and the peak of the run's second half is no more than a
quarter above that of the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final

from bench import progress
from bench.bare import running_bare
from bench.cluster import running_cluster
from bench.deadline import Deadline
from bench.failure import RowFailed
from bench.memory import INTERVAL_S, MemorySampler
from bench.payload import Payload
from bench.plan import MIB, REPLICAS, Plan, size_words
from bench.rows import Measured
from bench.scratch import require_room
from bench.uploads import STRIDE_BYTES, payload_bytes, run_uploads, stored_digest

FULL_BYTES: Final = 64 * MIB
FULL_COUNT: Final = 64
_GROWTH_MAX: Final = 1.25


def gateway_memory(plan: Plan, deadline: Deadline) -> list[Measured]:
    """Peak RssAnon of the gateway, in MiB; the limit is a bare server that discards the same."""
    count, size_bytes = plan.upload_count, plan.upload_bytes
    what = f"{count} uploads of {size_words(size_bytes)} in {REPLICAS} copies"
    require_room(plan.folder, count * size_bytes * REPLICAS, what)
    with closing(Payload(payload_bytes(count, size_bytes))) as payload:
        with running_bare(plan.folder, deadline) as bare:
            limit, _ = _peak(plan, payload, bare.port, lambda: [bare.pid], deadline)
        with running_cluster(plan, deadline) as cluster:
            gateways = cluster.gateways()
            if not gateways:
                raise RowFailed("no gateway process was found among the children of serve")
            idle = MemorySampler(lambda: gateways)
            idle.sample()
            progress.say(f"cluster: {what}")
            peak, answers = _peak(plan, payload, cluster.port, lambda: gateways, deadline)
        _check(payload, answers, size_bytes)
    first, second = peak.halves_bytes()
    long_enough = size_bytes >= FULL_BYTES and count >= FULL_COUNT
    note = (
        f"idle {idle.peak_bytes / MIB:.0f} MiB; peak in the first half of the uploads "
        f"{first / MIB:.0f} MiB, in the second {second / MIB:.0f} MiB; all digests right"
    )
    return [
        Measured(
            peak.peak_bytes / MIB,
            limit.peak_bytes / MIB,
            full_scale=long_enough and second <= _GROWTH_MAX * first,
            note=note,
        )
    ]


def _peak(
    plan: Plan,
    payload: Payload,
    port: int,
    pids: Callable[[], Sequence[int]],
    deadline: Deadline,
) -> tuple[MemorySampler, list[bytes]]:
    sampler = MemorySampler(pids)
    answers = run_uploads(
        port,
        payload,
        plan.upload_count,
        plan.upload_bytes,
        deadline,
        watch=sampler.sample,
        interval_s=INTERVAL_S,
    )
    return sampler, answers


def _check(payload: Payload, answers: Sequence[bytes], size_bytes: int) -> None:
    """RowFailed unless every upload was acknowledged under the digest of what was sent."""
    for number, answer in enumerate(answers):
        expected = payload.digest("blake3", number * STRIDE_BYTES, size_bytes)
        if stored_digest(answer) != expected:
            raise RowFailed(f"upload {number} was stored under a digest that is not its own")
