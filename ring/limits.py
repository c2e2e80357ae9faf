"""Numbers that two processes must agree on, with their units and their relations.

A number belongs here when two processes that disagree about it would lose or misread data.
Timeouts and cache sizes are configuration of one process and live with it.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# Part of the format, never configuration: the chunks of a large blob are cut at this size.
CHUNK_BYTES: Final = 4 * MIB

# A recipe is a record too, so it bounds the largest blob (about 512 GiB).
RECIPE_CHUNKS_MAX: Final = 131_000
BLOB_BYTES_MAX: Final = RECIPE_CHUNKS_MAX * CHUNK_BYTES

# 12 leading bits of a digest's raw bytes.  Garage took 256 (idle nodes appear from about 100 nodes
# on), Swift lets operators choose and many chose wrong; 4,096 keeps 100 nodes within 1 %.
PARTITION_BITS: Final = 12
PARTITIONS: Final = 1 << PARTITION_BITS

REPLICAS_MAX: Final = 7
SPARES_MAX: Final = 2
MEMBERS_MAX: Final = 256
LAYOUTS_LIVE_MAX: Final = 2

# Frames of the node protocol.
ENVELOPE_BYTES_MAX: Final = 1 * MIB
PAYLOAD_BYTES_MAX: Final = CHUNK_BYTES
PAYLOAD_SMALL_BYTES_MAX: Final = 64 * KIB  # larger ones travel on the bulk connection
KEYS_PER_REQUEST_MAX: Final = 4_096
LIST_ENTRIES_MAX: Final = 1_000

# A generation counts deletes of one digest; 2^48 never happen, so a larger one is an attack.
GENERATION_MAX: Final = 1 << 48

DIGEST_KEY_BYTES_MAX: Final = 66  # space byte, algorithm byte, 64 raw bytes
RECIPE_HEADER_BYTES_MAX: Final = 256

assert RECIPE_CHUNKS_MAX * 32 + RECIPE_HEADER_BYTES_MAX <= CHUNK_BYTES
assert PAYLOAD_SMALL_BYTES_MAX < PAYLOAD_BYTES_MAX
assert KEYS_PER_REQUEST_MAX * (DIGEST_KEY_BYTES_MAX + 64) <= ENVELOPE_BYTES_MAX
assert LIST_ENTRIES_MAX * 256 <= ENVELOPE_BYTES_MAX
