"""Recognise batched matrix products (matmul, bmm, einsum) as Q·Kᵀ or as weights·V.

A function of PRODUCTS reads the arguments of one torch function as Q·Kᵀ. A function of WEIGHINGS reads them as
weights·V, or V·weightsᵀ, and gives a function from the result to V (…, M, D) and the output (…, N, D).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from limelight.capture.sources.op_tracing.axis_origins import Axis, Label, Look, label_of
from limelight.capture.sources.op_tracing.scores import ScoreMemo, ScoreProduct, TracedScores

Weighed = Callable[[Tensor], tuple[Tensor, Tensor]]


def _product(of: Look, result: Tensor, a: Tensor, b: Tensor, **_: Any) -> TracedScores | None:
    """a @ b, where both are batches of matrices, or matrices that were computed; a single trained matrix is a
    projection."""
    made = _made(of, a, b, -2, -1)
    fewest = 2 if made is not None and made.activations else 3
    if made is None or a.dim() < fewest or b.dim() < fewest or result.dim() < 2:
        return None
    k = b.detach().transpose(-1, -2)
    return TracedScores(a.detach(), k, tuple(result.shape), made=made, lead=_lead(of, result, a, b))


def _made(of: Look, a: Tensor, b: Tensor, row: int, column: int) -> ScoreProduct | None:
    """What the axes of the product count; None for a product of two parameters."""
    left, right = of(a), of(b)
    constant = [origin is not None and origin.constant for origin in (left, right)]
    if all(constant) or a.dim() < 2 or b.dim() < 2:
        return None

    def label(origin: Any, axis: int) -> Label:
        return "unknown" if origin is None else label_of(origin.axes[axis])

    return ScoreProduct(label(left, row), label(right, column), not any(constant))


def _lead(of: Look, result: Tensor, *operands: Tensor) -> tuple[Axis, ...] | None:
    """What the axes before the last two count, of the operand that has them all."""
    for operand in operands:
        origin = of(operand)
        if origin is not None and operand.dim() == result.dim() and operand.shape[:-2] == result.shape[:-2]:
            return origin.axes[:-2]
    return None


def _linear_product(
    of: Look, result: Tensor, a: Tensor, b: Tensor, *bias: Any, **_: Any
) -> TracedScores | None:
    """A linear layer whose weight was computed from the input."""
    origin = of(b)
    if origin is None or origin.constant or any(one is not None for one in bias):
        return None
    return _product(of, result, a, b.transpose(-1, -2))


def _added_product(
    of: Look,
    result: Tensor,
    bias: Tensor,
    batch1: Tensor,
    batch2: Tensor,
    *,
    beta: float = 1,
    alpha: float = 1,
    **_: Any,
) -> TracedScores | None:
    plain = _product(of, result, batch1, batch2)
    if plain is None:
        return None
    return replace(plain, scale=float(alpha), terms=((bias.detach(), float(beta)),) if beta else ())


def _einsum_product(of: Look, result: Tensor, equation: Any, *operands: Any) -> TracedScores | None:
    read = einsum_of(equation, operands)
    if read is None:
        return None
    (left, a), (right, b), out = read
    summed = "".join(letter for letter in left if letter in right and letter not in out)
    ends = _row_and_column(left, right, out)
    if ends is None or not summed or set(left + right) != set(out + summed):
        return None
    row, column = ends
    if row not in left:
        left, a, right, b = right, b, left, a
    made = _made(of, a, b, left.index(row), right.index(column))
    if made is None or (not made.activations and min(a.dim(), b.dim()) < 3):
        return None
    lead = "".join(letter for letter in out if letter not in (row, column))
    axes = len(out)
    at = (out.index(row) - axes, out.index(column) - axes)
    q = _arranged(a, left, lead + row + summed).flatten(len(lead) + 1)
    k = _arranged(b, right, lead + column + summed).flatten(len(lead) + 1)
    origin = of(a)
    known = (
        None
        if origin is None or not set(lead) <= set(left)
        else tuple(origin.axes[left.index(letter)] for letter in lead)
    )
    shape = tuple(result.shape[out.index(letter)] for letter in lead + row + column)
    return TracedScores(q.detach(), k.detach(), shape, at=at, made=made, lead=known)


def _row_and_column(left: str, right: str, out: str) -> tuple[str, str] | None:
    """Which letters of the result stand for queries and keys: each of one operand alone."""
    rows = [letter for letter in out if letter in left and letter not in right]
    columns = [letter for letter in out if letter in right and letter not in left]
    if len(rows) == len(columns) == 1:
        return rows[0], columns[0]
    row, column = out[-2], out[-1]
    if (row in rows and column in columns) or (row in columns and column in rows):
        return row, column
    return None


def _weighing(weights: TracedScores, known: ScoreMemo, a: Tensor, b: Tensor, **_: Any) -> Weighed | None:
    if known.get(a) is weights:
        if weights.at == (-2, -1):
            return lambda result: (b.detach(), result.detach())
    elif weights.at == (-1, -2):
        return lambda result: (a.detach().mT, result.detach().mT)
    return None


def _einsum_weighing(
    weights: TracedScores, known: ScoreMemo, equation: Any, *operands: Any
) -> Weighed | None:
    read = einsum_of(equation, operands)
    if read is None:
        return None
    (left, a), (right, b), out = read
    if known.get(a) is not weights:
        left, a, right, b = right, b, left, a
    row, column = left[weights.at[0]], left[weights.at[1]]
    lead = "".join(letter for letter in left if letter not in (row, column))
    width = "".join(letter for letter in right if letter not in left)
    if column not in right or column in out or row not in out or row in right or not set(lead) <= set(out):
        return None
    v = _arranged(b, right, lead + column + width).flatten(len(lead) + 1)

    def weighed(result: Tensor) -> tuple[Tensor, Tensor]:
        return v.detach(), _arranged(result, out, lead + row + width).flatten(len(lead) + 1).detach()

    return weighed if width else None


def einsum_of(equation: Any, operands: Any) -> tuple[tuple[str, Tensor], tuple[str, Tensor], str] | None:
    """Letters and tensors of both operands, and the letters of the result, all written out."""
    if not isinstance(equation, str):
        return None
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = operands[0]
    inputs, arrow, out = equation.replace(" ", "").partition("->")
    letters = inputs.split(",")
    if not arrow:
        named = inputs.replace(",", "").replace("...", "")
        out = "".join(sorted(letter for letter in set(named) if named.count(letter) == 1))
        out = ("..." if "..." in inputs else "") + out
    twice = any(named.count(letter) > 1 for named in letters for letter in named if letter != ".")
    if len(operands) != 2 or len(letters) != 2 or len(out) < 2 or twice:
        return None
    if "..." in equation:
        spare = "".join(letter for letter in "ABCDEFGH" if letter not in equation)
        axes = {x.dim() - len(named.replace("...", "")) for named, x in zip(letters, operands, strict=True)}
        if len(axes) != 1 or not all("..." in named for named in letters):
            return None
        for_dots = spare[: axes.pop()]
        letters = [named.replace("...", for_dots) for named in letters]
        out = out.replace("...", for_dots)
    return (letters[0], operands[0]), (letters[1], operands[1]), out


def _arranged(tensor: Tensor, letters: str, wanted: str) -> Tensor:
    """Its axes in the wanted order, 1 long where it has none."""
    present = [letter for letter in wanted if letter in letters]
    tensor = torch.permute(tensor, [letters.index(letter) for letter in present])
    return tensor[tuple(slice(None) if letter in letters else None for letter in wanted)]


PRODUCTS: dict[str, Callable[..., TracedScores | None]] = {
    "matmul": _product,
    "bmm": _product,
    "mm": _product,
    "baddbmm": _added_product,
    "addmm": _added_product,
    "linear": _linear_product,
    "einsum": _einsum_product,
}

WEIGHINGS: dict[str, Callable[..., Weighed | None]] = {
    "matmul": _weighing,
    "bmm": _weighing,
    "mm": _weighing,
    "einsum": _einsum_weighing,
}
