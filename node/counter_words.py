"""What a node's counters count, for the help texts of its metrics."""

from __future__ import annotations

from typing import Final

COUNTER_WORDS: Final = {
    "bury_total": "Deletes that were written",
    "chunks_collected_total": "Chunks removed because no blob needed them",
    "get_total": "Values and states that were asked for",
    "index_damaged_total": "Times that the index was found damaged",
    "index_mended_total": "Times that the index was made anew",
    "mistakes_total": "Parts of the background work that failed for a mistake of ours",
    "put_bytes_total": "Bytes of values that were put",
    "put_total": "Values that were put",
    "quarantined_total": "Copies found bad and put aside since the store was opened",
    "repair_bad_sources_total": "Copies sent by other nodes that were bad, and so not taken",
    "repair_comparisons_failed_total": "Comparisons with another node that were broken off",
    "repair_comparisons_total": "Comparisons with another node",
    "repair_copied_bytes_total": "Bytes fetched from other nodes, verified",
    "repair_copied_total": "Copies fetched from other nodes, verified",
    "repair_differences_total": "Records on which comparisons found nodes to differ",
    "repair_failures_total": "Batches and rounds of repair that ended early",
    "repair_handed_over_total": "Copies kept for others and dropped when all owners had theirs",
    "repair_hints_sent_total": "Records that other nodes were told to look at",
    "repair_incomplete_recipes_total": "Large blobs not passed on because chunks were missing",
    "repair_left_to_collector_total": "Chunks not fetched because no blob needs them",
    "repair_no_good_copy_total": "Times that no node that answered had a good copy of a record",
    "repair_queue_overflow_total": "Records that found no room in the queue of repair",
    "repair_rounds_total": "Rounds of comparisons with all other nodes",
    "repair_states_total": "Puts, deletes and claims learnt from other nodes, without bytes",
    "reported_copies_quarantined_total": "Bad copies that a gateway or another node reported",
    "scrub_bad_copies_total": "Bad copies that the scrub found",
    "scrub_blob_bytes_total": "Bytes of large blobs that were hashed as wholes",
    "scrub_blobs_good_total": "Large blobs that were hashed as wholes and are what they should be",
    "scrub_blobs_unknown_total": "Large blobs that could not be hashed for want of a chunk",
    "scrub_blobs_wrong_total": "Large blobs found not to be what their digests say",
    "scrub_bytes_total": "Bytes of copies that the scrub read again",
    "scrub_copies_total": "Copies that the scrub read again",
    "scrub_given_up_total": "Copies that could not be read and were given up",
    "scrub_laps_asked_total": "Times that somebody asked for a scrub of everything",
    "scrub_laps_done_total": "Those of them that are over",
    "scrub_missing_copies_total": "Copies that the scrub found to be gone",
    "scrub_unreadable_total": "Times that a copy could not be read",
    "trash_discarded_bytes_total": "Deleted bytes whose room was taken back",
}

FIGURE_WORDS: Final = {
    "made_up_for": "Nodes that are silent for so long that others make up for them",
    "repair_kept_for_others": "Records kept here for owners that lack them",
    "repair_queue": "Records that wait to be looked at",
    "repair_troubles": "Records whose last repair failed",
    "reserve_bytes": "Room below which deleted bytes go before their time",
    "scrub_bytes_left": "Bytes that the scrub somebody asked for has still to read",
    "scrub_unreadable": "Copies that cannot be read at the moment",
    "scrub_wrong_recipes": "Large blobs known not to be what their digests say",
}


def words_of(counter: str) -> str:
    """A help text."""
    return COUNTER_WORDS.get(counter) or counter.removesuffix("_total").replace("_", " ")
