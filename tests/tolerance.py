"""The one table of tolerances: how far a number may be from the float64 truth on the same rounded inputs.

Two bounds a quantity: the root mean square of the error over that of the truth, which sees a small bias
everywhere, and the largest single error, which sees one wrong entry. Whoever loosens a bound changes it here,
for everybody. Inputs of bf16 and fp16 are held to the float32 column: tiles are float32 whatever the inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Bound:
    rms: float
    """Root mean square of the error, over that of the truth …"""
    largest: float
    """The largest error of one element …"""
    relative: bool = False
    """… absolute, or over max(1, |truth|)."""
    unit: float = 0.0
    """… or over this where the truth is smaller: logs and places are known to a part of one, however near 0."""


FLOAT32 = {
    "scores": Bound(5e-7, 2e-6, relative=True),
    "weights": Bound(1e-6, 1e-6),
    "maximum": Bound(1e-6, 1e-6, relative=True, unit=1.0),
    "log sum": Bound(1e-6, 1e-6, relative=True, unit=1.0),
    "received": Bound(1e-6, 1e-6, relative=True),
    "entropy": Bound(1e-6, 1e-6, relative=True, unit=1.0),
    "distance": Bound(1e-6, 1e-6, relative=True, unit=1.0),
    "pooled": Bound(1e-6, 1e-6, relative=True),
    # A float32 matrix product of some hundred equal terms is off by as much.
    "output": Bound(3e-6, 4e-6, relative=True),
    "gradient": Bound(2e-6, 1e-5, relative=True),
}
FLOAT64 = {name: Bound(1e-13, 1e-12, bound.relative, bound.unit) for name, bound in FLOAT32.items()}
TABLE = {torch.float32: FLOAT32, torch.float64: FLOAT64}


def check(
    quantity: str, got: Tensor, truth: Tensor, logits: float = 0.0, beside: Tensor | None = None
) -> None:
    """Assert that `got` is `truth` within the table's bounds for its dtype; the message says how far it is.

    `logits` is the size of the largest score where it is beyond the ordinary: a float32 score of that size is
    itself known no better than its last bit, and every weight made of it inherits that relative error.
    `beside` is the larger quantity whose size bounds the error where the truth is a difference.
    """
    assert got.shape == truth.shape, f"{quantity}: shape {tuple(got.shape)} instead of {tuple(truth.shape)}"
    if truth.numel() == 0:
        return
    bound = TABLE[got.dtype][quantity]
    allowance = 4 * logits * torch.finfo(got.dtype).eps
    got, truth = got.double(), truth.double()
    assert not got.isnan().any(), f"{quantity}: NaN"
    same = got == truth  # infinities of one sign among them
    error = torch.where(same, 0.0, got - truth).abs()
    size = truth if beside is None else beside.double()
    size = size.where(size.isfinite(), 0.0)
    typical = size.square().mean().sqrt().clamp(min=max(bound.unit, 1e-30))
    rms = float(error.square().mean().sqrt() / typical)
    largest = float((error / size.abs().clamp(min=1.0)).max() if bound.relative else error.max())
    for shares in _listening.get():
        share = max(rms / (bound.rms + allowance), largest / (bound.largest + allowance))
        shares[quantity] = max(share, shares.get(quantity, 0.0))
    assert rms <= bound.rms + allowance, f"{quantity}: relative RMS error {rms:.2e} > {bound.rms:.0e}"
    assert largest <= bound.largest + allowance, (
        f"{quantity}: largest error {largest:.2e} > {bound.largest:.0e}"
    )


_listening: ContextVar[tuple[dict[str, float], ...]] = ContextVar("listening", default=())


@contextmanager
def shares() -> Iterator[dict[str, float]]:
    """The largest share of its bound that each quantity takes up in the checks within; above 1 it fails.

    >>> with shares() as taken:
    ...     check("weights", torch.tensor([0.5 + 2**-23]), torch.tensor([0.5]))
    >>> round(taken["weights"], 2)
    0.24
    """
    taken: dict[str, float] = {}
    token = _listening.set((*_listening.get(), taken))
    try:
        yield taken
    finally:
        _listening.reset(token)
