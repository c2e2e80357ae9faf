"""What README.md tells people to type, typed against a real cluster."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.served import HOLDFAST, ROOT, served

pytestmark = pytest.mark.slow

README = (ROOT / "README.md").read_text()
DOCUMENTED_URL = "http://127.0.0.1:7070"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_examples_do_what_they_say(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    tool = tools / "holdfast"
    tool.write_text(f'#!/bin/sh\nexec {shlex.join(HOLDFAST)} "$@"\n')
    tool.chmod(0o755)
    with served(tmp_path) as cluster:
        script = "".join(_blocks("sh")).replace(DOCUMENTED_URL, cluster.url)
        environ = {**cluster.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
        shell = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            capture_output=True,
            check=False,
            cwd=tmp_path,
            env=environ,
            timeout=120,
        )
        python = subprocess.run(
            [sys.executable, "-c", "".join(_blocks("python")).replace(DOCUMENTED_URL, cluster.url)],
            capture_output=True,
            check=False,
            env=environ,
            timeout=120,
        )

    assert shell.returncode == 0, shell.stderr.decode()
    assert b"hello, cluster\nhello" in shell.stdout
    assert b"all 3 nodes vote" in shell.stdout
    assert python.returncode == 0, python.stderr.decode()
    assert b"b'hello from Python'" in python.stdout


def test_every_file_that_it_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
