"""How much is tried in the default run, and how much more in `make check-slow`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings


def examples(count: int) -> settings:
    """`count` examples by the default profile, and as many times more as the profile that runs has more."""
    profile = settings.get_profile("limelight").max_examples
    return settings(max_examples=max(1, count * settings().max_examples // profile))


def mostly_slow(values: Iterable[Any], *quick: Any) -> list[Any]:
    """Values of a parametrised test of which the `quick` ones are tried by default, the others in `check-slow`."""
    values = list(values)
    assert all(value in values for value in quick)
    return [value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values]
