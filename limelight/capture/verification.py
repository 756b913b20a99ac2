"""Check a captured matrix: its weights times V must equal the output of the backend."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.errors import CaptureError
from limelight.matrix import AttentionMatrix, RowStats

# Largest difference beside the largest output, by the dtype that the backend computed in.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 3e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


@dataclass(frozen=True)
class Verified:
    """How far W @ V is from what the backend gave, relative to the largest entry of that."""

    error: float
    tolerance: float


def verify(inputs: AttentionInputs, matrix: AttentionMatrix) -> Verified | str:
    """The error of one call, or the reason why it has none.

    Queries that may look at nothing are left out: backends fill them as they like.
    """
    if inputs.dropout:
        return f"dropout of {inputs.dropout:g} was active"
    if inputs.output is None or inputs.value is None:
        return "the backend's own output was not to be had"
    theirs_BHNX = inputs.output.to(matrix.dtype)
    ours_BHNX = matrix @ inputs.value
    blind_BHN = matrix.read(RowStats()).empty
    gap_BHNX = (ours_BHNX - theirs_BHNX).masked_fill(blind_BHN[..., None], 0)
    largest = theirs_BHNX.masked_fill(blind_BHN[..., None], 0).abs()
    if not gap_BHNX.numel():
        return "it is empty"
    error = float(gap_BHNX.abs().max() / largest.max().clamp_min(torch.finfo(matrix.dtype).tiny))
    return Verified(error, TOLERANCE[inputs.output.dtype])


def demand(name: str, found: Verified | str, what: str = "") -> None:
    """Raise CaptureError where the weights are not those of the backend; `what` says which weights of this name."""
    if isinstance(found, Verified) and not found.error <= found.tolerance:
        raise CaptureError(
            f"The weights of {name!r}{what and f', {what},'} must give the backend's own output; the largest "
            f"difference is {found.error:.1e} of the largest entry, and {found.tolerance:.0e} is allowed. This "
            "attention is not captured exactly: load the model with attn_implementation='eager' and "
            "output_attentions=True for its own weights, and please report the model."
        )
