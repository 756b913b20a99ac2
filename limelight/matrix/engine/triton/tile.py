# mypy: ignore-errors
"""One tile of scores, inside a kernel: S = cap(scale·QKᵀ) + bias, and -∞ where the mask says so.

Names as in all of `limelight.matrix`: R rows and C columns of one batch and head, D the width of a head. What a
matrix does not have (a bias, a table, documents) is None in `Logits`, and the kernel is compiled without it.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def scores(
    logits, q_RD, k_CD, b, h, i0, j0, ROWS: tl.constexpr, COLUMNS: tl.constexpr, PARTIAL: tl.constexpr
):
    """The masked scores of rows i0:i0 + ROWS and columns j0:j0 + COLUMNS, float32 (R, C).

    A tile that is not PARTIAL lies within the matrix, and every place of it may be seen.
    """
    if logits.upcast is not None:
        q_RD = q_RD.to(tl.float32)
        k_CD = k_CD.to(tl.float32)
    # "ieee" matters to float32 alone: TF32 would keep 10 of its 23 bits.
    s_RC = tl.dot(q_RD, tl.trans(k_CD), input_precision="ieee") * logits.scale
    if logits.softcap is not None:
        s_RC = logits.softcap * tanh(s_RC / logits.softcap)
    i_R, j_C = i0 + tl.arange(0, ROWS), j0 + tl.arange(0, COLUMNS)
    if logits.bias is not None:
        inside_RC = (i_R < logits.N)[:, None] & (j_C < logits.M)[None, :]
        places_RC = _places(logits.bias, b, h, i_R, j_C)
        s_RC += tl.load(places_RC, mask=inside_RC, other=0.0).to(tl.float32)
    if PARTIAL:
        s_RC = tl.where(seen(logits, b, h, i_R, j_C), s_RC, float("-inf"))
    return s_RC


@triton.jit
def weights(logits, stats, s_RC, b, h, i0, ROWS: tl.constexpr):
    """exp((s - m) - l), 0 in rows that see nothing."""
    i_R = i0 + tl.arange(0, ROWS)
    at_R = tl.cast(b * logits.heads + h, tl.int64) * logits.N + i_R
    m_R = tl.load(stats.maximum + at_R, mask=i_R < logits.N, other=0.0)
    l_R = tl.load(stats.log_sum + at_R, mask=i_R < logits.N, other=0.0)
    base_R = tl.where(m_R == float("-inf"), 0.0, m_R)
    return tl.exp(s_RC - base_R[:, None] - l_R[:, None])


@triton.jit
def seen(logits, b, h, i_R, j_C):
    """Which places of a tile lie within the matrix and may be seen: all of `BlockMask` at once, bool (R, C)."""
    row_R, key_C = i_R < logits.N, j_C < logits.M
    sight = logits.sight
    if sight.box is not None:
        corner = sight.box.data + b * sight.box.strides[0]
        row_R = row_R & (i_R >= tl.load(corner)) & (i_R < tl.load(corner + 1))
        key_C = key_C & (j_C >= tl.load(corner + 2)) & (j_C < tl.load(corner + 3))
    seen_RC = row_R[:, None] & key_C[None, :]
    ahead_RC = j_C[None, :] - i_R[:, None]
    if sight.low is not None:
        seen_RC = seen_RC & (ahead_RC >= sight.low)
    if sight.high is not None:
        seen_RC = seen_RC & (ahead_RC <= sight.high)
    if sight.row_ids is not None:
        own = sight.row_ids.data + tl.cast(b, tl.int64) * sight.row_ids.strides[0]
        theirs = sight.key_ids.data + tl.cast(b, tl.int64) * sight.key_ids.strides[0]
        own_R = tl.load(own + i_R, mask=i_R < logits.N, other=0)
        theirs_C = tl.load(theirs + j_C, mask=j_C < logits.M, other=0)
        if sight.earlier is not None:
            seen_RC = seen_RC & (theirs_C[None, :] <= own_R[:, None])
        else:
            seen_RC = seen_RC & (theirs_C[None, :] == own_R[:, None])
    if sight.table is not None:
        seen_RC = seen_RC & (tl.load(_places(sight.table, b, h, i_R, j_C), mask=seen_RC, other=0) != 0)
    return seen_RC


@triton.jit
def load(x, b, h, first, size, width, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """Rows first:first + ROWS of x[b, h], (ROWS, WIDTH), 0 beyond `size` rows and `width` columns."""
    rows, columns = first + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    inside = (rows < size)[:, None] & (columns < width)[None, :]
    return tl.load(_places(x, b, h, rows, columns), mask=inside, other=0.0)


@triton.jit
def _places(x, b, h, rows, columns):
    """Where x[b, h, rows, columns] stand: 64 bits, since a million tokens times a stride pass 2³¹."""
    start = x.data + tl.cast(b, tl.int64) * x.strides[0] + tl.cast(h, tl.int64) * x.strides[1]
    below = rows.to(tl.int64) * x.strides[2]
    return start + below[:, None] + (columns.to(tl.int64) * x.strides[3])[None, :]


@triton.jit
def tanh(x):
    """To the last bits: Lambert's continued fraction near 0, where 1 - 2/(e²ˣ + 1) would cancel."""
    square = x * x
    near = x / (1 + square / (3 + square / (5 + square / (7 + square / (9 + square / 11)))))
    size = tl.abs(x)
    far = 1 - 2 / (tl.exp(2 * size) + 1)  # exp may reach infinity, which makes it 1
    return tl.where(size < 0.75, near, tl.where(x < 0, -far, far))


@triton.jit
def minus_product(a_RC, x_CX, logits):
    """-a·x, as if both had been multiplied in float32, (R, X).

    bf16 is multiplied where the hardware does that fast: a float32 is the sum of three bf16, to the bit.
    The sign is for the caller, who subtracts. A sum of products the compiler turns into one accumulation in the
    matrix unit, which cuts off bits at every step, all in one direction; a difference it lets be.
    """
    a_RC = -a_RC
    if x_CX.dtype == tl.bfloat16:
        first = a_RC.to(tl.bfloat16)
        rest = a_RC - first.to(tl.float32)
        second = rest.to(tl.bfloat16)
        third = (rest - second.to(tl.float32)).to(tl.bfloat16)
        if logits.upcast is not None:
            x_CX = x_CX.to(tl.float32)
            small = tl.dot(third.to(tl.float32), x_CX) + tl.dot(second.to(tl.float32), x_CX)
            return small + tl.dot(first.to(tl.float32), x_CX)
        return tl.dot(third, x_CX) + tl.dot(second, x_CX) + tl.dot(first, x_CX)
    return tl.dot(a_RC, x_CX.to(tl.float32), input_precision="ieee")


@triton.jit
def skip(step, first, full, behind_full, SIZE: tl.constexpr):
    """Where the n-th partial tile of a run begins: first those before its full tiles, then those behind."""
    start = first + step * SIZE
    return tl.where(start < full, start, start + behind_full - full)
