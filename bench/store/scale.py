"""How much a run of the store's bench measures.  Figures name these numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.plan import KIB, MIB

TOTAL_S: Final = 585.0
FULL_RECORDS: Final = 1_000_000
FULL_SEGMENT_BYTES: Final = 64 * MIB

WRITERS: Final = (1, 16, 64, 256)
AMPLIFICATION_WRITERS: Final = (1, 16, 64)
LARGER_BYTES: Final = (16 * KIB, 65 * KIB, MIB, 4 * MIB)
CHUNK_WRITERS: Final = 8


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes and counts.

    pairs: comparisons for each figure.  frames: of a page store that is written over and read.
    put_seconds: at most, of one load of puts, which has put_records_max records.  get_records: in a
    store of which get_reads are read.  lone_puts, small_puts: for write amplification, by one and
    by more writers.  larger_bytes: stored for each larger size.  churn_records: live ones, of which
    each is replaced churn_turns times.  segment_bytes: of the log where compaction is measured,
    compaction_segments: filled there.  latency_seconds: of puts without compaction.  chunks: for
    each pair.  records: in the store that is opened, open_rounds times.  tail_records: since its
    last checkpoint.  round_records_max: put into it at most until it has made two checkpoints.
    """

    pairs: int = 3
    frames: int = 128
    put_seconds: float = 1.0
    put_records_max: int = 20_000
    get_records: int = 20_000
    get_reads: int = 2_000
    lone_puts: int = 5_000
    small_puts: int = 20_000
    larger_bytes: int = 64 * MIB
    churn_records: int = 24_000
    churn_turns: int = 3
    churn_segment_bytes: int = 2 * MIB
    segment_bytes: int = FULL_SEGMENT_BYTES
    compaction_segments: int = 3
    latency_seconds: float = 3.0
    chunks: int = 32
    records: int = FULL_RECORDS
    open_rounds: int = 3
    tail_records: int = 100_000
    round_records_max: int = 600_000


QUICK: Final = Scale(
    pairs=1,
    frames=32,
    put_seconds=0.3,
    put_records_max=4_000,
    get_records=4_000,
    get_reads=500,
    lone_puts=1_000,
    small_puts=4_000,
    larger_bytes=16 * MIB,
    churn_records=3_000,
    churn_turns=2,
    churn_segment_bytes=512 * KIB,
    segment_bytes=8 * MIB,
    compaction_segments=2,
    latency_seconds=1.0,
    chunks=16,
    records=20_000,
    open_rounds=1,
    tail_records=4_000,
    round_records_max=300_000,
)
