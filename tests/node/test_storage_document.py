"""docs/STORAGE.md shows what stands on disk, and its way to read values out by hand works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from node.host import HostClock, HostRandomness
from node.index.lmdb_index import LmdbHome
from node.posix_disk import PosixDisk
from node.recordlog.page_store import PageRecordStore
from ring.digest import Digest
from ring.record import RecordKey, RecordKind
from tests.node.storage_vectors import DOCUMENT, WRITTEN, documented


def test_every_format_has_a_vector() -> None:
    assert sorted(documented()) == sorted(WRITTEN)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_vector_is_what_this_release_writes(name: str) -> None:
    assert documented()[name].hex() == WRITTEN[name]().hex()


async def test_values_are_read_out_by_hand_as_documented(tmp_path: Path) -> None:
    values = [f"value {number} ".encode() * number for number in range(1, 40)]
    disk = PosixDisk(str(tmp_path))
    store = await PageRecordStore.open(
        disk, LmdbHome(disk, str(tmp_path)), clock=HostClock(), randomness=HostRandomness()
    )
    for value in values:
        key = RecordKey(Digest.of(value))
        await store.put_root(key, RecordKind.DATA, len(value), 1, value)
    await store.close()
    await disk.close()
    document = DOCUMENT.read_text("utf-8")
    (script,) = re.findall(r"^```python\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)

    said = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout

    found = {key: bytes.fromhex(value) for key, value in map(str.split, said.splitlines())}
    assert found == {RecordKey(Digest.of(value)).raw.hex(): value for value in values}
