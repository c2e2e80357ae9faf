"""The planted bugs of the cluster; see tests/mutants/mutant.py."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

SIM: Final = ("--seeds", "60")
RING: Final = (
    "tests/ring/test_quorum.py",
    "tests/ring/test_cover.py",
    "tests/ring/test_read_plan.py",
)
STORES: Final = ("tests/conformance/test_record_store.py",)
CRASHES: Final = ("tests/node/test_file_store_crashes.py",)

CLUSTER_MUTANTS: Final = (
    Mutant(
        "no sync of the directory before the ack",
        "node/file_values.py",
        "        await self._sync(directory)\n\n    def write_now(",
        "\n    def write_now(",
        CRASHES,
    ),
    Mutant(
        "a node that keeps bytes does not hash them",
        "node/value_check.py",
        "        if len(value) > CHUNK_BYTES:\n",
        "        return\n        if len(value) > CHUNK_BYTES:\n",
        STORES,
    ),
    Mutant(
        "a gateway serves bytes without hashing them",
        "gateway/hashing.py",
        "        if kind is RecordKind.RECIPE:\n            return is_recipe_of(digest, value)\n",
        "        return True\n",
        ("tests/gateway/test_get.py", "tests/gateway/test_large_blob_faults.py"),
    ),
    Mutant(
        "ack at W-1",
        "ring/quorum.py",
        "_members(self.spares, nodes) >= self.write_quorum\n",
        "_members(self.spares, nodes) >= self.write_quorum - 1\n",
        RING,
    ),
    Mutant(
        "receivers count",
        "gateway/cluster.py",
        "        return self.is_current(answer) and answer.voter\n",
        "        return self.is_current(answer)\n",
        ("tests/gateway/test_lives.py", "tests/gateway/test_put.py"),
    ),
    Mutant(
        "a miss without a cover",
        "ring/read_plan.py",
        "    Outcome.FAILED: Verdict.UNAVAILABLE,\n",
        "    Outcome.FAILED: Verdict.MISS,\n",
        RING,
    ),
    Mutant(
        "a spare's no leaves the owners' noes standing",
        "ring/cover.py",
        "            self._denied_by_spare = True\n",
        "            pass\n",
        RING,
    ),
    Mutant(
        "a put ignores the dead generation",
        "ring/admission.py",
        "        return not is_live(root) or generation_of(root) > generation\n",
        "        return is_live(root) and generation_of(root) > generation\n",
        ("tests/ring/test_admission.py",),
    ),
    Mutant(
        "a put ignores the floor",
        "ring/admission.py",
        "    return generation <= floor\n",
        "    return False\n",
        ("tests/ring/test_admission.py",),
    ),
    Mutant(
        "acks across generations count",
        "gateway/record_writer.py",
        "        if generation and reply.root != live(generation):\n            self._quorum",
        "        if generation and reply.root < live(generation):\n            self._quorum",
        SIM,
    ),
    Mutant(
        "a delete asks one node",
        "gateway/burial.py",
        "        while cover.outcome is Standing.PENDING:\n",
        "        while not self._answers and cover.outcome is Standing.PENDING:\n",
        SIM,
    ),
    Mutant(
        "answers of a life that is over count",
        "ring/life.py",
        "            return self.incarnation < known.incarnation\n"
        "        if self.boot != known.boot:\n"
        "            return self.boot < known.boot\n        return self.nonce != known.nonce\n",
        "            return False\n        return False\n",
        ("tests/ring/test_life.py", "tests/node/test_membership.py"),
    ),
    Mutant(
        "a new node votes in the life in which it began",
        "node/membership.py",
        "            marker = next_boot(self.marker) if self.marker.is_newborn else self.marker\n",
        "            marker = self.marker\n",
        ("tests/node/test_membership.py",),
    ),
    Mutant(
        "a spare of one live layout stands in for an owner of both",
        "ring/write_quorum.py",
        " and wanted and (used < wanted or self._needs_more(targets)):\n",
        " and used < wanted:\n",
        ("tests/ring/test_write_quorum.py",),
    ),
    Mutant(
        "half of an even number of owners keep a delete",
        "gateway/burial.py",
        "        self._cover = Cover(placement, must_last=self._is_write)\n",
        "        self._cover = Cover(placement)\n",
        ("tests/gateway/test_delete.py",),
    ),
    Mutant(
        "one full node makes the cluster full",
        "gateway/record_writer.py",
        "        if not placement.is_ack_set(rest):\n",
        "        if full:\n",
        ("tests/gateway/test_put.py",),
    ),
    Mutant(
        "a wiped node votes at once",
        "node/standing.py",
        "        marker = Marker(cluster_id, node, incarnation, 1, NO_PARTITIONS)\n",
        "        marker = Marker(cluster_id, node, incarnation, 1, ALL_PARTITIONS)\n",
        ("tests/node/test_standing.py", "tests/node/test_rejoin.py"),
    ),
    Mutant(
        "a recipe's checksum does not cover its digest",
        "ring/recipe.py",
        "    return blake3(blob.key + body).digest()\n",
        "    return blake3(body).digest()\n",
        ("tests/ring/test_recipe.py",),
    ),
    Mutant(
        "a node votes with a store that lost its state",
        "node/service.py",
        "        if marker is not None and marker.voting != NO_PARTITIONS:\n",
        "        if False:\n",
        ("tests/node/test_lost_state.py",),
    ),
    Mutant(
        "the end of a large blob is not held back until it matches",
        "gateway/blob_reader.py",
        "        if raw != self._blob.raw:\n",
        "        if False:\n",
        ("tests/gateway/test_large_blob_faults.py",),
    ),
    Mutant(
        "a bad copy stays where it is",
        "node/record_keeper.py",
        "self._copies.set_aside(key, before)\n            return CopyVerdict.QUARANTINED\n",
        "asyncio.sleep(0)\n            return CopyVerdict.QUARANTINED\n",
        STORES,
    ),
    Mutant(
        "a delete takes chunks that a recipe claims",
        "ring/admission.py",
        "    if state.claimed:\n        return replace(state, root=root)\n",
        "    if state.claimed and not state.held:\n        return replace(state, root=root)\n",
        ("tests/ring/test_admission.py",),
    ),
)
