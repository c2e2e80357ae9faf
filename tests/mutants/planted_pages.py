"""Planted bugs of the page store of frames; see tests/mutants/mutant.py."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

PAGES: Final = ("tests/node/pages/test_crash_states.py",)
PAGE_FILES: Final = (
    "tests/node/pages/test_files.py",
    "tests/node/pages/test_rot.py",
    "tests/node/pages/test_formats.py",
)

PAGE_MUTANTS: Final = (
    Mutant(
        "no sync of a new log's directory",
        "node/pages/manifest.py",
        "            if is_new:\n                self._directory.sync()\n",
        "",
        PAGES,
    ),
    Mutant(
        "a snapshot is renamed and its directory not synced",
        "node/pages/manifest.py",
        "        directory.rename(TEMPORARY, SNAPSHOT)\n        directory.sync()\n",
        "        directory.rename(TEMPORARY, SNAPSHOT)\n",
        PAGES,
    ),
    Mutant(
        "a snapshot is renamed before it is synced",
        "node/pages/manifest.py",
        "            file.write(whole, 0)\n            file.sync()\n",
        "            file.write(whole, 0)\n",
        PAGES,
    ),
    Mutant(
        "frames are rewritten in place",
        "node/pages/frame_file.py",
        "        with self._lock:\n"
        "            slot = self.slots.take()\n"
        "        self._write(guid, page, slot, None)\n",
        "        with self._lock:\n"
        "            old = self.table.frames.get(guid)\n"
        "            slot = self.slots.take() if old is None else old.slot\n"
        "        self._write(guid, page, slot, None)\n",
        PAGES,
    ),
    Mutant(
        "a slot is reused before the flush",
        "node/pages/slots.py",
        "        self._waiting.append(slot)\n",
        "        self._free.append(slot)\n",
        PAGES,
    ),
    Mutant(
        "a slot is reused while a reader holds it",
        "node/pages/slots.py",
        "            if slot in self._readers:\n",
        "            if False:\n",
        ("tests/node/pages/test_interface.py",),
    ),
    Mutant(
        "a frame's checksum does not cover where it lies",
        "node/pages/frame_sums.py",
        '    key = guid + slot.to_bytes(8, "little")',
        "    key = bytes(24)",
        PAGE_FILES,
    ),
    Mutant(
        "a data sync that failed is tried again and trusted",
        "node/pages/unsynced.py",
        "        self._suspect.update((slot, guid) for slot, (_, guid) in self._owed.items())\n",
        "",
        ("tests/node/pages/test_faults.py",),
    ),
    Mutant(
        "a write under way during a failed sync is trusted",
        "node/pages/unsynced.py",
        "        if failures_before == self.failures:\n",
        "        if True:\n",
        ("tests/node/pages/test_faults.py",),
    ),
    Mutant(
        "the map is flushed before the data",
        "node/pages/page_store.py",
        "        self._frames.sync()\n        if cut.whole is None:\n",
        "        if cut.whole is None:\n",
        PAGES,
    ),
    Mutant(
        "the log is not synced",
        "node/pages/manifest.py",
        "            self._log.write(data, self._log_bytes)\n            self._log.sync()\n",
        "            self._log.write(data, self._log_bytes)\n",
        PAGES,
    ),
    Mutant(
        "a log whose sync failed is appended to",
        "node/pages/manifest.py",
        "        except HoldfastError:\n"
        "            self._log_is_over = True\n"
        "            raise\n",
        "        except HoldfastError:\n            raise\n",
        ("tests/node/pages/test_faults.py",),
    ),
    Mutant(
        "what a log says is trusted without a sync",
        "node/pages/manifest.py",
        "        self._log.sync()\n\n\n",
        "\n\n",
        PAGES,
    ),
    Mutant(
        "the last flush's records are not written again at the start",
        "node/pages/manifest.py",
        "        if tail.good_bytes > tail.last_flush_at:\n",
        "        if False:\n",
        PAGES,
    ),
    Mutant(
        "a snapshot does not hide older records",
        "node/pages/manifest_format.py",
        "        if covered is None or number > covered:\n",
        "        if True:\n",
        PAGES,
    ),
    Mutant(
        "every bad record counts as torn",
        "node/pages/manifest_format.py",
        "    if not _is_torn(data, at):\n",
        "    if False:\n",
        PAGE_FILES,
    ),
    Mutant(
        "no bad record counts as torn",
        "node/pages/manifest_format.py",
        "        if not any(data[start:boundary]):\n",
        "        if False:\n",
        PAGES,
    ),
    Mutant(
        "a torn tail is not cut off",
        "node/pages/manifest.py",
        "            self._log.truncate(tail.good_bytes)\n",
        "            pass\n",
        PAGE_FILES,
    ),
    Mutant(
        "the directory is not synced at the start",
        "node/pages/page_store.py",
        "        elif not self.read_only:\n            directory.sync()\n",
        "",
        PAGES,
    ),
    Mutant(
        "a lost frame does not fail the flush",
        "node/pages/frame_file.py",
        "            self.rescue()\n"
        "            with self._lock:\n"
        "                if not self._unsynced.suspects:\n",
        "            with self._lock:\n                if True:\n",
        ("tests/node/pages/test_faults.py",),
    ),
    Mutant(
        "a frame's checksum does not cover its slot",
        "node/pages/frame_sums.py",
        'slot.to_bytes(8, "little") +',
        "bytes(8) +",
        ("tests/node/pages/test_rot.py",),
    ),
    Mutant(
        "a frame's checksum does not cover its guid",
        "node/pages/frame_sums.py",
        "    key = guid + slot",
        "    key = bytes(16) + slot",
        ("tests/node/pages/test_rot.py",),
    ),
    Mutant(
        "reads do not verify",
        "node/pages/frame_file.py",
        "        if frame.checksum and checksum_of(",
        "        if False and checksum_of(",
        PAGE_FILES,
    ),
    Mutant(
        "ranged reads do not verify",
        "node/pages/frame_file.py",
        "            if not are_the_blocks(",
        "            if False and not are_the_blocks(",
        PAGE_FILES,
    ),
    Mutant(
        "a failed write is seen",
        "node/pages/frame_file.py",
        "                self.slots.failed(slot)\n            raise\n",
        "                self.slots.failed(slot)\n",
        ("tests/node/pages/test_faults.py",),
    ),
    Mutant(
        "a flush forgets what changed while it ran",
        "node/pages/frame_table.py",
        "            if self._changed.get(guid, cut.mark + 1) <= cut.mark:\n",
        "            if guid in self._changed:\n",
        ("tests/node/pages/test_interface.py",),
    ),
)
