"""What a tensor of scores is made of, as far as the tape has followed it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from limelight.capture.families.lookups import Lookup

FAR = -1e4
"""A score that was lowered to this or below is hidden: the smallest step that models use."""


@dataclass(frozen=True)
class Scores:
    """cap·tanh(scale·QKᵀ ÷ cap) + the terms + the lookups, and `fill` where a mask hides, of the shape (…, N, M).

    q (…, N, D) and k (…, M, D), the terms (tensor, factor) and the hidden places (True = hidden, fill) all broadcast
    to that shape.
    """

    q: Tensor
    k: Tensor
    shape: tuple[int, ...]
    scale: float = 1.0
    cap: float | None = None
    terms: tuple[tuple[Tensor, float], ...] = ()
    hidden: tuple[tuple[Tensor, float], ...] = ()
    zeroed: tuple[Tensor, ...] = ()
    """Places where the weights, after softmax, were set to 0 (True = set)."""
    lookups: tuple[Lookup, ...] = ()
    product: bool = True
    """Whether QKᵀ is in it; False for what was looked up and may be added to scores."""
    weights: bool = False
    dropout: float = 0.0


Step = Callable[..., Scores | None]
"""What is known of the scores, the result of an operation on them, the dictionary of all known scores, and the
operation's own arguments → what is known of the result, or None where that is no longer of this form."""
