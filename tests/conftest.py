"""What all tests share: the settings of hypothesis. Fixtures stand beside those who ask."""

from __future__ import annotations

import os

from hypothesis import settings

# A slow machine is no failure, and a red run must be red again: examples are derived from the test
# itself. HYPOTHESIS_PROFILE=explore draws fresh ones, many more.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
