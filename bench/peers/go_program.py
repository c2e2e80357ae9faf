"""The version of a program that was built by Go, from the program's own file.

Go writes the modules that a program was built from into it, one a line: `mod`, the module's path,
its version and its checksum, with tabs between them (package runtime/debug, BuildInfo.String). A
program that was installed with `go install` knows its version in no other way.
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import Final

_BUILT: Final = "(devel)"


def module_version(binary: Path, module: str) -> str | None:
    """The version of the module, or None where the file does not say it."""
    line = re.compile(rb"\nmod\t" + re.escape(module.encode()) + rb"\t([^\t\n]+)[\t\n]")
    with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = line.search(content)
        version = found[1].decode() if found else _BUILT
    return None if version == _BUILT else version
