"""ReferenceModel: the whole model in float64, computed from its weights, stage by stage.

Nothing of the model's own forward is called. Attention runs through `limelight.matrix.reference`; positions, norms
and the feed-forward are written out here from their formulas. Every check of `explain` compares with this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limelight.errors import ArgumentTypeError
from limelight.explain.formulas import activated, causal, distance_bias, turned, waves
from limelight.matrix import reference
from limelight.modules.positions import Learned, Positions, Sinusoidal
from limelight.modules.transformer import Block, Classifier, LanguageModel, Stack, Transformer


@dataclass(frozen=True)
class AttentionRun:
    """One attention sublayer, from the residual stream that enters it to the one that leaves it.

    x_BNE enters; normed_BNE is what the projections read (x itself under post-norm); q, k, v of all heads side
    by side, then split (`split_*`), then turned where positions are rotary (`q_BHND`, `k_BGMD`); `steps` are
    the stages of equation 1; joined_BNX the heads side by side; mixed_BNE after Wo; sum_BNE with the residual;
    left_BNE after the norm of post-norm, else the sum.
    """

    x_BNE: Tensor
    normed_BNE: Tensor
    q_BNX: Tensor
    k_BMX: Tensor
    v_BMX: Tensor
    split_q_BHND: Tensor
    split_k_BGMD: Tensor
    q_BHND: Tensor
    k_BGMD: Tensor
    v_BGMD: Tensor
    bias_HNM: Tensor | None
    seen_NM: Tensor
    steps: reference.AttentionStages
    joined_BNX: Tensor
    mixed_BNE: Tensor
    sum_BNE: Tensor
    left_BNE: Tensor


@dataclass(frozen=True)
class FeedForwardRun:
    """The feed-forward sublayer: x → norm → hidden (after the activation) → out → sum with x → left."""

    normed_BNE: Tensor
    hidden_BNF: Tensor
    out_BNE: Tensor
    sum_BNE: Tensor
    left_BNE: Tensor


@dataclass(frozen=True)
class BlockRun:
    own: AttentionRun
    cross: AttentionRun | None
    feed: FeedForwardRun


@dataclass(frozen=True)
class StackRun:
    """row_BNE straight from the table; embedded_BNE times √E; positioned_BNE enters block 0; out_BNE leaves."""

    row_BNE: Tensor
    embedded_BNE: Tensor
    positioned_BNE: Tensor
    blocks: tuple[BlockRun, ...]
    out_BNE: Tensor


@dataclass(frozen=True)
class ModelRun:
    """The stacks that the model has, and its scores: (B, N, V), of a classifier (B, classes)."""

    encoder: StackRun | None
    decoder: StackRun | None
    scores: Tensor


class ReferenceModel:
    """A model's structure, with weights by name: the model's own in float64 unless others are given."""

    def __init__(self, model: nn.Module, weights: Mapping[str, Tensor] | None = None) -> None:
        if not isinstance(model, (Transformer, LanguageModel, Classifier)):
            raise ArgumentTypeError(
                f"The model must be one of Limelight's own architectures; got {type(model).__name__}."
            )
        self.model = model
        self.weights = dict(model.named_parameters(remove_duplicate=False)) if weights is None else weights

    def weight(self, name: str) -> Tensor:
        return self.weights[name].detach().double()

    @torch.no_grad()
    def run(
        self, source_BM: Tensor | None, target_BN: Tensor | None, without: Sequence[int] = ()
    ) -> ModelRun:
        """The forward over a source (None for a language model) and over what the decoder reads (None for a
        classifier). `without` are source tokens, of a language model any tokens, that no other may look at.
        """
        model = self.model
        if isinstance(model, LanguageModel):
            assert target_BN is not None
            decoder = self._stack(
                "decoder",
                model.decoder,
                target_BN,
                None,
                causal(target_BN.shape[1], without, model.window),
            )
            return ModelRun(None, decoder, self._vocabulary(decoder))
        assert source_BM is not None
        M = source_BM.shape[1]
        seen_M = torch.ones(M, dtype=torch.bool)
        seen_M[list(without)] = False
        one_way = isinstance(model, Classifier) and model.shape.causal
        seen_MM = causal(M, without) if one_way else seen_M.expand(M, M)
        encoder = self._stack("encoder", model.encoder, source_BM, None, seen_MM)
        if isinstance(model, Classifier):
            return ModelRun(encoder, None, self._linear("output", encoder.out_BNE[:, seen_M].mean(1)))
        assert target_BN is not None
        N = target_BN.shape[1]
        memory_seen_NM = seen_M.expand(N, M)
        decoder = self._stack("decoder", model.decoder, target_BN, encoder.out_BNE, causal(N), memory_seen_NM)
        return ModelRun(encoder, decoder, self._vocabulary(decoder))

    def _vocabulary(self, decoder: StackRun) -> Tensor:
        return decoder.out_BNE @ self.weight("decoder.embedding.table.weight").T

    # ── From the ids to the last vectors ──

    def _stack(
        self,
        name: str,
        stack: Stack,
        ids_BN: Tensor,
        memory_BME: Tensor | None,
        seen_NM: Tensor,
        memory_seen_NM: Tensor | None = None,
    ) -> StackRun:
        row_BNE = self.weight(f"{name}.embedding.table.weight")[ids_BN]
        embedded_BNE = row_BNE * math.sqrt(row_BNE.shape[-1])
        N, E = row_BNE.shape[1:]
        positioned_BNE = x_BNE = embedded_BNE + self.position_NE(name, stack.positions, N, E)
        blocks = []
        for number, block in enumerate(stack.blocks):
            assert isinstance(block, Block)
            run = self._block(f"{name}.blocks.{number}", block, x_BNE, memory_BME, seen_NM, memory_seen_NM)
            blocks.append(run)
            x_BNE = run.feed.left_BNE
        out_BNE = (
            self._norm(f"{name}.norm", stack.norm, x_BNE) if isinstance(stack.norm, nn.LayerNorm) else x_BNE
        )
        return StackRun(row_BNE, embedded_BNE, positioned_BNE, tuple(blocks), out_BNE)

    def _block(
        self,
        name: str,
        block: Block,
        x_BNE: Tensor,
        memory_BME: Tensor | None,
        seen_NM: Tensor,
        memory_seen_NM: Tensor | None,
    ) -> BlockRun:
        own = self._attention(name, "self", block, x_BNE, None, seen_NM)
        cross = None
        if block.cross:
            assert memory_seen_NM is not None
            cross = self._attention(name, "cross", block, own.left_BNE, memory_BME, memory_seen_NM)
        entering_BNE = own.left_BNE if cross is None else cross.left_BNE
        return BlockRun(own, cross, self._feed_forward(name, block, entering_BNE))

    def _attention(
        self, name: str, kind: str, block: Block, x_BNE: Tensor, memory_BME: Tensor | None, seen_NM: Tensor
    ) -> AttentionRun:
        attention, norm = getattr(block, f"{kind}_attention"), getattr(block, f"{kind}_norm")
        normed_BNE = self._norm(f"{name}.{kind}_norm", norm, x_BNE) if block.pre else x_BNE
        read_BME = normed_BNE if memory_BME is None else memory_BME
        inner = f"{name}.{kind}_attention"
        wq_EX, wk_EX, wv_EX = (self.weight(f"{inner}.{each}.weight").T for each in ("Wq", "Wk", "Wv"))
        biases = (self._bias(f"{inner}.Wq"), self._bias(f"{inner}.Wk"), self._bias(f"{inner}.Wv"))
        q_BNX, k_BMX, v_BMX = reference.matrix_inputs(normed_BNE, read_BME, wq_EX, wk_EX, wv_EX, biases)
        split_q_BHND = reference.split_heads(q_BNX, attention.heads)
        split_k_BGMD = reference.split_heads(k_BMX, attention.groups)
        v_BGMD = reference.split_heads(v_BMX, attention.groups)
        q_BHND, k_BGMD = turned(attention.positions, split_q_BHND), turned(attention.positions, split_k_BGMD)
        bias_HNM = distance_bias(attention, x_BNE.shape[1]) if memory_BME is None else None
        steps = reference.attention(q_BHND, k_BGMD, v_BGMD, mask=seen_NM, bias=bias_HNM)
        assert steps.output_BHND is not None
        joined_BNX = reference.concatenate(steps.output_BHND)
        mixed_BNE = reference.concatenate(
            steps.output_BHND, self.weight(f"{inner}.Wo.weight").T, self._bias(f"{inner}.Wo")
        )
        sum_BNE = x_BNE + mixed_BNE
        left_BNE = sum_BNE if block.pre else self._norm(f"{name}.{kind}_norm", norm, sum_BNE)
        return AttentionRun(
            x_BNE, normed_BNE, q_BNX, k_BMX, v_BMX, split_q_BHND, split_k_BGMD, q_BHND, k_BGMD, v_BGMD,
            bias_HNM, seen_NM, steps, joined_BNX, mixed_BNE, sum_BNE, left_BNE,
        )  # fmt: skip

    def _feed_forward(self, name: str, block: Block, x_BNE: Tensor) -> FeedForwardRun:
        normed_BNE = self._norm(f"{name}.feed_norm", block.feed_norm, x_BNE) if block.pre else x_BNE
        activation = block.feed_forward[1]
        hidden_BNF = activated(activation, self._linear(f"{name}.feed_forward.0", normed_BNE))
        out_BNE = self._linear(f"{name}.feed_forward.2", hidden_BNF)
        sum_BNE = x_BNE + out_BNE
        left_BNE = sum_BNE if block.pre else self._norm(f"{name}.feed_norm", block.feed_norm, sum_BNE)
        return FeedForwardRun(normed_BNE, hidden_BNF, out_BNE, sum_BNE, left_BNE)

    # ── Small parts ──

    def _bias(self, name: str) -> Tensor | None:
        return self.weight(f"{name}.bias") if f"{name}.bias" in self.weights else None

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.weight(f"{name}.weight").T + self.weight(f"{name}.bias")

    def _norm(self, name: str, norm: nn.LayerNorm, x_BNE: Tensor) -> Tensor:
        """(x - mean) / √(variance + ε) · g + b over the features (Ba et al. 2016, arXiv:1607.06450)."""
        centred_BNE = x_BNE - x_BNE.mean(-1, keepdim=True)
        variance_BN1 = centred_BNE.square().mean(-1, keepdim=True)
        gain_E, bias_E = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return centred_BNE / torch.sqrt(variance_BN1 + norm.eps) * gain_E + bias_E

    def position_NE(self, name: str, positions: Positions, length: int, width: int) -> Tensor:
        """What is added to the embeddings: waves (§3.5), a learned table, or nothing."""
        if isinstance(positions, Sinusoidal):
            return waves(length, width)
        if isinstance(positions, Learned):
            return self.weight(f"{name}.positions.table.weight")[:length]
        return torch.zeros(length, width, dtype=torch.float64)
