"""The kernels as plain calls: what is asked for goes in, tensors come out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from limelight.matrix.engine.plan import Plan
from limelight.matrix.engine.triton.area_runs import Runs
from limelight.matrix.engine.triton.block_mask import BlockMask, block_mask_of
from limelight.matrix.engine.triton.operands import (
    AreasFound,
    ColumnsFound,
    RowsFound,
    factor_of,
    logits_of,
    operand,
    padded,
)
from limelight.matrix.logits import Logits
from limelight.matrix.tile import SoftmaxStats

ROOM_FOR_THREE = 2**17 + 2**14
"""Bytes of shared memory that three tiles of keys, or of values, on their way to a program take."""


class Kernels:
    """The kernels over one matrix, cut into tiles by one plan."""

    def __init__(self, scores: Logits, cut: Plan) -> None:
        assert cut.columns is not None, "a kernel takes so many columns at a time"
        sight = block_mask_of(scores.mask, scores.N, scores.M)
        assert isinstance(sight, BlockMask), sight
        self._sight, self._logits = sight, logits_of(scores, sight)
        self._rows, self._columns = cut.rows, cut.columns
        self._device = scores.device
        self._room = _shared_memory(scores.device)
        self._heads = (len(scores.batches), len(scores.heads))

    def rows(
        self,
        entropy: bool = False,
        key: bool = False,
        offset: int | None = None,
        values: Tensor | None = None,
    ) -> RowsFound:
        """The row sums m and t, and what is asked for; an `offset` asks for distances from it."""
        from limelight.matrix.engine.triton.row_kernel import rows_kernel

        N = self._logits.N
        found = RowsFound(
            m=self._empty(N),
            t=self._empty(N, dtype=torch.float64),
            u=self._empty(N, dtype=torch.float64) if entropy else None,
            key=self._empty(N, dtype=torch.int32) if key else None,
            behind=None if offset is None else self._empty(N, dtype=torch.float64),
            ahead=None if offset is None else self._empty(N, dtype=torch.float64),
            offset=offset or 0,
            mix=None if values is None else self._empty(N, values.shape[3]),
        )
        runs = self._sight.runs(self._rows, self._columns, self._device)
        factor = factor_of(values, self._heads[1])
        rows_kernel[self._grid(runs)](
            self._logits, factor, self._each_batch(runs), found, FACTOR_WIDTH=padded(factor.X), **self._tile()
        )
        return found

    def columns(self, stats: SoftmaxStats, raw: bool = False, factors: Tensor | None = None) -> ColumnsFound:
        """The column sums that are asked for."""
        from limelight.matrix.engine.triton.column_kernel import columns_kernel

        M = self._logits.M
        found = ColumnsFound(
            raw=self._empty(M, dtype=torch.float64) if raw else None,
            queries=self._empty(M, dtype=torch.int64) if raw else None,
            mix=None if factors is None else self._empty(M, factors.shape[3]),
        )
        runs = self._sight.turned().runs(self._columns, self._rows, self._device)
        if self._logits.bias is not None:
            # A bias may hide keys of its own: count place by place.
            runs[..., 1] = runs[..., 2] = runs[..., 0]
        factor = factor_of(factors, self._heads[1])
        columns_kernel[self._grid(runs)](
            self._logits,
            _side_by_side(stats),
            factor,
            self._each_batch(runs),
            found,
            FACTOR_WIDTH=padded(factor.X),
            **self._tile(),
        )
        return found

    def areas(self, stats: SoftmaxStats, rows: Runs, columns: Runs) -> AreasFound:
        """The weights where each run of queries meets each run of keys."""
        from limelight.matrix.engine.triton.area_kernel import areas_kernel

        shape = (rows.count, columns.count)
        found = AreasFound(
            total=self._empty(*shape, dtype=torch.float64),
            maximum=self._empty(*shape),
            seen=self._empty(*shape, dtype=torch.int64),
            across=columns.count,
        )
        areas_kernel[rows.count * columns.count, self._heads[0] * self._heads[1]](
            self._logits,
            _side_by_side(stats),
            *(operand(runs.edges_BP2.to(self._device).contiguous()) for runs in (rows, columns)),
            found,
            **self._tile(rows.longest, columns.longest),
        )
        return found

    def _empty(self, *sizes: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(*self._heads, *sizes, dtype=dtype, device=self._device)

    def _grid(self, runs: Tensor) -> tuple[int, int]:
        return runs.shape[1], self._heads[0] * self._heads[1]

    def _each_batch(self, runs: Tensor) -> Any:
        return operand(runs.expand(self._heads[0], -1, -1))

    def _tile(self, most_rows: int | None = None, most_columns: int | None = None) -> dict[str, Any]:
        """The sizes of a tile, no more than so many rows and columns are asked for."""
        rows = self._rows if most_rows is None else min(self._rows, padded(most_rows))
        columns = self._columns if most_columns is None else min(self._columns, padded(most_columns))
        return {
            "ROWS": rows,
            "COLUMNS": columns,
            "WIDTH": padded(self._logits.D),
            "num_warps": 4 if rows * columns < 2**11 else 8,
            "num_stages": 3 if self._room >= ROOM_FOR_THREE else 2,
            # A fused s - m would round at one end only: the largest score would not weigh exp(0).
            "enable_fp_fusion": False,
        }


def _shared_memory(device: torch.device) -> int:
    """What a program may hold in shared memory, in bytes; the interpreter has no bounds."""
    if device.type != "cuda":
        return ROOM_FOR_THREE
    return int(getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", 0))


def _side_by_side(stats: SoftmaxStats) -> SoftmaxStats:
    return SoftmaxStats(stats.maximum.contiguous(), stats.log_sum.contiguous())
