"""The page record store: a log of small values and rows, extents for large values.

    log/<number>.seg     batches: rows, and values of up to 64 KiB, appended and never changed
    bulk/<number>.seg    extents: one value of more than 64 KiB each
    index/               a checkpoint of the table (node/index)
    quarantine/          copies found bad, as plain files; never removed by a node

From the inside out:

    segment_head, batch, extent     what stands on disk, byte for byte; no I/O
    segment_files                   names, creating, open handles, removing
    batch_reader, log_recovery      reading the log back
    log_tail                        the end of the log: room ahead, the next segment, the reserve
    record_log                      group commit; the Ledger of the store
    bulk_writer                     extents
    page_values                     the Values of the store
    segment_scan                    what segments say by themselves
    key_mover, compaction           freeing segments that are mostly dead
    victim_choice, upkeep           which ones, and when to do what in the background
    page_store                      the store
    inspection                      rebuild and check of a store that nobody has open

Invariants, that tests hold:

1.  The log is the truth.  Table and index are what replaying it gives, exactly; a location in a
    row is the place that the last batch of its key names.
2.  A batch is written once, with its rows and its small values, and acknowledged after one data
    sync.  The next batch of the log is written only after that sync, so that a batch that does not
    check and has a later one behind it is damage, and any other is a torn write nobody was told of.
3.  After a write or sync that failed the segment is never written or synced again.  The next one
    says where the log really ended, and what stands behind that place is no part of the log.
4.  A checksum covers the store, the segment, the offset and the batch before it: bytes that were
    written elsewhere, or for another turn of the same place, are never taken for a batch.
5.  An extent is durable, and so is its file's name, before a batch refers to it.
6.  Nothing in a segment is written over, except zeros ahead of the log's end and the last batch at
    a start, by itself: what was read back may not be on the medium.
7.  A log segment goes when every key that it speaks of was written anew and a checkpoint covers
    the place where it ended; a bulk segment when no location is in it and none is about to be.  A
    damaged log segment goes when every key that may hang on it was (node/recordlog/compaction.py).
"""
