"""The areas of a `Pool` or a `Downsample`: runs of neighbouring tokens, and the group or cell of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limelight.matrix.reductions.downsample import Downsample, Raster
from limelight.matrix.reductions.pooling import Pool, Pooled, group_sums

LONGEST = 2**11  # tokens of a run: an area of more is split, so that many programs share it
WORTH = 64  # entries of an area; with fewer, most of a tile would lie outside it
FEW = 2**16  # areas of which nobody counts the memory
MOST = 8  # areas for each number of the state: what the kernel finds is no larger than that many states


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of neighbouring tokens, each of one group; every batch has as many, some of them empty."""

    edges_BP2: Tensor
    """Where each begins, and where it ends; int32."""
    group_BP: Tensor
    groups: int

    @property
    def count(self) -> int:
        return self.edges_BP2.shape[1]

    @property
    def longest(self) -> int:
        return int(self.edges_BP2.diff(dim=-1).max()) if self.edges_BP2.numel() else 0


def areas_of(reduction: Any, state: Any, B: int) -> tuple[Runs, Runs] | None:
    """The runs of queries and of keys whose areas make up this state; None where it is none, or too finely cut."""
    if type(reduction) is Pool and isinstance(state, Pooled):
        numbers = state.sums.shape[2] * state.sums.shape[3]
        rows = runs_of_groups(state.rows_BN, state.sums.shape[2])
        columns = runs_of_groups(state.cols_BM, state.sums.shape[3])
        entries = state.rows_BN.shape[1] * state.cols_BM.shape[1]
    elif type(reduction) is Downsample and isinstance(state, Raster):
        rows, columns = (_runs_of_edges(edges, B) for edges in (state.rows, state.columns))
        entries = int(state.rows[-1]) * int(state.columns[-1])
        numbers = rows.groups * columns.groups
    else:
        return None
    areas = rows.count * columns.count
    return (rows, columns) if 0 < areas <= min(entries // WORTH, max(MOST * numbers, FEW)) else None


def runs_of_groups(groups_BN: Tensor, groups: int) -> Runs:
    """Neighbours of one group, as long as they go; the last group is that of tokens which belong to none."""
    found = []
    for ids in groups_BN.cpu():
        group, length = torch.unique_consecutive(ids, return_counts=True)
        stop = length.cumsum(0)
        kept = group != groups - 1
        found.append(_split((stop - length)[kept], stop[kept], group[kept]))
    most = max(len(group) for _, group in found)
    edges = torch.zeros(len(found), most, 2, dtype=torch.int32, device="cpu")
    group_BP = torch.full(
        (len(found), most), groups - 1, device="cpu"
    )  # empty runs are part of what is left out
    for b, (edges_P2, group_P) in enumerate(found):
        edges[b, : len(group_P)], group_BP[b, : len(group_P)] = edges_P2, group_P
    return Runs(edges, group_BP, groups)


def _runs_of_edges(edges: Tensor, B: int) -> Runs:
    cells = len(edges) - 1
    edges_P2, group_P = _split(edges[:-1], edges[1:], torch.arange(cells, device="cpu"))
    return Runs(edges_P2.int().expand(B, -1, -1), group_P.expand(B, -1), cells)


def _split(start: Tensor, stop: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Runs longer than LONGEST in pieces; edges (P, 2) and groups (P,)."""
    pieces = -(-(stop - start) // LONGEST)
    which = torch.repeat_interleave(torch.arange(len(start), device="cpu"), pieces)
    first = pieces.cumsum(0) - pieces
    begins = start[which] + (torch.arange(len(which), device="cpu") - first[which]) * LONGEST
    return torch.stack([begins, (begins + LONGEST).minimum(stop[which])], dim=-1), group[which]


def gather_sums(areas_BHPQ: Tensor, rows: Runs, columns: Runs) -> Tensor:
    """The sums of areas as sums of groups, (B, H, groups, groups), always in the same order."""
    found = []
    for b, areas_HPQ in enumerate(areas_BHPQ):
        row_P, column_Q = (runs.group_BP[b].to(areas_HPQ.device) for runs in (rows, columns))
        summed = group_sums(areas_HPQ, row_P, rows.groups, axis=1)
        found.append(group_sums(summed, column_Q, columns.groups, axis=2))
    return torch.stack(found)


def gather_maxima(areas_BHPQ: Tensor, rows: Runs, columns: Runs) -> Tensor:
    """The largest entries of areas as those of groups."""
    B, H, _, Q = areas_BHPQ.shape
    row_BP, column_BQ = (runs.group_BP.to(areas_BHPQ.device) for runs in (rows, columns))
    by_row = areas_BHPQ.new_zeros(B, H, rows.groups, Q)
    by_row.scatter_reduce_(2, row_BP[:, None, :, None].expand_as(areas_BHPQ), areas_BHPQ, "amax")
    both = areas_BHPQ.new_zeros(B, H, rows.groups, columns.groups)
    return both.scatter_reduce_(3, column_BQ[:, None, None].expand_as(by_row), by_row, "amax")
