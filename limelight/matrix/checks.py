"""Argument checks shared by public functions: whole numbers, finite numbers, byte limits, tensors."""

from __future__ import annotations

import math
import operator
import reprlib

import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError, InputError
from limelight.matrix.memory import demand_memory


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
    raise ArgumentTypeError(f"{must}; got {given!r}." + (f" {advice}" if advice else ""))


def yes_or_no(name: str, given: object) -> bool:
    """True or False, NumPy's too; ArgumentTypeError for an array, a tensor or anything else."""
    if isinstance(given, bool) or type(given).__name__ in ("bool", "bool_"):
        return bool(given)
    raise ArgumentTypeError(f"{name} must be True or False; got {reprlib.repr(given)}.")


def maybe_whole(given: object, must: str) -> int | None:
    """The same, or None where it was left out."""
    return None if given is None else whole_number(given, must)


def whole_bytes(given: object, door: str) -> int:
    """A limit in bytes; 2e9 is one too."""
    number = int(given) if isinstance(given, float) and given.is_integer() else given
    return whole_number(
        number, f"{door} must have a whole number of bytes for its limit", "Write limit=2**30."
    )


def maybe_bytes(given: object, door: str) -> int | None:
    """The same, or None where there is no limit."""
    return None if given is None else whole_bytes(given, door)


def tensor_of(given: object, must: str, device: torch.device | str | None = None) -> Tensor:
    """A tensor, or what torch makes of lists of numbers and of arrays; ArgumentTypeError where it can make none."""
    if isinstance(given, Tensor):
        demand_memory(must.split(" must ")[0], given)
        return given.to(device)
    try:
        return torch.as_tensor(given, device=device)
    except (TypeError, ValueError, RuntimeError):
        raise ArgumentTypeError(f"{must}, in rows of one length; got {reprlib.repr(given)}.") from None


def a_number(name: str, given: object) -> float:
    """A number of any kind, those of NumPy and tensors of one entry among them."""
    try:
        if isinstance(given, str):
            raise TypeError
        return float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        raise ArgumentTypeError(f"{name} must be a number; got {given!r}.") from None


def finite_number(name: str, given: object, otherwise: str) -> float:
    """A finite number, on whatever device it lies; `otherwise` says what to do with one that will not serve."""
    if isinstance(given, Tensor) and given.requires_grad:
        raise InputError(
            f"{name} receives no gradient; got a tensor that requires one. Give {name}.detach()."
        )
    found = a_number(name, given)
    if not math.isfinite(found):
        raise InputError(f"{name} must be finite, or no weight is a number; got {found}. {otherwise}")
    return found
