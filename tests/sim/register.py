"""The cluster's promise about one digest: a register that is present or absent.

A read is judged when it ends, against every write that had begun by then.  Two judgements:

1.  In the clients' terms.  An acknowledged put, followed by no delete that could come after it, is
    there; after an acknowledged delete, and until somebody puts again, the blob is not.  A write
    without an acknowledgement may take effect at any time after it began, also never.  Reads that
    too few nodes answered (`confirmed` is false) may have missed a delete, and say so.
2.  In generations, which is stricter where writes are pending or concurrent: no confirmed read
    returns a generation at or below that of a delete acknowledged before it began, and no read
    misses a generation that was acknowledged before it began and that no tombstone ever sent
    reaches.

Reads of unacknowledged writes may flicker: nobody promised that they are seen once or never.
"""

from __future__ import annotations

import sys

from ring.digest import Digest
from tests.sim.history import History, Kind, Operation, Verdict


def faults_of(history: History, read: Operation, digest: Digest, verdict: Verdict) -> list[str]:
    """What is wrong with a read (or listing) that just ended with `verdict` for `digest`."""
    puts = history.of(Kind.PUT, digest)
    deletes = history.of(Kind.DELETE, digest)
    if verdict is Verdict.PRESENT:
        return _present(read, puts, deletes)
    if verdict is Verdict.ABSENT:
        return _absent(read, puts, deletes)
    return []


def is_promised(history: History, digest: Digest) -> bool:
    """Whether a read that began now would be wrong to say that the blob is absent."""
    read = Operation(0, Kind.GET, digest, began=sys.maxsize)
    return bool(faults_of(history, read, digest, Verdict.ABSENT))


def _present(read: Operation, puts: list[Operation], deletes: list[Operation]) -> list[str]:
    if not puts:
        return ["it is there, and nobody ever put it"]
    if not read.confirmed:
        return []
    done = [delete for delete in deletes if delete.acked and delete.ended < read.began]
    found = []
    if all(_is_over(put, done) for put in puts):
        found.append("it is there, and every put was followed by an acknowledged delete")
    for delete in done:
        if read.generation and delete.bury_generations:
            buried = delete.bury_generations[-1]
            if read.generation <= buried:
                found.append(
                    f"generation {read.generation} is served, and delete {delete.number} of"
                    f" generation {buried} was acknowledged before"
                )
    return found


def _is_over(put: Operation, done: list[Operation]) -> bool:
    """Whether a put can no longer be in effect: acknowledged, and then deleted."""
    return put.acked and any(delete.began > put.ended for delete in done)


def _absent(read: Operation, puts: list[Operation], deletes: list[Operation]) -> list[str]:
    acked = [put for put in puts if put.acked and put.ended < read.began]
    buried = max((g for delete in deletes for g in delete.bury_generations), default=0)
    found = []
    for put in acked:
        if all(delete.acked and delete.ended < put.began for delete in deletes):
            found.append(f"it is absent, and put {put.number} was acknowledged after every delete")
        if put.put_generations and put.put_generations[-1] > buried:
            found.append(
                f"it is absent, and put {put.number} was acknowledged at generation"
                f" {put.put_generations[-1]}, above every tombstone ({buried})"
            )
    return found
