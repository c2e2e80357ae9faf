"""The rows that a run can print, with their budgets and with what measures them.

The budgets are those of docs/ARCHITECTURE.md: shares of a limit of the same run where speed is
meant, because a machine's own speed says nothing, and amounts where time and memory are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.deadline import Deadline
from bench.gateway_memory import gateway_memory
from bench.large import get_large, put_large_blake3, put_large_sha256
from bench.plan import CONNECTIONS, REPLICAS, SMALL_BYTES, Plan, size_words
from bench.rows import Measured, Rule, Spec
from bench.small import get_small, put_small
from bench.start import node_start


@dataclass(frozen=True, slots=True)
class Experiment:
    """Rows that are measured together; `run` returns one figure for each of `specs`, in order."""

    key: str
    specs: tuple[Spec, ...]
    run: Callable[[Plan, Deadline], list[Measured]]


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """All experiments in the order of the report; the names of rows say what `plan` makes them."""
    given = " ".join(plan.serve_arguments)
    suffix = f" [{given}]" if given else ""
    small, large = size_words(SMALL_BYTES), size_words(plan.large_bytes)
    start = f"node start with {plan.start_blobs:,} blobs{suffix}"
    uploads = f"{plan.upload_count} uploads of {size_words(plan.upload_bytes)}"

    def share(key: str, name: str, unit: str, budget: float, *, due: bool) -> tuple[Spec]:
        return (Spec(key, name + suffix, unit, Rule.SHARE_AT_LEAST, budget, due),)

    put_1k = share(
        "put-1k",
        f"durable PUT {small}, N={REPLICAS}, W=2, fsync, {CONNECTIONS} connections",
        "requests/s",
        0.32,
        due=True,
    )
    get_1k = share(
        "get-1k", f"GET {small}, {CONNECTIONS} connections", "requests/s", 0.55, due=True
    )
    put_blake3 = share(
        "put-1g-blake3", f"PUT {large}, N={REPLICAS}, BLAKE3", "MB/s", 0.20, due=True
    )
    put_sha256 = share(
        "put-1g-sha256", f"PUT {large}, N={REPLICAS}, SHA-256", "MB/s", 0.16, due=True
    )
    get_1g = share("get-1g", f"GET {large}", "MB/s", 0.35, due=True)
    starts = (
        Spec("node-start", f"{start}: time until ready", "s", Rule.AT_MOST, 2, due=True),
        Spec("node-start", f"{start}: peak RssAnon", "MiB", Rule.AT_MOST, 250, due=True),
    )
    memory = (
        Spec(
            "gateway-memory",
            f"gateway memory while {uploads} run: peak RssAnon{suffix}",
            "MiB",
            Rule.AT_MOST,
            1024,
            due=True,
        ),
    )
    return (
        Experiment("put-1k", put_1k, put_small),
        Experiment("get-1k", get_1k, get_small),
        Experiment("put-1g-blake3", put_blake3, put_large_blake3),
        Experiment("put-1g-sha256", put_sha256, put_large_sha256),
        Experiment("get-1g", get_1g, get_large),
        Experiment("node-start", starts, node_start),
        Experiment("gateway-memory", memory, gateway_memory),
    )
