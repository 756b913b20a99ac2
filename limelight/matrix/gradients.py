"""Gradients of `A @ v` and `A.T @ x`, in memory that grows with N + M: weights are computed again, never kept.

Both products are one form of the weights. With dy the gradient of what came out,

    ⟨dy, A·v⟩  = Σ_ij A_ij (dy_i · v_j)        so  left = dy, right = v
    ⟨dy, Aᵀ·x⟩ = Σ_ij A_ij (x_i · dy_j)        so  left = x,  right = dy

and everything behind the weights follows from left and right alone:

    dA_ij = left_i · right_j
    dS_ij = A_ij (dA_ij - c_i)                 c_i = Σ_j A_ij dA_ij = left_i · (A·right)_i
    dbias = dS                                 summed where the bias is broadcast
    dsink = -Σ_i A_i,sink c_i                  the sink's own share of every row
    dP_ij = dS_ij (1 - tanh²(P_ij / cap))      P = scale·QKᵀ; without softcap dP = dS; a score_mod between
                                               them is differentiated by torch, a tile at a time
    dQ = scale · dP·K        dK = scale · dPᵀ·Q
    dv = Aᵀ·dy               dx = A·dy

A·right is what came out itself (A·v), or dx. So a backward pass is one pass over the tiles for A·v and two for
Aᵀ·x. A query that may look at nothing has no weights, and none of its gradients is anything but 0.

Source for A·v: FlashAttention (Dao et al. 2022, arXiv 2205.14135), appendix B.2, equation 6; the rest is the
chain rule. What a function given as bias or score_mod holds receives no gradient, and gradients have none
themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from limelight.errors import InputError
from limelight.matrix.biases import Bias
from limelight.matrix.index_functions import TileIndex
from limelight.matrix.logits import Logits
from limelight.matrix.reductions.products import Applied, TransposedApplied, heads_of
from limelight.matrix.tile import MatrixSpec, SoftmaxStats, Tile

Read = Callable[[Any], Any]


class GradientInputs(NamedTuple):
    """What a matrix was made of, as it was given: gradients flow to these."""

    query: Tensor
    key: Tensor
    bias: Tensor | None
    sink: Tensor | None


def multiply(
    product: Applied | TransposedApplied, read: Read, scores: Logits, inputs: GradientInputs
) -> Tensor:
    """`read(product)`, with a gradient for every input that asks for one; where none does, without a graph."""
    if torch.is_grad_enabled() and isinstance(scores.bias, Bias) and scores.bias.requires_grad:
        raise InputError(
            "The slopes of alibi and the table of relative receive no gradient; got some that require it. Give "
            "them detached, or train the bias as a tensor (1, heads, queries, keys)."
        )
    factor = product.factor
    wanted = [each for each in (*inputs, factor) if isinstance(each, Tensor) and each.requires_grad]
    if not wanted or not torch.is_grad_enabled():
        result: Tensor = read(product)
        return result
    if inputs.bias is not None and inputs.bias.requires_grad and not isinstance(scores.bias, Tensor):
        raise InputError(
            "A bias receives no gradient through a score_mod; got one that requires it. Give bias.detach(), "
            "or leave score_mod out."
        )
    full = product.fit(scores.frame(scores.N))  # torch takes care of what happens to the factor here
    multiplied: Tensor = _Product.apply(type(product), read, scores, full, *inputs)  # type: ignore[no-untyped-call]
    return multiplied[..., 0] if factor.dim() == 1 else multiplied


class _Product(torch.autograd.Function):
    """Either product as a node of torch's graph. It holds its inputs and its result, nothing of size N × M."""

    @staticmethod
    def forward(ctx: Any, kind: type[Any], read: Read, scores: Logits, full: Tensor, *inputs: Any) -> Tensor:
        result: Tensor = read(kind(full.detach()))
        ctx.kind, ctx.read, ctx.scores = kind, read, scores
        # All inputs are saved, so that torch notices when one is changed in place before the way back.
        ctx.save_for_backward(full, result if kind is Applied else None, *inputs)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        full, result, *inputs = ctx.saved_tensors
        dy = dy.to(ctx.scores.dtype)
        _, _, _, need_factor, query, key, bias, sink = ctx.needs_input_grad
        need = Need(query, key, bias, sink, right=need_factor and ctx.kind is Applied)
        d_factor = None
        if ctx.kind is Applied:
            left, right, product = dy, full, result
        else:
            left, right = full, dy
            product = ctx.read(Applied(dy))
            if need_factor:
                d_factor = product.sum(1, keepdim=True) if full.shape[1] == 1 else product
        gradients = ctx.read(Backward(ctx.scores, left, right, product, need)) if any(need) else Gradients()
        d_inputs = [
            None if gradient is None else gradient.view(given.shape).to(given)
            for gradient, given in zip(gradients[: len(inputs)], inputs, strict=True)
        ]
        return None, None, None, gradients.right if need.right else d_factor, *d_inputs


class Need(NamedTuple):
    """Which gradients are asked for."""

    query: bool
    key: bool
    bias: bool
    sink: bool
    right: bool


class Gradients(NamedTuple):
    """A gradient for each of `GradientInputs`, and for `right`; None where none was asked for."""

    query: Tensor | None = None
    key: Tensor | None = None
    bias: Tensor | None = None
    sink: Tensor | None = None
    right: Tensor | None = None


class Sums(NamedTuple):
    gradients: Gradients
    c_BHN: Tensor


@dataclass(frozen=True, eq=False)
class Backward:
    """The gradients of Σ_ij A_ij (left_i · right_j), all in one pass; a reduction like any other.

    left     (B, H or 1, N, X)
    right    (B, 1 or G or H, M, X)
    product  A·right, (B, H, N, X)

    State: the gradients, as large as what they belong to, and c.    Neutral: 0.    Law: sums add.
    """

    scores: Logits
    left: Tensor
    right: Tensor
    product: Tensor
    need: Need

    @property
    def independent_heads(self) -> bool:
        """Not where panels add to one place: heads that share a key head or a factor, batches or heads that share
        a bias."""
        B, H = self.product.shape[:2]
        held = [self.scores.k_BGMD.shape[1]] + [self.right.shape[1]] * self.need.right
        if self.need.bias and isinstance(self.scores.bias, Tensor):
            return self.scores.bias.shape[:2] == (B, H) and min(held) == H
        return min(held) == H

    def init(self, frame: MatrixSpec) -> Sums:
        scores, need, bias = self.scores, self.need, self.scores.bias
        gradients = Gradients(
            query=frame.full(*scores.q_BHND.shape) if need.query else None,
            key=frame.full(*scores.k_BGMD.shape) if need.key else None,
            bias=frame.full(*bias.shape) if need.bias and isinstance(bias, Tensor) else None,
            right=frame.full(*self.right.shape) if need.right else None,
        )
        return Sums(gradients, (self.left * self.product).sum(-1))

    def update(self, state: Sums, tile: Tile) -> None:
        total = state.gradients
        B, H, R, C = tile.weights.shape
        panel, rows, columns = tile.rows[:2], tile.rows[2], tile.columns[2]
        left_BHRX = self.left.expand(-1, len(self.product[0]), -1, -1)[tile.rows]
        shared, right_BgCX = self._shared(self.right, tile)
        left_BgrX = left_BHRX.reshape(B, right_BgCX.shape[1], -1, left_BHRX.shape[-1])
        if total.right is not None:
            weights_BgrC = tile.weights.view(*left_BgrX.shape[:3], C)
            total.right[panel[0], shared, columns] += weights_BgrC.transpose(-1, -2) @ left_BgrX
        if not any((self.need.query, self.need.key, self.need.bias)):
            return
        ds_BHRC = tile.scratch
        torch.matmul(left_BgrX, right_BgCX.transpose(-1, -2), out=ds_BHRC.view(*left_BgrX.shape[:3], C))
        ds_BHRC.sub_(state.c_BHN[tile.rows][..., None]).mul_(tile.weights)
        if total.bias is not None:
            _add_broadcast(total.bias, ds_BHRC, (*panel, rows, columns))
        if not (self.need.query or self.need.key):
            return
        self._through_scores(ds_BHRC, tile)
        shared, k_BgCD = self._shared(self.scores.k_BGMD, tile)
        dp_BgrC = ds_BHRC.mul_(self.scores.scale).view(B, k_BgCD.shape[1], -1, C)
        if total.query is not None:
            total.query[tile.rows] += (dp_BgrC @ k_BgCD).view(B, H, R, -1)
        if total.key is not None:
            q_BgrD = self.scores.q_BHND[tile.rows].to(dp_BgrC.dtype).reshape(*dp_BgrC.shape[:3], -1)
            total.key[panel[0], shared, columns] += dp_BgrC.transpose(-1, -2) @ q_BgrD

    def merge(self, state: Sums, other: Sums) -> Sums:
        pairs = zip(state.gradients, other.gradients, strict=True)
        both = (None if one is None or two is None else one + two for one, two in pairs)
        return Sums(Gradients(*both), state.c_BHN)

    def finish(self, state: Sums, stats: SoftmaxStats) -> Gradients:
        sink_H = self.scores.sink_H
        if not self.need.sink or sink_H is None:
            return state.gradients
        return state.gradients._replace(sink=-(stats.share_of(sink_H) * state.c_BHN).sum((0, 2)))

    def _shared(self, given: Tensor, tile: Tile) -> tuple[slice, Tensor]:
        """Which heads of a tensor over keys serve those of a tile, and their part of it."""
        heads = heads_of(tile, given.shape[1], self.product.shape[1])
        part = given[tile.batches.start : tile.batches.stop, heads, tile.j0 : tile.j1]
        return heads, part.to(self.scores.dtype)

    def _through_scores(self, ds_BHRC: Tensor, tile: Tile) -> None:
        """dS → dP in place. Scores before softcap and score_mod are gone, so they are multiplied once more."""
        cap, bias = self.scores.softcap, self.scores.bias
        modify = bias if isinstance(bias, Bias) and not bias.adds else None
        if cap is None and modify is None:
            return
        _, k_BgCD = self._shared(self.scores.k_BGMD, tile)
        q_BHRD = self.scores.q_BHND[tile.rows].to(k_BgCD.dtype)
        q_BgrD = q_BHRD.reshape(*k_BgCD.shape[:2], -1, k_BgCD.shape[-1])
        p_BHRC = (q_BgrD @ k_BgCD.transpose(-1, -2)).view_as(ds_BHRC).mul_(self.scores.scale)
        if cap is not None:
            p_BHRC.div_(cap).tanh_()
        if modify is not None:
            rows, columns = range(tile.i0, tile.i1), range(tile.j0, tile.j1)
            place = TileIndex(tile.batches, tile.heads, rows, columns, self.scores.N, self.scores.M)
            capped = p_BHRC if cap is None else p_BHRC * cap
            with torch.enable_grad():
                before = capped.detach().requires_grad_()
                after = modify.apply(before.clone(), place)  # it may write into what it gets
            if not after.requires_grad:  # the function put something else in the score's place
                ds_BHRC.zero_()
                return
            ds_BHRC.copy_(torch.autograd.grad(after, before, ds_BHRC)[0])
        if cap is not None:
            ds_BHRC.sub_(p_BHRC.square_().mul_(ds_BHRC))


def _add_broadcast(total: Tensor, tile: Tensor, place: tuple[slice, ...]) -> None:
    """Add a tile to its place in a tensor whose axes may be 1: there the tile is summed."""
    single = [axis for axis, size in enumerate(total.shape) if size == 1]
    where = tuple(slice(None) if axis in single else part for axis, part in enumerate(place))
    total[where] += tile.sum(single, keepdim=True) if single else tile
