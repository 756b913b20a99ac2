# mypy: ignore-errors
"""Column by column: what is summed over the queries of each key, the row statistics being known.

A program owns some keys of one head and passes over the queries that see them, so no two programs add to one
number: no atomics, and the same sums to the bit each time.
"""

from __future__ import annotations

import triton
import triton.language as tl

from limelight.matrix.engine.triton.tile import load, minus_product, scores, skip, weights


@triton.jit
def columns_kernel(
    logits,
    stats,
    factors,
    bounds,
    found,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDTH: tl.constexpr,
    FACTOR_WIDTH: tl.constexpr,
):
    """Fill `found`, `ColumnsFound` of (B·H, M) tensors, where it is not None."""
    block, head = tl.program_id(0), tl.program_id(1)
    b, h = head // logits.heads, head % logits.heads
    j0 = block * COLUMNS
    k_CD = load(logits.k, b, h // logits.heads_a_key_head, j0, logits.M, logits.D, COLUMNS, WIDTH)
    run = bounds.data + b * bounds.strides[0] + block * 4
    first, full, behind_full, last = tl.load(run), tl.load(run + 1), tl.load(run + 2), tl.load(run + 3)
    state = (
        tl.zeros([COLUMNS], tl.float64),
        tl.zeros([COLUMNS], tl.int32),
        tl.zeros([COLUMNS, FACTOR_WIDTH], tl.float32),
    )
    for i0 in range(full, behind_full, ROWS):
        state = _absorb(
            state,
            logits,
            stats,
            factors,
            found,
            k_CD,
            b,
            h,
            i0,
            j0,
            ROWS,
            COLUMNS,
            WIDTH,
            FACTOR_WIDTH,
            False,
        )
    partial = tl.cdiv(full - first, ROWS) + tl.cdiv(last - behind_full, ROWS)
    for step in range(partial):
        i0 = skip(step, first, full, behind_full, ROWS)
        state = _absorb(
            state, logits, stats, factors, found, k_CD, b, h, i0, j0, ROWS, COLUMNS, WIDTH, FACTOR_WIDTH, True
        )
    j_C = j0 + tl.arange(0, COLUMNS)
    at_C = tl.cast(head, tl.int64) * logits.M + j_C
    inside_C = j_C < logits.M
    raw_C, queries_C, mix_CX = state
    if found.raw is not None:
        tl.store(found.raw + at_C, raw_C, mask=inside_C)
        tl.store(found.queries + at_C, queries_C.to(tl.int64), mask=inside_C)
    if found.mix is not None:
        x = tl.arange(0, FACTOR_WIDTH)
        inside_CX = inside_C[:, None] & (x < factors.X)[None, :]
        tl.store(found.mix + at_C[:, None] * factors.X + x[None, :], mix_CX, mask=inside_CX)


@triton.jit
def _absorb(
    state,
    logits,
    stats,
    factors,
    found,
    k_CD,
    b,
    h,
    i0,
    j0,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDTH: tl.constexpr,
    FACTOR_WIDTH: tl.constexpr,
    PARTIAL: tl.constexpr,
):
    """Take the tile of rows i0:i0 + ROWS into the sums of its columns."""
    raw_C, queries_C, mix_CX = state
    q_RD = load(logits.q, b, h, i0, logits.N, logits.D, ROWS, WIDTH)
    s_RC = scores(logits, q_RD, k_CD, b, h, i0, j0, ROWS, COLUMNS, PARTIAL)
    a_RC = weights(logits, stats, s_RC, b, h, i0, ROWS)
    if found.raw is not None:
        raw_C += tl.sum(a_RC, 0).to(tl.float64)
        if PARTIAL:
            queries_C += tl.sum((s_RC != float("-inf")).to(tl.int32), 0)
        else:
            queries_C += ROWS
    if found.mix is not None:
        x_RX = load(factors.x, b, h // factors.heads_a_head, i0, logits.N, factors.X, ROWS, FACTOR_WIDTH)
        mix_CX = mix_CX - minus_product(tl.trans(a_RC), x_RX, logits)
    return raw_C, queries_C, mix_CX
