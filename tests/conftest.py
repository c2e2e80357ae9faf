"""What all tests share: the settings of hypothesis, and golden files."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.golden.golden_file import Golden

# A slow machine is no failure, and a red run must be red again: examples are derived from the test
# itself. HYPOTHESIS_PROFILE=explore draws fresh ones, many more.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-golden",
        action="store_true",
        help="write what tests find into tests/golden instead of comparing",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(rewrite=request.config.getoption("--rewrite-golden"))
