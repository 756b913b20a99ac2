# mypy: ignore-errors
"""Area by area: the sum, the maximum and the count of the weights where some queries meet some keys.

A program owns one area, a run of neighbouring queries by a run of neighbouring keys, and passes over its tiles. A
tile of which nothing may be seen costs no more than finding that out.
"""

from __future__ import annotations

import triton
import triton.language as tl

from limelight.matrix.engine.triton.tile import load, scores, seen, weights


@triton.jit
def areas_kernel(
    logits,
    stats,
    row_runs,
    column_runs,
    found,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Fill `found`, `AreasFound` of (B·H, row runs · column runs) tensors."""
    area, head = tl.program_id(0), tl.program_id(1)
    b, h = head // logits.heads, head % logits.heads
    row_run = row_runs.data + b * row_runs.strides[0] + area // found.across * 2
    column_run = column_runs.data + b * column_runs.strides[0] + area % found.across * 2
    i_first, i_last = tl.load(row_run), tl.load(row_run + 1)
    j_first, j_last = tl.load(column_run), tl.load(column_run + 1)
    total = tl.full([], 0.0, tl.float64)
    maximum = tl.full([], 0.0, tl.float32)
    count = tl.full([], 0, tl.int64)
    for i0 in range(i_first, i_last, ROWS):
        i_R = i0 + tl.arange(0, ROWS)
        q_RD = load(logits.q, b, h, i0, logits.N, logits.D, ROWS, WIDTH)
        for j0 in range(j_first, j_last, COLUMNS):
            j_C = j0 + tl.arange(0, COLUMNS)
            inside_RC = (i_R < i_last)[:, None] & (j_C < j_last)[None, :]
            seen_RC = seen(logits, b, h, i_R, j_C) & inside_RC
            if tl.max(tl.max(seen_RC.to(tl.int32), 1), 0) > 0:
                k_CD = load(logits.k, b, h // logits.heads_a_key_head, j0, logits.M, logits.D, COLUMNS, WIDTH)
                s_RC = scores(logits, q_RD, k_CD, b, h, i0, j0, ROWS, COLUMNS, False)
                s_RC = tl.where(seen_RC, s_RC, float("-inf"))
                a_RC = weights(logits, stats, s_RC, b, h, i0, ROWS)
                total += tl.sum(tl.sum(a_RC, 1), 0).to(tl.float64)
                maximum = tl.maximum(maximum, tl.max(tl.max(a_RC, 1), 0))
                count += tl.sum(tl.sum((s_RC != float("-inf")).to(tl.int32), 1), 0).to(tl.int64)
    at = tl.cast(head, tl.int64) * tl.num_programs(0) + area
    tl.store(found.total + at, total)
    tl.store(found.maximum + at, maximum)
    tl.store(found.seen + at, count)
