"""Tables that stages share: a sorted list of tokens, a vector, a crop of a large matrix."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from limelight.explain.explanation import Numbers, table

CUT = 40
"""The most rows and columns of a matrix that are carried along."""


def ranked(
    title: str,
    labels: Sequence[str],
    columns: dict[str, Tensor],
    *,
    by: str,
    marked: Sequence[int] = (),
    unit: str = "",
) -> Numbers:
    """Tokens sorted from low to high by the column `by`, which is drawn; cells without a value come first.

    `marked` are places before sorting.
    """
    order = columns[by].nan_to_num(nan=-torch.inf).argsort(stable=True).tolist()
    names = (by, *(name for name in columns if name != by))
    return Numbers(
        title,
        "bars",
        tuple(labels[place] for place in order),
        names,
        table([[columns[name][place] for name in names] for place in order]),
        unit,
        tuple(rank for rank, place in enumerate(order) if place in marked),
    )


def strip(title: str, vectors: dict[str, Tensor]) -> Numbers:
    """Vectors of one width, one under the other."""
    width = len(next(iter(vectors.values())))
    return Numbers(
        title,
        "strip",
        tuple(vectors),
        tuple(map(str, range(width))),
        table(torch.stack(list(vectors.values()))),
    )


def cells(
    title: str,
    values_NM: Tensor,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    unit: str = "",
    row: int | None = None,
    column: int = 0,
) -> Numbers:
    """A matrix, of a large one the part around (row, column)."""
    first_row = _first(values_NM.shape[0], row or 0)
    first_column = _first(values_NM.shape[1], column)
    part = values_NM[first_row : first_row + CUT, first_column : first_column + CUT]
    whole = part.shape == values_NM.shape
    return Numbers(
        title if whole else f"{title}, a part of {values_NM.shape[0]} × {values_NM.shape[1]}",
        "cells",
        tuple(rows[first_row : first_row + CUT]),
        tuple(columns[first_column : first_column + CUT]),
        table(part.double()),
        unit,
        () if row is None else (row - first_row,),
    )


def shapes(**tensors: Tensor) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Names that wear their letters, with their sizes: `shapes(q_BHND=q)`."""
    return tuple((name, tuple(tensor.shape)) for name, tensor in tensors.items())


def named(side_labels: Sequence[str], place: int) -> str:
    """A token in a sentence: “light” (place 3)."""
    return f"“{side_labels[place]}” (place {place})"


def _first(size: int, centre: int) -> int:
    """Where a cut of at most CUT begins so that `centre` lies in it."""
    return max(0, min(centre - CUT // 2, size - CUT))
