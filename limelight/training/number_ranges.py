"""Check the numbers of a recipe: right type, finite, within reason."""

from __future__ import annotations

import math
import reprlib
from typing import Any

from limelight.errors import ArgumentTypeError, InputError

MOST_WHOLE = 2**63 - 1
"""What a whole number may be where nothing else bounds it: more is a slip of the keyboard."""


def check_recipe_number(
    name: str, value: Any, least: float = -math.inf, most: float = math.inf, whole: bool = False
) -> None:
    """Raises ArgumentTypeError for what is no number, or no whole one; InputError for one outside its limits, or
    not finite."""
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise ArgumentTypeError(f"{name} must be a {'whole ' if whole else ''}number; got {value!r}.")
    if not least <= value <= most or not (whole or _finite(value)):
        raise InputError(f"{name} must be {_limit(least, most)}; got {reprlib.repr(value)}.")
    if whole and value > MOST_WHOLE:
        raise InputError(f"{name} must be at most {MOST_WHOLE}; got {reprlib.repr(value)}.")


def _finite(value: float) -> bool:
    """Whether it is a finite number as a float: a whole number may be too large for one."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _limit(least: float, most: float) -> str:
    if math.isfinite(least) and math.isfinite(most):
        return f"from {least} to {most}"
    return f"at least {least}" if math.isfinite(least) else "a finite number"
