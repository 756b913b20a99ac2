"""Attention rollout: a product of attention matrices through all layers, and nobody stores that one either.

    R = A'_L · … · A'_2 · A'_1        A'[i, j] = ((1 - r)·Ā[i, j] + r·[i = j]) / s[i]        Ā = Σ_h w_h A_h

R[i, j] is the share of token j, as it went into layer 1, in token i as it left layer L, if all that layers do
were to mix tokens by their weights, and each token kept the share r of itself on the residual path.

    r = residual   0.5 as in the paper; 0 leaves the identity out
    w = heads      the caller must say: the mean, some heads, or a weight for each
    s = row sums   with renormalise (as in the paper) each row of A' adds up to 1: s = (1 - r)·Σ_j Ā[i, j] + r;
                   that is 1 unless a sink or a query that sees nothing took something away. Otherwise s = 1

With `values` a weight counts with the size of what it carries: A_h[i, j]·‖v_h[j]‖ in place of A_h[i, j], and
the rows of Ā are divided by their sums before anything else.

Rows of R are read from the top layer down, x ← A'ᵀ x, and columns from the first layer up, v ← A' v: a layer
costs one pass over its tiles for all tokens together. Cut into other tiles, the results are the same up to the
rounding of sums; to the bit only where sums have one term, as when each query looks at one key.

Sources: Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers" (arXiv 2005.00928), section 3,
equation 1; norms: Kobayashi et al. 2020, "Attention is Not Only a Weight" (arXiv 2004.10102), section 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, SupportsIndex

import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError, InputError, OutOfRangeError, ShapeError, TooLargeError
from limelight.matrix.checks import a_number, whole_bytes, whole_number, yes_or_no
from limelight.matrix.matrix import DENSE_LIMIT, AttentionMatrix
from limelight.matrix.memory import demand_memory
from limelight.matrix.reductions.products import Transposed
from limelight.matrix.rollout_layer import Layer

Heads = Literal["mean"] | Sequence[int] | Tensor
TOGETHER = 512  # tokens that go through the layers at a time where all are asked for


class Rollout:
    """R = A'_L · … · A'_1, (B, N, M): N tokens after the last layer by M tokens before the first.

    layers       the attention matrices, the one nearest to the input first
    heads        "mean"; or the numbers of some heads, whose mean is taken in every layer; or weights of all
                 heads, (H,) for every layer or (L, H), which are divided by their sum
    residual     the share r that a token keeps of itself; above 0 every layer needs as many queries as keys
    renormalise  whether each row of A' is divided by its sum
    values       weigh by ‖α·v‖ in place of α; every layer must have been given its values

    Results are float32 (float64 where a layer is), without gradient. Raises ShapeError where the layers do not
    follow each other, InputError or ArgumentTypeError for arguments that make no sense.

    >>> from limelight.matrix import AttentionMatrix, masks
    >>> layer = AttentionMatrix(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 4), mask=masks.causal())
    >>> Rollout([layer, layer], heads="mean").rows(1)
    tensor([[0.4375, 0.5625, 0.0000]])
    """

    def __init__(
        self,
        layers: Sequence[AttentionMatrix],
        *,
        heads: Heads,
        residual: float = 0.5,
        renormalise: bool = True,
        values: bool = False,
    ) -> None:
        if not isinstance(layers, Iterable) or isinstance(layers, Tensor):
            raise ArgumentTypeError(
                f"Rollout takes attention matrices, one a layer; got {type(layers).__name__}."
            )
        layers = list(layers)
        residual = a_number("residual", residual)
        renormalise, values = yes_or_no("renormalise", renormalise), yes_or_no("values", values)
        _check(layers, residual, values)
        self._heads, self._kept, self._renormalised, self._valued = heads, residual, renormalise, values
        self._matrices = layers
        self._layers = [
            Layer(layer._scores, shares, _norms(layer) if values else None, residual, renormalise)
            for layer, shares in zip(layers, _shares(heads, layers), strict=True)
        ]

    # ---- what it is -------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int, int]:
        """(batches, tokens after the last layer, tokens before the first), as if it were stored."""
        first, last = self._matrices[0], self._matrices[-1]
        return last.shape[0], last.shape[2], first.shape[3]

    @property
    def dtype(self) -> torch.dtype:
        """float64 where a layer is, float32 otherwise."""
        wide = any(matrix.dtype == torch.float64 for matrix in self._matrices)
        return torch.float64 if wide else torch.float32

    @property
    def heads(self) -> tuple[tuple[int, int], ...]:
        """The (layer, head) pairs that count; layers from 0, heads by their numbers in the model."""
        return tuple(
            (number, self._matrices[number].head_numbers[head])
            for number, layer in enumerate(self._layers)
            for head, share in enumerate(layer.shares)
            if share
        )

    def _all_heads(self) -> str:
        part = self._matrices[0].head_range
        return "all heads" if part is None else f"{part}, not of all the heads"

    @property
    def how(self) -> str:
        """What is computed, in plain sentences."""
        heads = self._heads
        if isinstance(heads, str):
            mixed = f"the mean of {self._all_heads()}"
        elif isinstance(heads, Tensor) and heads.is_floating_point():
            mixed = "a weighted mean of the heads"
        else:
            mixed = f"the mean of the heads {', '.join(str(int(head)) for head in heads)}"
        weights = "weights times the norms of the values" if self._valued else "weights"
        kept = f"{self._kept:g} of the identity added" if self._kept else "no identity added"
        rows = "rows divided by their sums" if self._renormalised else "rows not divided by their sums"
        return (
            f"Attention rollout through {len(self._layers)} layers (Abnar & Zuidema 2020): the product of "
            f"{weights}, {mixed} of each layer, {kept}, {rows}."
        )

    def __repr__(self) -> str:
        B, N, M = self.shape
        return f"Rollout({len(self._layers)} layers, {B} × {N} tokens from {M} tokens, {self.dtype})"

    # ---- parts of R -------------------------------------------------------------------------------

    def rows(self, tokens: SupportsIndex | Sequence[int] | Tensor) -> Tensor:
        """What stands in some tokens after the last layer, (B, how many, M); for a single one (B, M).

        Of the last layer only those rows are computed, so L layers cost L - 1 passes.
        """
        places, single = _places(tokens, self.shape[1])
        different = sorted(set(places))
        x_BNX = self._layers[-1].rows(different).transpose(1, 2)
        for layer in reversed(self._layers[:-1]):
            x_BNX = layer.down(x_BNX)
        if single:
            return x_BNX[..., 0]
        return x_BNX.transpose(1, 2)[:, [different.index(place) for place in places]]

    def columns(self, tokens: SupportsIndex | Sequence[int] | Tensor) -> Tensor:
        """Where some tokens before the first layer go, (B, N, how many); for a single one (B, N)."""
        places, single = _places(tokens, self.shape[2])
        one_hot = torch.zeros(self.shape[2], len(places), dtype=self.dtype)
        one_hot[places, torch.arange(len(places))] = 1
        found = self @ one_hot
        return found[..., 0] if single else found

    def __matmul__(self, v: Tensor) -> Tensor:
        """R @ v, (B, N, X): v is (M, X) or (B or 1, M, X), or (M,) for an answer without the last axis."""
        x_BMX, flat = self._factor("v", v, self.shape[2])
        for layer in self._layers:
            x_BMX = layer.up(x_BMX)
        return x_BMX[..., 0] if flat else x_BMX

    @property
    def T(self) -> Transposed:
        """The transpose: `R.T @ x` is what the first tokens send when x is asked of the last ones, (B, M, X).

        `R.T @ torch.ones(N)` is what each token gives to all of them together.
        """
        B, N, M = self.shape
        return Transposed((B, M, N), self._multiply_transposed)

    def dense(self, limit: int = DENSE_LIMIT) -> Tensor:
        """All of R, (B, N, M), after all. Raises TooLargeError above `limit` bytes."""
        B, N, M = self.shape
        limit = whole_bytes(limit, "dense()")
        needed = B * N * M * torch.finfo(self.dtype).bits // 8
        if needed > limit:
            raise TooLargeError(
                f"The rollout of all {N} tokens to {M} takes {needed} bytes for a batch of {B}, and the limit is "
                f"{limit}. Ask for some tokens, rows([…]), or raise it: dense(limit={needed})."
            )
        whole = torch.empty(B, N, M, dtype=self.dtype, device=self._matrices[0].device)
        for start in range(0, N, TOGETHER):
            some = range(start, min(start + TOGETHER, N))
            whole[:, some.start : some.stop] = self.rows(some)
        return whole

    # ---- inside -----------------------------------------------------------------------------------

    def _multiply_transposed(self, x: Tensor) -> Tensor:
        x_BNX, flat = self._factor("x", x, self.shape[1])
        for layer in reversed(self._layers):
            x_BNX = layer.down(x_BNX)
        return x_BNX[..., 0] if flat else x_BNX

    def _factor(self, name: str, given: Tensor, size: int) -> tuple[Tensor, bool]:
        """The factor with all three axes, and whether it came without the last."""
        if not isinstance(given, Tensor) or not given.is_floating_point():
            came = given.dtype if isinstance(given, Tensor) else type(given).__name__
            raise ArgumentTypeError(f"A product with a rollout takes a float tensor; got {came}.")
        demand_memory(name, given)
        B = self.shape[0]
        full = given[:, None] if given.dim() == 1 else given
        full = full[None] if full.dim() == 2 else full
        if full.dim() != 3 or full.shape[0] not in (1, B) or full.shape[1] != size:
            raise ShapeError(
                f"{name} must have the shape ({size},), ({size}, X) or ({B} or 1, {size}, X); "
                f"got {tuple(given.shape)}."
            )
        device = self._matrices[0].device
        return full.detach().to(device, self.dtype).expand(B, -1, -1), given.dim() == 1


# ---- doors --------------------------------------------------------------------------------------------


def _check(layers: Sequence[AttentionMatrix], residual: float, values: bool) -> None:
    """Raise unless these layers follow each other and have what is asked of them."""
    if not layers or not all(isinstance(layer, AttentionMatrix) for layer in layers):
        came = type(next((each for each in layers if not isinstance(each, AttentionMatrix)), None)).__name__
        came = came if layers else "none"
        raise ArgumentTypeError(
            f"Rollout takes one AttentionMatrix a layer, the first layer first; got {came}. Of what a watch "
            "has seen: Rollout([call.matrix for call in seen], …)."
        )
    if not 0 <= residual <= 1:
        raise InputError(f"residual must be from 0 to 1, the share a token keeps of itself; got {residual}.")
    for number, layer in enumerate(layers):
        B, H, N, M = layer.shape
        if not H:
            raise InputError(f"Rollout mixes the heads of every layer; layer {number} has none.")
        if residual and N != M:
            raise ShapeError(
                f"With a residual every layer needs as many queries as keys; layer {number} has {N} and {M}. "
                "Pass residual=0, or the matrices of a run without a key/value cache."
            )
        if values and layer.value is None:
            raise InputError(
                f"values=True weighs by the norms of the values; layer {number} was made without. "
                "Build it as AttentionMatrix(query, key, value)."
            )
        batches, _, written, _ = layers[max(number - 1, 0)].shape
        if number and not (batches == B and written == M):
            raise ShapeError(
                f"Layer {number} must look at what layer {number - 1} wrote, {written} tokens for a batch of "
                f"{batches}; it has {M} keys for a batch of {B}."
            )


def _norms(layer: AttentionMatrix) -> Tensor:
    """‖v[j]‖, (B, G, M)."""
    assert layer.value is not None
    norms: Tensor = torch.linalg.vector_norm(layer.value, dim=-1, dtype=layer.dtype)
    return norms


def _shares(heads: Heads, layers: Sequence[AttentionMatrix]) -> list[tuple[float, ...]]:
    """The weight of each head in every layer; those of a layer add up to 1."""
    counts = [layer.shape[1] for layer in layers]
    if isinstance(heads, str):
        if heads != "mean":
            raise InputError(f'heads must be "mean", the numbers of heads, or their weights; got {heads!r}.')
        return [(1 / max(1, count),) * count for count in counts]
    if isinstance(heads, Tensor) and heads.is_floating_point():
        demand_memory("heads", heads)
        return _given_shares(heads.detach().cpu().double(), counts)
    if not isinstance(heads, Iterable) or getattr(heads, "ndim", 1) == 0:
        raise ArgumentTypeError(
            f'heads must be "mean", the numbers of heads, or their weights; got {heads!r}.'
        )
    asked = [whole_number(each, "heads takes the whole numbers of heads") for each in heads]
    first = layers[0].head_numbers.start if layers else 0
    numbers = [each - first for each in asked]
    for count in counts:
        if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0 or max(numbers) >= count:
            raise InputError(
                f"heads must be different numbers from {first} to {first + count - 1}, at least one; got {asked}."
            )
    return [tuple((h in numbers) / len(numbers) for h in range(count)) for count in counts]


def _given_shares(heads: Tensor, counts: Sequence[int]) -> list[tuple[float, ...]]:
    each_layer = [heads] * len(counts) if heads.dim() == 1 else list(heads)
    if [tuple(each.shape) for each in each_layer] != [(count,) for count in counts]:
        raise ShapeError(
            f"heads must hold a weight for each head, (H,) or ({len(counts)}, H), where the layers have "
            f"{', '.join(map(str, counts))} heads; got shape {tuple(heads.shape)}."
        )
    if any(bool((each < 0).any()) or not 0 < each.sum() < torch.inf for each in each_layer):
        raise InputError("The weights of heads must not be negative, and one of each layer must be above 0.")
    return [tuple((each / each.sum()).tolist()) for each in each_layer]


def _places(tokens: SupportsIndex | Sequence[int] | Tensor, size: int) -> tuple[list[int], bool]:
    """The tokens as numbers from 0, and whether a single one was asked for."""
    listed = tokens.tolist() if hasattr(tokens, "tolist") else tokens  # of torch or NumPy
    if isinstance(listed, Sequence):
        wanted, single = [whole_number(each, "tokens are whole numbers") for each in listed], False
    else:
        wanted, single = [whole_number(listed, "tokens are whole numbers")], True
    for token in wanted:
        if not -size <= token < size:
            raise OutOfRangeError(f"token {token} is out of range: there are {size}.")
    return [token % size for token in wanted], single
