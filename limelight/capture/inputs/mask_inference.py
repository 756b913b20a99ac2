"""Recognise mask tensors as rules (causal, window, padding), so that no N × M table is kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limelight.capture.inputs.relative_bias import Diagonals, as_diagonals
from limelight.capture.inputs.tensor_memo import TensorMemo
from limelight.errors import ArgumentTypeError
from limelight.matrix import Mask, masks


@dataclass(frozen=True, eq=False)
class ParsedMask:
    """What a mask tensor says: who may look at whom (None: everyone at everything), and what is added."""

    mask: Mask | None
    bias: Tensor | None
    hides_rows: bool = False
    """Whether there are queries that may look at nothing."""


_READ: TensorMemo[ParsedMask] = TensorMemo()


def read(tensor: Tensor) -> ParsedMask:
    """A mask tensor that broadcasts to (B, H, N, M): a bool one, True = may attend, or a float one that is added.

    Adding the least number of a dtype is the same as hiding, exactly, in every row that sees something else: the
    weight underflows to 0. Such a mask becomes a rule, whose hidden keys are known to be hidden. A row in which
    nothing but the least number stands sees everything alike, so there the mask stays what it is, a bias.
    """
    return _READ.of(tensor, find=lambda: _read(tensor))


def with_position_bias(
    tensor: Tensor | None, position_bias: Tensor
) -> tuple[Mask | None, Tensor | Diagonals]:
    """A mask and a bias together as models join them, copying neither unless a whole row is hidden.

    There, models put the least number in the place of the bias, and the row sees everything alike.
    """
    if tensor is None:
        return None, as_diagonals(position_bias)
    told = read(tensor)
    if told.hides_rows and tensor.dtype == torch.bool:
        return None, torch.where(tensor, position_bias, torch.finfo(position_bias.dtype).min)
    return told.mask, as_diagonals(position_bias) if told.bias is None else position_bias + told.bias


def _read(tensor: Tensor) -> ParsedMask:
    wide = tensor.detach()[(None,) * (4 - tensor.dim())]
    if wide.dtype == torch.bool:
        return ParsedMask(shortest(wide), None, _hides_rows(wide))
    if not wide.is_floating_point():
        raise ArgumentTypeError(f"A mask tensor must be bool or float; got {tensor.dtype}.")
    hidden = wide <= torch.finfo(wide.dtype).min / 2
    if not bool((hidden | (wide == 0)).all()):
        return ParsedMask(None, wide)
    seen = ~hidden
    if _hides_rows(seen) and not bool((seen.any(-1) | (wide == -torch.inf).all(-1)).all()):
        return ParsedMask(None, wide)
    return ParsedMask(shortest(seen), None, _hides_rows(seen))


def _hides_rows(seen_BHNM: Tensor) -> bool:
    return not bool(seen_BHNM.any(-1).all())


def shortest(seen_BHNM: Tensor) -> Mask | None:
    """The shortest rule that says the same as a table: padding, causal, a window, or the table itself."""
    if seen_BHNM.stride(-2) == 0:  # an expanded row
        seen_BHNM = seen_BHNM[:, :, :1]
    if bool(seen_BHNM.all()):
        return None
    N, M = seen_BHNM.shape[-2:]
    columns = seen_BHNM.any(-2, keepdim=True)
    if torch.equal(seen_BHNM, columns.expand_as(seen_BHNM)):
        return masks.dense(columns)
    padding = None if bool(columns.all()) else masks.dense(columns)
    reach = int(seen_BHNM[:, :, -1:].sum(-1).max())  # what the last query sees: the width of a window
    for rule in (masks.causal(), masks.causal() & masks.window(max(reach, 1))):
        if N <= M and torch.equal(seen_BHNM, columns & rule.dense(N, M, seen_BHNM.device)):
            return rule if padding is None else rule & padding
    return masks.dense(seen_BHNM)
