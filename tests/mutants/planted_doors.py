"""The planted bugs of the file store and of the HTTP door; see tests/mutants/mutant.py."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

NODE: Final = "tests/node/test_"
HTTP: Final = "tests/gateway/http/test_"
JOURNAL: Final = (NODE + "state_journal.py",)
STORE: Final = (NODE + "file_store.py",)
ADOPTION: Final = (NODE + "file_store_adoption.py",)
DAMAGE: Final = (NODE + "file_store_damage.py",)

_FILE_STORE: Final = (
    Mutant(
        "files: what lies across two windows is not seen after damage",
        "node/state_frames.py",
        "                at += max(1, len(window) - len(MAGIC) + 1)\n",
        "                at += max(1, len(window))\n",
        JOURNAL,
    ),
    Mutant(
        "files: the older of two journals that follow a snapshot is gone on with",
        "node/state_recovery.py",
        "        if number >= recovered.snapshot and head.follows == recovered.follows:\n",
        "        if first is None and head.follows == recovered.follows:\n",
        (NODE + "file_store_crashes.py",),
    ),
    Mutant(
        "files: a disk that fails is asked to rewrite everything for each change",
        "node/state_journal.py",
        "        if now < self._renew_at_s:\n"
        '            raise StorageFault("the journal failed and could not be rewritten yet")\n',
        "",
        JOURNAL,
    ),
    Mutant(
        "files: a compaction that failed is begun again with each change",
        "node/state_journal.py",
        "        self._compact_at_bytes = used_bytes + self._compact_bytes_min"
        "  # unless this one succeeds\n",
        "",
        JOURNAL,
    ),
    Mutant(
        "files: what was compacted still counts",
        "node/state_journal.py",
        "            self._older_bytes -= older_bytes\n",
        "",
        JOURNAL,
    ),
    Mutant(
        "files: half a reserve is a reserve",
        "node/room_reserve.py",
        "        if found is not None and found.size_bytes >= RESERVE_BYTES:\n",
        "        if found is not None:\n",
        (NODE + "marker.py",),
    ),
    Mutant(
        "files: a recipe takes the place of the bytes that are there",
        "node/file_sweep.py",
        "                    if recipe is not None and raw not in change.rows:\n",
        "                    if recipe is not None:\n",
        ADOPTION,
    ),
    Mutant(
        "files: a chunk that an adopted recipe names is here",
        "node/file_sweep.py",
        "            if state.held:\n                change.claims",
        "            if not state.claimed:\n                change.claims",
        ADOPTION,
    ),
    Mutant(
        "files: a file longer than any record is adopted",
        "node/file_sweep.py",
        "            if rest is not None and size_bytes <= CHUNK_BYTES:\n",
        "            if rest is not None:\n",
        STORE,
    ),
    Mutant(
        "files: whatever lies among growing files is removed",
        "node/file_sweep.py",
        '                if name.endswith(".tmp"):\n',
        "                if name:\n",
        STORE,
    ),
    Mutant(
        "files: a lock is lost with who gave up when it was handed on",
        "node/key_locks.py",
        "            if turn.done() and not turn.cancelled():\n"
        "                self.release(key)  # it was our turn already\n",
        "",
        (NODE + "store_concurrency.py",),
    ),
    Mutant(
        "files: a file that was cut goes out as it is",
        "node/record_reader.py",
        "        if span is not None and span.size_bytes != length:\n"
        "            span.close()\n"
        "            return None\n",
        "",
        DAMAGE,
    ),
    Mutant(
        "files: what lies in the trash refuses a recipe",
        "node/record_copies.py",
        "        if is_needed and kind is RecordKind.RECIPE and await",
        "        if kind is RecordKind.RECIPE and await",
        ("tests/conformance/test_record_disposal.py",),
    ),
    Mutant(
        "files: nobody hears of a copy that is gone",
        "node/record_copies.py",
        '            self.when_bad(key, "its bytes are gone", True)\n'
        "        row = pack_row(without_value(state))\n"
        "        await self._ledger.commit(RecordChange(rows={key.raw: row}), essential=True)\n"
        "        if self.when_lost is not None:\n"
        "            self.when_lost(key)\n",
        '            self.when_bad(key, "its bytes are gone", True)\n'
        "        row = pack_row(without_value(state))\n"
        "        await self._ledger.commit(RecordChange(rows={key.raw: row}), essential=True)\n",
        DAMAGE,
    ),
    Mutant(
        "files: ordinary changes take the room that is kept for deletes",
        "node/state_journal.py",
        "            await self._append(journal, commits, RESERVE_BYTES)\n",
        "            await self._append(journal, commits, 0)\n",
        JOURNAL,
    ),
    Mutant(
        "files: changes without their snapshot are a store without state",
        "node/state_recovery.py",
        "            if await reader.next() is not None:\n"
        '                raise Corrupt(f"{reader.name} has changes, but its snapshot is'
        ' missing")\n',
        "",
        JOURNAL,
    ),
)

_HTTP: Final = (
    Mutant(
        "door: a target that named its host is remembered for every host",
        "gateway/http/router.py",
        '        if target.startswith("/") and "after" not in parameters:',
        '        if "after" not in parameters:',
        (HTTP + "target.py",),
    ),
    Mutant(
        "door: every target that was ever understood is remembered",
        "gateway/http/router.py",
        "            if len(self._understood) >= _UNDERSTOOD_MAX:\n"
        "                self._understood.clear()\n",
        "",
        (HTTP + "target.py",),
    ),
    Mutant(
        "door: every host that was ever named is remembered",
        "gateway/http/service.py",
        "            if len(self._hosts) >= _HOSTS_REMEMBERED:\n"
        "                self._hosts.clear()\n",
        "",
        (HTTP + "target.py",),
    ),
    Mutant(
        "door: a body of unknown size takes no memory",
        "gateway/http/admission.py",
        "        reserved = CHUNK_BYTES if size_bytes is None else min(size_bytes, CHUNK_BYTES)\n",
        "        reserved = min(size_bytes or 0, CHUNK_BYTES)\n",
        (HTTP + "uploads.py",),
    ),
    Mutant(
        "door: the memory of a post that failed is never free again",
        "gateway/http/blobs.py",
        "                    body, algorithm=algorithm, size_bytes=body.size_bytes\n"
        "                )\n"
        "        finally:\n"
        "            self._admission.free(reserved)\n",
        "                    body, algorithm=algorithm, size_bytes=body.size_bytes\n"
        "                )\n"
        "        except NotFound:\n"
        "            raise\n"
        "        self._admission.free(reserved)\n",
        (HTTP + "uploads.py",),
    ),
    Mutant(
        "door: a reader whose first piece failed stays open",
        "gateway/http/blobs.py",
        "        except BaseException:\n            await reader.close()\n            raise\n",
        "        except BaseException:\n            raise\n",
        (HTTP + "streaming.py",),
    ),
    Mutant(
        "door: the reader of a small answer stays open",
        "gateway/http/blobs.py",
        "        if isinstance(answer, Answer):\n            await reader.close()\n",
        "",
        (HTTP + "blobs.py",),
    ),
    Mutant(
        "door: a 304 that too few nodes confirmed does not say so",
        "gateway/http/blobs.py",
        "    return Answer(304, fields if stat.confirmed else fields + _UNCONFIRMED)\n",
        "    return Answer(304, fields)\n",
        (HTTP + "conditional.py",),
    ),
    Mutant(
        "door: what is written is taken",
        "gateway/http/outbound.py",
        "        return self.sent_bytes - left_bytes\n",
        "        return self.sent_bytes\n",
        (HTTP + "slowness.py",),
    ),
    Mutant(
        "door: a write waits for ever for the body of who went away",
        "gateway/http/inbound.py",
        "        if self._body_is_open():\n"
        '            self._payload.set_exception(ConnectionResetError("the client went away"))\n',
        "",
        (HTTP + "uploads.py",),
    ),
    Mutant(
        "door: pipelined requests that were held back are forgotten",
        "gateway/http/inbound.py",
        '            self.data_received(b"")  # parses what it held back, while still marked'
        " as paused\n",
        "",
        (HTTP + "blobs.py",),
    ),
    Mutant(
        "door: who was turned away keeps a place",
        "gateway/http/connection.py",
        "        self._service.connections -= 1\n",
        "        if self._task is not None:\n            self._service.connections -= 1\n",
        (HTTP + "slowness.py",),
    ),
    Mutant(
        "door: the log is never written again after a flood",
        "gateway/http/server.py",
        "            self._service.refresh()\n",
        "",
        (HTTP + "operators.py",),
    ),
    Mutant(
        "door: a range may end beyond the blob",
        "gateway/http/ranges.py",
        "            stop = size_bytes if self.last is None else min(self.last + 1, size_bytes)\n",
        "            stop = size_bytes if self.last is None else self.last + 1\n",
        (HTTP + "ranges.py",),
    ),
    Mutant(
        "door: a weak tag is what If-Match asks for",
        "gateway/http/conditional.py",
        "        if found[2] == tag and not (strong and found[1]):\n",
        "        if found[2] == tag:\n",
        (HTTP + "conditional.py",),
    ),
    Mutant(
        "door: only the first tag of a list is compared",
        "gateway/http/conditional.py",
        "        position = found.end()\n",
        "        return False\n",
        (HTTP + "conditional.py",),
    ),
    Mutant(
        "door: of two puts that may only create both do",
        "gateway/http/blobs.py",
        "        if exclusive and not stored.created:\n",
        "        if exclusive and stored.size_bytes < 0:\n",
        (HTTP + "conditional.py",),
    ),
    Mutant(
        "door: what was fast before excuses a stall",
        "gateway/http/phase.py",
        "        slow = moved_bytes - self._bytes < expected_bytes\n"
        "        self._waited_s, self._bytes = 0.0, moved_bytes\n",
        "        slow = moved_bytes - self._bytes < expected_bytes\n",
        (HTTP + "phase.py",),
    ),
)

_LISTENER: Final = (
    Mutant(
        "door: one connection is let in a turn",
        "gateway/http/listener.py",
        "        for _ in range(_AT_ONCE):\n",
        "        for _ in range(1):\n",
        (HTTP + "listener.py",),
    ),
    Mutant(
        "door: a crowd is let in before anybody else has a turn",
        "gateway/http/listener.py",
        "        for _ in range(_AT_ONCE):\n",
        "        for _ in range(_BACKLOG):\n",
        (HTTP + "listener.py",),
    ),
    Mutant(
        "door: without descriptors nobody is let in ever again",
        "gateway/http/listener.py",
        "        del self._pauses[listening]\n"
        "        self._loop.add_reader(listening, self._take, listening)\n",
        "        del self._pauses[listening]\n",
        (HTTP + "listener.py",),
    ),
    Mutant(
        "door: without descriptors it tries in every turn",
        "gateway/http/listener.py",
        "                self._loop.remove_reader(listening)\n"
        "                self._pauses[listening] = self._loop.call_later(_PAUSE_S, self._go_on, "
        "listening)\n",
        "",
        (HTTP + "listener.py",),
    ),
)

DOOR_MUTANTS: Final = (*_FILE_STORE, *_HTTP, *_LISTENER)
