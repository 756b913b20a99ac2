"""How much is tried in the default run, and how much more in `make check-slow`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings

PROFILES = {"limelight": 10, "thorough": 100}
"""Examples of a law: in `make test`, and in `make check-slow`."""


def examples(count: int) -> settings:
    """`count` examples by the default profile, and as many times more as the profile that runs has more."""
    return settings(max_examples=max(1, count * settings().max_examples // PROFILES["limelight"]))


def mostly_slow(values: Iterable[Any], *quick: Any) -> list[Any]:
    """Values of a parametrised test of which the `quick` ones are tried by default, the others in `check-slow`."""
    values = list(values)
    assert all(value in values for value in quick)
    return [value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values]
