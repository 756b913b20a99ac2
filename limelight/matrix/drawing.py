"""A mask as text: place by place while it is small, cell by cell when it is not."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from limelight.matrix.rules import Mask

SIGNS = "·▒█"
"""None, some and all of a cell may be seen."""
LOOKED_AT = 8  # rows of a cell whose places are counted


def draw(mask: Mask, N: int, M: int, widest: int) -> str:
    """One sign a place, or, where the matrix is larger than `widest`, one a cell of the picture.

    What `cover` says of a cell is taken as it is. Where it says that some may be seen, which it may say out of
    caution, a few rows of the cell are looked at; so even a picture of a million tokens takes no N × M table.
    """
    rows, columns = _edges(N, widest), _edges(M, widest)
    return "\n".join(
        "".join(SIGNS[sign] for sign in _row_of_cells(mask, i0, i1, columns, N, M))
        for i0, i1 in pairwise(rows)
    )


def _row_of_cells(mask: Mask, i0: int, i1: int, columns: list[int], N: int, M: int) -> list[int]:
    cells = list(pairwise(columns))
    signs = [int(mask.cover(i0, i1, j0, j1, N, M)) for j0, j1 in cells]
    if 1 not in signs:
        return signs
    steps = min(LOOKED_AT, i1 - i0)
    looked_at = [i0 + (i1 - 1 - i0) * step // max(steps - 1, 1) for step in range(steps)]
    seen_RM: Tensor = torch.cat([mask.block(i, i + 1, 0, M, N, M)[0, 0] for i in looked_at])
    for place, (j0, j1) in enumerate(cells):
        if signs[place] == 1:
            cell = seen_RM[:, j0:j1]
            signs[place] = int(cell.any()) + int(cell.all())
    return signs


def _edges(size: int, widest: int) -> list[int]:
    """Where the cells begin, and the end: one cell a row, or `widest` cells."""
    cells = min(size, widest)
    return [cell * size // cells for cell in range(cells + 1)] if cells else [0]
