"""How many examples a law is tried on: few in the default run, ten times as many in `make check-slow`."""

from __future__ import annotations

from hypothesis import settings


def examples(count: int) -> settings:
    """`count` examples by the default profile, and as many times more as the profile that runs has more."""
    profile = settings.get_profile("limelight").max_examples
    return settings(max_examples=max(1, count * settings().max_examples // profile))
