"""Products of two batches of matrices: as Q·Kᵀ, and as weights·V.

A function of PRODUCTS reads the arguments of one torch function as Q·Kᵀ. A function of WEIGHINGS reads them as
weights·V, and gives a function from the result to V (…, M, D) and the output (…, N, D).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from limelight.capture.families.scores import Scores

Weighed = Callable[[Tensor], tuple[Tensor, Tensor]]


def _product(result: Tensor, a: Tensor, b: Tensor, **_: Any) -> Scores | None:
    """a @ b, where both are batches of matrices; a single matrix is a projection."""
    if a.dim() < 3 or b.dim() < 3:
        return None
    return Scores(a.detach(), b.detach().transpose(-1, -2), tuple(result.shape))


def _added_product(
    result: Tensor, bias: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Scores | None:
    terms = ((bias.detach(), float(beta)),) if beta else ()
    q, k = batch1.detach(), batch2.detach().transpose(-1, -2)
    return Scores(q, k, tuple(result.shape), float(alpha), terms=terms)


def _einsum_product(result: Tensor, equation: Any, *operands: Any) -> Scores | None:
    read = _einsum(equation, operands)
    if read is None:
        return None
    (left, a), (right, b), out = read
    row, column = out[-2], out[-1]
    if row not in left:
        left, a, right, b = right, b, left, a
    if row in right or column in left or row not in left or column not in right:
        return None
    summed = [letter for letter in left if letter in right and letter not in out]
    lead = out[:-2]
    if len(summed) != 1 or set(left + right) != set(out + "".join(summed)):
        return None
    q = _arranged(a, left, lead + row + summed[0])
    k = _arranged(b, right, lead + column + summed[0])
    return Scores(q.detach(), k.detach(), tuple(result.shape))


def _weighing(
    weights: Scores, known: Mapping[Tensor, Scores], a: Tensor, b: Tensor, **_: Any
) -> Weighed | None:
    if a not in known or not known[a].weights:
        return None
    return lambda result: (b.detach(), result.detach())


def _einsum_weighing(
    weights: Scores, known: Mapping[Tensor, Scores], equation: Any, *operands: Any
) -> Weighed | None:
    read = _einsum(equation, operands)
    if read is None:
        return None
    (left, a), (right, b), out = read
    if a not in known:
        left, a, right, b = right, b, left, a
    lead, row, column = left[:-2], left[-2], left[-1]
    width = [letter for letter in right if letter not in left]
    if column not in right or column in out or row not in out or len(width) != 1:
        return None
    v = _arranged(b, right, lead + column + width[0])
    return lambda result: (v.detach(), _arranged(result, out, lead + row + width[0]).detach())


def _einsum(equation: Any, operands: Any) -> tuple[tuple[str, Tensor], tuple[str, Tensor], str] | None:
    """Letters and tensors of both operands, and the letters of the result, all written out."""
    if not isinstance(equation, str) or "->" not in equation:
        return None
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = operands[0]
    inputs, out = equation.replace(" ", "").split("->")
    letters = inputs.split(",")
    if len(operands) != 2 or len(letters) != 2 or len(out) < 2:
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


PRODUCTS: dict[str, Callable[..., Scores | None]] = {
    "matmul": _product,
    "bmm": _product,
    "baddbmm": _added_product,
    "einsum": _einsum_product,
}

WEIGHINGS: dict[str, Callable[..., Weighed | None]] = {
    "matmul": _weighing,
    "bmm": _weighing,
    "einsum": _einsum_weighing,
}
