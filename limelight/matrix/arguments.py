"""What several doors ask of a number: that it is whole, or finite, and a number at all."""

from __future__ import annotations

import math
import operator

import torch
from torch import Tensor

from limelight.errors import InputError, KindError


def whole_number(given: object, must: str, advice: str = "") -> int:
    """Any kind of whole number, those of NumPy and tensors of one entry among them; but True is none.

    >>> import torch
    >>> whole_number(torch.tensor(3), "k must be a whole number")
    3
    """
    try:
        if not isinstance(given, bool) and getattr(given, "dtype", None) is not torch.bool:
            return operator.index(given)  # type: ignore[arg-type]
    except TypeError:
        pass
    raise KindError(f"{must}; got {given!r}." + (f" {advice}" if advice else ""))


def maybe_whole(given: object, must: str) -> int | None:
    """The same, or None where it was left out."""
    return None if given is None else whole_number(given, must)


def finite_number(name: str, given: object, otherwise: str) -> float:
    """A finite number, on whatever device it lies; `otherwise` says what to do with one that will not serve."""
    if isinstance(given, Tensor) and given.requires_grad:
        raise InputError(
            f"{name} receives no gradient; got a tensor that requires one. Give {name}.detach()."
        )
    try:
        if isinstance(given, str):
            raise TypeError
        number = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        raise KindError(f"{name} must be a number; got {given!r}.") from None
    if not math.isfinite(number):
        raise InputError(f"{name} must be finite, or no weight is a number; got {number}. {otherwise}")
    return number
