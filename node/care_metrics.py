"""The ledger of a node and its background work as metric families.

The ledgers of all nodes add up: each partition is counted by the node that leads it.
"""

from __future__ import annotations

from prometheus_client.core import GaugeMetricFamily, Metric

from node.counter_words import FIGURE_WORDS
from ring.operating import COPIES_TOLD, CareReply

_NAMES = (*map(str, range(COPIES_TOLD - 1)), "more")


def care_families(care: CareReply) -> list[Metric]:
    """Gauges; those of the ledger only while there is one."""
    figures = dict(care.figures)
    families: list[Metric] = [
        GaugeMetricFamily(f"holdfast_node_{name}", words, value=figures[name])
        for name, words in FIGURE_WORDS.items()
        if name in figures
    ]
    ledger = care.ledger
    if ledger is None:
        return families
    digests = GaugeMetricFamily(
        "holdfast_node_led_digests",
        "Digests of the partitions that this node leads, by verified copies",
        labels=("copies",),
    )
    for name, value in zip(_NAMES, ledger.copies, strict=True):
        digests.add_metric((name,), value)
    led = sum(byte.bit_count() for byte in ledger.led)
    gauges = {
        "led_partitions": ("Partitions that this node counts", led),
        "led_digests_short": ("Digests with fewer copies than they should have", ledger.short),
        "led_differences": ("Differences that are still to be looked at", ledger.unsettled),
        "led_waiting_bytes": ("Bytes of copies known to be missing", ledger.waiting_bytes),
        "oldest_verified_timestamp_seconds": (
            "No copy here was last verified before",
            ledger.oldest_verified_s,
        ),
    }
    return [
        *families,
        digests,
        *(
            GaugeMetricFamily(f"holdfast_node_{name}", words, value=value)
            for name, (words, value) in gauges.items()
        ),
    ]
