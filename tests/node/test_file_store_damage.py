"""Files that somebody cut or removed while the store was open: nothing of them goes out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from node.file_paths import value_path
from node.file_store import FileRecordStore
from node.posix_disk import PosixDisk
from ring.digest import Digest
from ring.limits import MIB
from ring.messages import CopyVerdict
from ring.record import RecordKey, RecordKind, live
from tests.fakes.manual_clock import ManualClock
from tests.sim.host import SimRandomness

DATA = RecordKind.DATA
VALUE = b"v" * MIB
KEY = RecordKey(Digest.of(VALUE))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FileRecordStore]:
    disk = PosixDisk(str(tmp_path), threads=2)
    opened = await FileRecordStore.open(
        disk, clock=ManualClock(), randomness=SimRandomness(Random(0))
    )
    await opened.put_root(KEY, DATA, len(VALUE), 1, VALUE)
    yield opened
    await opened.close()
    await disk.close()


async def test_a_whole_file_is_sent_as_it_lies(store: FileRecordStore) -> None:
    opened = await store.open_span(KEY)
    assert opened is not None
    assert opened[1].size_bytes == len(VALUE)
    opened[1].close()


@pytest.mark.parametrize("content", [VALUE[:-1], VALUE + b"?"])
async def test_a_file_of_another_length_is_not_sent_as_it_lies(
    store: FileRecordStore, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / value_path(KEY, DATA)).write_bytes(content)

    assert await store.open_span(KEY) is None
    state, value = await store.get(KEY)
    assert (state.root, state.held, value) == (live(1), False, None)
    assert len(await store.quarantined(KEY)) == 1


async def test_whoever_watches_is_told_of_a_file_that_is_gone(
    store: FileRecordStore, tmp_path: Path
) -> None:
    lost: list[RecordKey] = []
    store.watch_losses(lost.append)
    (tmp_path / value_path(KEY, DATA)).unlink()

    assert await store.open_span(KEY) is None
    assert await store.verify(KEY) is CopyVerdict.ABSENT
    assert lost == [KEY]
    assert (await store.stat([KEY]))[0].root == live(1)
