# mypy: ignore-errors
"""Row by row: the row statistics, and what is summed over the keys of each query, in one pass.

A program holds some queries of one head and passes over their keys. Its sums stand relative to the largest score
so far, m, and are brought down when a larger one comes:

    t = Σ exp(s - m)      u = Σ exp(s - m)·(s - m)      and so on, each with its own factor

All terms of a sum have one sign, so nothing cancels. Sums over many tiles are float64: one number a row.
"""

from __future__ import annotations

import triton
import triton.language as tl

from limelight.matrix.engine.triton.tile import load, minus_product, scores, skip

LEAST = tl.constexpr(-1e30)  # stands for -∞ where it meets a weight of 0: their product must be a number
NO_KEY = tl.constexpr(2**31 - 1)


@triton.jit
def rows_kernel(
    logits,
    values,
    bounds,
    found,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDTH: tl.constexpr,
    FACTOR_WIDTH: tl.constexpr,
):
    """Fill `found`, `RowsFound` of (B·H, N) tensors, where it is not None."""
    # The last rows of a causal matrix see most: they begin first.
    block, head = tl.num_programs(0) - 1 - tl.program_id(0), tl.program_id(1)
    b, h = head // logits.heads, head % logits.heads
    i0 = block * ROWS
    q_RD = load(logits.q, b, h, i0, logits.N, logits.D, ROWS, WIDTH)
    run = bounds.data + b * bounds.strides[0] + block * 4
    first, full, behind_full, last = tl.load(run), tl.load(run + 1), tl.load(run + 2), tl.load(run + 3)
    state = (
        tl.full([ROWS], float("-inf"), tl.float32),
        tl.zeros([ROWS], tl.float64),
        tl.zeros([ROWS], tl.float64),
        tl.full([ROWS], NO_KEY, tl.int32),
        tl.zeros([ROWS], tl.float64),
        tl.zeros([ROWS], tl.float64),
        tl.zeros([ROWS, FACTOR_WIDTH], tl.float32),
    )
    for j0 in range(full, behind_full, COLUMNS):
        state = _absorb(
            state, logits, values, found, q_RD, b, h, i0, j0, ROWS, COLUMNS, WIDTH, FACTOR_WIDTH, False
        )
    partial = tl.cdiv(full - first, COLUMNS) + tl.cdiv(last - behind_full, COLUMNS)
    for step in range(partial):
        j0 = skip(step, first, full, behind_full, COLUMNS)
        state = _absorb(
            state, logits, values, found, q_RD, b, h, i0, j0, ROWS, COLUMNS, WIDTH, FACTOR_WIDTH, True
        )
    i_R = i0 + tl.arange(0, ROWS)
    at_R = tl.cast(head, tl.int64) * logits.N + i_R
    inside_R = i_R < logits.N
    m_R, t_R, u_R, key_R, behind_R, ahead_R, mix_RX = state
    tl.store(found.m + at_R, m_R, mask=inside_R)
    tl.store(found.t + at_R, t_R, mask=inside_R)
    if found.u is not None:
        tl.store(found.u + at_R, u_R, mask=inside_R)
    if found.key is not None:
        tl.store(found.key + at_R, key_R, mask=inside_R)
    if found.behind is not None:
        tl.store(found.behind + at_R, behind_R, mask=inside_R)
        tl.store(found.ahead + at_R, ahead_R, mask=inside_R)
    if found.mix is not None:
        x = tl.arange(0, FACTOR_WIDTH)
        inside_RX = inside_R[:, None] & (x < values.X)[None, :]
        tl.store(found.mix + at_R[:, None] * values.X + x[None, :], mix_RX, mask=inside_RX)


@triton.jit
def _absorb(
    state,
    logits,
    values,
    found,
    q_RD,
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
    """Take the tile of columns j0:j0 + COLUMNS into the sums of its rows."""
    m_R, t_R, u_R, key_R, behind_R, ahead_R, mix_RX = state
    k_CD = load(logits.k, b, h // logits.heads_a_key_head, j0, logits.M, logits.D, COLUMNS, WIDTH)
    s_RC = scores(logits, q_RD, k_CD, b, h, i0, j0, ROWS, COLUMNS, PARTIAL)
    j_C = j0 + tl.arange(0, COLUMNS)
    here_R = tl.max(s_RC, 1)
    if found.key is not None:
        # Of equals the lowest key, in whichever tile it stands.
        at_R = tl.min(tl.where(s_RC == here_R[:, None], j_C[None, :], NO_KEY), 1)
        better_R = (here_R > m_R) | ((here_R == m_R) & (at_R < key_R))
        key_R = tl.where(better_R, at_R, key_R)
    new_R = tl.maximum(m_R, here_R)
    base_R = tl.where(new_R == float("-inf"), 0.0, new_R)
    below_RC = s_RC - base_R[:, None]
    p_RC = tl.exp(below_RC)
    down_R = tl.exp(m_R - base_R)
    wide_R = down_R.to(tl.float64)
    if found.u is not None:
        moved_R = tl.maximum(m_R - base_R, LEAST).to(tl.float64)
        terms_RC = p_RC * tl.maximum(below_RC, LEAST)
        u_R = (u_R + t_R * moved_R) * wide_R + tl.sum(terms_RC, 1).to(tl.float64)
    t_R = t_R * wide_R + tl.sum(p_RC, 1).to(tl.float64)
    if found.behind is not None:
        i_R = i0 + tl.arange(0, ROWS)
        away_RC = (j_C[None, :] - i_R[:, None] - found.offset).to(tl.float32)
        behind_R = behind_R * wide_R + tl.sum(p_RC * tl.maximum(-away_RC, 0.0), 1).to(tl.float64)
        ahead_R = ahead_R * wide_R + tl.sum(p_RC * tl.maximum(away_RC, 0.0), 1).to(tl.float64)
    if found.mix is not None:
        v_CX = load(values.x, b, h // values.heads_a_head, j0, logits.M, values.X, COLUMNS, FACTOR_WIDTH)
        mix_RX = mix_RX * down_R[:, None] - minus_product(p_RC, v_CX, logits)
    return new_R, t_R, u_R, key_R, behind_R, ahead_R, mix_RX
