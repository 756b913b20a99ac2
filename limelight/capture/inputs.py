"""What an attention backend was given: one call, in the words of `AttentionMatrix`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from limelight.matrix import AttentionMatrix, Mask
from limelight.matrix.scores import BiasFunction

Kind = Literal["self", "cross"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Inputs:
    """References to what one call of attention was computed from; nothing is copied.

    query (B, H, N, D), key (B, G, M, D), value (B, G, M, X), and the rest as `AttentionMatrix` takes it.
    """

    query: Tensor
    key: Tensor
    value: Tensor | None = None
    mask: Mask | None = None
    bias: Tensor | BiasFunction | None = None
    scale: float | None = None
    softcap: float | None = None
    sink: Tensor | None = None
    output: Tensor | None = None
    """What the backend made of it, (B, H, N, X), to be verified against."""
    dropout: float = 0.0
    """The share of weights that the backend dropped; those kept here are the weights before."""
    backend: str = ""
    """Who computed it: "sdpa", "eager", "flash_attention_2", …"""
    kind: Kind = "self"
    """Whether the keys come from the queries' own sequence or from another."""
    notes: tuple[str, ...] = ()
    """What a reader of the weights should know of this call."""

    def matrix(self) -> AttentionMatrix:
        """The attention matrix of this call. Raises ShapeError or KindError where the inputs do not fit."""
        return AttentionMatrix(
            self.query,
            self.key,
            self.value,
            mask=self.mask,
            scale=self.scale,
            bias=self.bias,
            softcap=self.softcap,
            sink=self.sink,
        )
