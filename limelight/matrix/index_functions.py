"""Functions of a place: (b, h, q_idx, kv_idx), written for single numbers, asked for a whole tile at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError, InputError

PlaceFunction = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(b, h, q_idx, kv_idx) → what stands there: FlexAttention's mask_mod, or a bias."""
ScoreFunction = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(score, b, h, q_idx, kv_idx) → the score in its place: FlexAttention's score_mod."""
Device = torch.device | str | None
ASKED_AT_ONCE = 2**16
"""Places of which a function of the user's is asked together on the CPU; it may compute several int64 of each."""


class TileIndex(NamedTuple):
    """A tile of the whole matrix of N queries by M keys."""

    batches: range
    heads: range
    rows: range
    columns: range
    N: int
    M: int


def vmap_over_tile(
    function: Callable[..., Tensor],
    batches: range,
    heads: range,
    rows: range,
    columns: range,
    device: Device = None,
    scores: Tensor | None = None,
) -> Tensor:
    """What a function says of each place of a tile, (B, H, R, C); with `scores`, they are its first argument.

    InputError where it is not written for that.
    """
    places = (batches, heads, rows, columns)
    given = () if scores is None else (scores,)
    if not all(places):
        return torch.zeros([len(place) for place in places], device=device)
    plain = function
    # From the inside out: over keys, queries, heads, batches. Scores lose their first axis at each.
    for axis in (3, 2, 1, 0):
        over = tuple(0 if place == axis else None for place in range(4))
        function = torch.vmap(function, in_dims=(*(0 for _ in given), *over))
    try:
        found = function(*given, *(torch.arange(place.start, place.stop, device=device) for place in places))
    except (RuntimeError, ValueError) as error:
        if "vmap" not in str(error):  # its own trouble
            raise
        raise InputError(
            "A function of places is asked for a whole tile at once: it must answer with a tensor and not branch on "
            f"what it is given. torch says: {str(error).partition('. ')[0]}. Write torch.where(i >= j, a, b) for "
            "`a if i >= j else b`, torch.full_like(j, a) for a constant, and & | ~ for `and`, `or`, `not`."
        ) from error
    except TypeError as error:
        if _takes(plain, len(given) + len(places)):  # its own trouble
            raise
        names = ("score", "b", "h", "q_idx", "kv_idx")[1 - len(given) :]
        raise ArgumentTypeError(
            f"A function of places must take ({', '.join(names)}), a tensor each; "
            f"{getattr(plain, '__name__', None) or plain!r} does not: {error}. Write one with def or lambda."
        ) from error
    if found.shape != (tile := tuple(map(len, places))):
        raise InputError(
            f"A function of places must answer with one number a place; got {tuple(found.shape[4:])} of them, "
            f"{tuple(found.shape)} for a tile of {tile}."
        )
    return found


def _takes(function: Callable[..., Tensor], arguments: int) -> bool:
    """Whether a function can be called with so many; of what is built in nobody knows, and it cannot."""
    try:
        inspect.signature(function).bind(*range(arguments))
    except (TypeError, ValueError):
        return False
    return True


def row_chunks(batches: range, heads: range, rows: range, columns: range, device: Device) -> Iterator[range]:
    """The rows of a tile, so few at a time that what a function computes of them stays small beside a tile."""
    across = len(batches) * len(heads) * len(columns)
    on_cpu = torch.device(device or "cpu").type == "cpu"
    step = max(1, ASKED_AT_ONCE // max(1, across) if on_cpu else len(rows))
    for start in range(rows.start, rows.stop, step):
        yield range(start, min(start + step, rows.stop))


def part(x: Tensor, start: int, stop: int, axis: int = 0) -> Tensor:
    """Some batches (or heads, axis 1) of a tensor; all of it where it has one for all."""
    return x if x.shape[axis] == 1 else x.narrow(axis, start, stop - start)


def runs_of(numbers: Sequence[int]) -> list[range]:
    """Numbers in runs of neighbours.

    >>> runs_of([3, 4, 5, 9, 3])
    [range(3, 6), range(9, 10), range(3, 4)]
    """
    runs: list[range] = []
    for number in numbers:
        if runs and number == runs[-1].stop:
            runs[-1] = range(runs[-1].start, number + 1)
        else:
            runs.append(range(number, number + 1))
    return runs
