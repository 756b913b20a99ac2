"""AttentionView: one query and head of one attention, in both runs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limelight.explain.paired_run import PairedRun, StackText
from limelight.explain.recorded_forward import KernelCall
from limelight.explain.reference_model import AttentionRun
from limelight.explain.selection import Selection
from limelight.matrix import AttentionMatrix
from limelight.modules.attention import MultiHeadAttention
from limelight.modules.transformer import Block

TINY = 1e-30
"""Weights below this may have become 0 in float32."""


@dataclass(frozen=True)
class AttentionView:
    """One attention as its stages look at it: the query at place `row`, the head `head`.

    `group` is the key head that serves it; `key_row` the key whose vectors are shown: of self-attention the
    query's own, of cross-attention the chosen token of the source.
    """

    part: str
    name: str
    kind: str
    walk: PairedRun
    block: Block
    module: MultiHeadAttention
    run: AttentionRun
    call: KernelCall
    matrix: AttentionMatrix
    queries: StackText
    keys: StackText
    row: int
    key_row: int
    head: int

    @property
    def group(self) -> int:
        return self.head // (self.module.heads // self.module.groups)

    @property
    def seen_M(self) -> Tensor:
        """(M,) bool: the keys that the query may look at."""
        return self.run.seen_NM[self.row]

    def of_row(self, x_BHNM: Tensor) -> Tensor:
        """The query's row of a (B, H, N, M) stage, in its head."""
        return x_BHNM[0, self.head, self.row]

    def differences(self) -> Tensor:
        """What the fused kernel's scores of this row are, up to one constant, (open keys,): ln of its weights.

        The kernel never hands out its scores; the differences between them stand in the weights. Keys whose
        weight float32 may have lost are left out.
        """
        return self.centred(self.of_row(self.call.weights_BHNM.double()).clamp(min=TINY).log())

    def centred(self, x_M: Tensor) -> Tensor:
        """The entries of a row that `differences` has, less their mean."""
        kept = x_M[self.seen_M & (self.of_row(self.run.steps.weights_BHNM) > TINY)]
        return kept - kept.mean()


def view(walk: PairedRun, choice: Selection, kind: str, part: str) -> AttentionView:
    """`kind` is encoder, decoder (their self-attention) or cross."""
    stack = "encoder" if kind == "encoder" else "decoder"
    block = walk.stack(stack).blocks[choice.layer]
    assert isinstance(block, Block)
    inner = "cross_attention" if kind == "cross" else "self_attention"
    name = f"{stack}.blocks.{choice.layer}.{inner}"
    row = choice.rows[kind]
    return AttentionView(
        part,
        name,
        kind,
        walk,
        block,
        getattr(block, inner),
        walk.attention(kind, choice.layer),
        walk.live.calls[name],
        walk.live.matrices[name],
        walk.queries(kind),
        walk.keys(kind),
        row,
        choice.rows["encoder"] if kind == "cross" else row,
        choice.heads[kind],
    )
