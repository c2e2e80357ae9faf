"""Settings of the calls that a gateway makes to nodes: deadlines in seconds, bounds, patience."""

from __future__ import annotations

from dataclasses import dataclass

from ring.errors import BadRequest


@dataclass(frozen=True, slots=True)
class CallSettings:
    """Every wait of a gateway on a node.

    read_timeout_s: one question or value.  write_timeout_s: one durable write.
    bulk_timeout_s: one value of up to CHUNK_BYTES, either way.
    write_patience_s: after this long without an answer, a spare joins a write.
    hedge_floor_s: a read is never hedged earlier than this.  chunk_patience_s: after this long
        without a chunk, a second node is asked for it.
    list_patience_s: a page of a listing waits so long for each silent node, once.
    stragglers_max: acknowledged writes still under way, before others wait for a place.
    straggler_patience_s: how long they wait.
    recheck_s: who waits for a slow node because no extra question may be asked looks so often
        whether it may by now.
    chunks_in_flight_max: chunks of large blobs in memory, each CHUNK_BYTES, one bound for uploads
        and one for downloads.
    uploads_max: large uploads at once; each needs a chunk of memory to make progress.
    read_ahead_chunks: how far one download runs ahead of its client.
    """

    read_timeout_s: float = 4.0
    write_timeout_s: float = 10.0
    bulk_timeout_s: float = 30.0
    write_patience_s: float = 1.0
    hedge_floor_s: float = 0.01
    chunk_patience_s: float = 0.5
    list_patience_s: float = 0.5
    stragglers_max: int = 256
    straggler_patience_s: float = 0.25
    recheck_s: float = 0.1
    chunks_in_flight_max: int = 96
    uploads_max: int = 64
    read_ahead_chunks: int = 4

    def __post_init__(self) -> None:
        if self.uploads_max >= self.chunks_in_flight_max:
            raise BadRequest("uploads_max must stay below chunks_in_flight_max")
