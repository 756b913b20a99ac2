"""The float64 truth for tests: random cases, what each mask means, and what each reduction must read.

Write the meaning of a new mask into MASKS, or of a new reduction into REDUCTIONS, and every suite that is
parametrised over them takes it up: tilings, dtypes, extreme rows, laws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from limelight.matrix import (
    ArgMax,
    AttentionMatrix,
    AttentionOutput,
    BottomK,
    Downsample,
    Entropy,
    Histogram,
    Mask,
    MeanDistance,
    Pool,
    Quantiles,
    Received,
    Reduction,
    Reweighted,
    RowStats,
    SinkMass,
    TopK,
    ValueNorms,
    masks,
    reference as truth_of,
)
from limelight.matrix.engine.plan import Plan
from limelight.matrix.engine.tiled import read_tiles
from limelight.matrix.reductions.base import finish
from limelight.matrix.reductions.products import Applied, TransposedApplied
from limelight.matrix.validation import scores_of
from tests import expected

# Distinct sizes off the tile grid: a swapped axis or a forgotten last tile cannot pass.
B, H, G, N, M, D, X = 2, 6, 3, 29, 43, 7, 5

ORDINARY = 10.0
"""Scores of this size are known as well in float32 as the table asks, with no allowance."""


@dataclass(frozen=True, eq=False)
class Case:
    """The inputs of one attention matrix."""

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Mask | None = None
    scale: float | None = None
    bias: Any = None
    softcap: float | None = None
    sink: Tensor | None = None
    score_mod: Callable[..., Tensor] | None = None

    def inputs(self) -> dict[str, Any]:
        """What the library is given."""
        return {field.name: getattr(self, field.name) for field in fields(Case)}

    def meaning(self) -> dict[str, Any]:
        """What the truth is computed from: the same, unless a case knows better what its mask means."""
        return self.inputs()

    def matrix(self) -> AttentionMatrix:
        return AttentionMatrix(**self.inputs())

    def truth(self) -> truth_of.AttentionStages:
        return _truth(self)

    def read(self, *reductions: Reduction[Any], cut: Plan) -> list[Any]:
        """What the loop reads when the matrix is cut this way."""
        scores = scores_of(**self.inputs())
        frame = scores.frame(scores.N, self.value)
        states, stats = read_tiles(scores, frame, reductions, None, cut)
        return finish(
            reductions, states, stats, lambda further: read_tiles(scores, frame, further, stats, cut)[0]
        )

    @property
    def logits(self) -> float:
        """The largest finite score beyond the ordinary, the reason for an allowance in the table."""
        return _logits(self)


@lru_cache(maxsize=4)  # every reduction of a case asks for it
def _truth(case: Case) -> truth_of.AttentionStages:
    return truth_of.attention(**case.meaning())


@lru_cache(maxsize=4)  # and so does every number that is checked
def _logits(case: Case) -> float:
    """See Case.logits.

    A score is known as well as the products that it is the sum of: where they cancel, or a softcap makes it
    small, it is known no better than before.
    """
    scale = 1 / max(case.query.shape[-1], 1) ** 0.5 if case.scale is None else abs(case.scale)
    largest = 0.0
    for scores in (
        truth_of.matrix_multiply(case.query.abs(), case.key.abs()) * scale,
        case.truth().biased_BHNM,
    ):
        sizes = scores.abs()
        sizes = sizes[sizes < 1e30]
        largest = max(largest, float(sizes.max()) if sizes.numel() else 0.0)
    return largest if largest > ORDINARY else 0.0


def random_case(
    mask: Mask | None = None,
    dtype: torch.dtype = torch.float32,
    shape: tuple[int, ...] = (B, H, G, N, M, D, X),
) -> Case:
    b, h, g, n, m, d, x = shape
    return Case(
        query=torch.randn(b, h, n, d).to(dtype),
        key=torch.randn(b, g, m, d).to(dtype),
        value=torch.randn(b, g, m, x).to(dtype),
        mask=mask,
    )


def dressed_case(mask: Mask | None = None, dtype: torch.dtype = torch.float32) -> Case:
    """A case with everything at once: own scale, bias with -inf in it, softcap, sink."""
    bias = torch.randn(1, H, N, M)
    bias[:, 1, 3] = -torch.inf
    bias[:, :, :, 11] = -torch.inf
    return replace(
        random_case(mask, dtype), scale=0.3, bias=bias.to(dtype), softcap=2.5, sink=torch.randn(H).to(dtype)
    )


# ---- what each mask means -----------------------------------------------------------------------------

Meaning = Callable[[int, int, int, int, int, int], bool]
"""(b, h, i, j, N, M) → may query i of batch b and head h look at key j?"""

_query_documents = torch.arange(N)[None] // torch.tensor([[7], [11]])
_key_documents = torch.arange(M)[None] // torch.tensor([[10], [17]])
_table = torch.rand(B, 1, N, M) > 0.4
_row_of_keys = torch.rand(B, 1, 1, M) > 0.4


def _near(i: int, j: int, n: int, m: int) -> int:
    return abs(j - (i + m - n))


MASKS: dict[str, tuple[Mask, Meaning]] = {
    "everything": (masks.everything(), lambda b, h, i, j, n, m: True),
    "nothing": (~masks.everything(), lambda b, h, i, j, n, m: False),
    "causal": (masks.causal(), lambda b, h, i, j, n, m: j <= i + m - n),
    "causal, top left": (masks.causal(offset=0), lambda b, h, i, j, n, m: j <= i),
    "causal, rows of nothing": (masks.causal(offset=-5), lambda b, h, i, j, n, m: j <= i - 5),
    "window": (masks.window(4), lambda b, h, i, j, n, m: _near(i, j, n, m) < 4),
    "window of one": (masks.window(1, offset=3), lambda b, h, i, j, n, m: j == i + 3),
    "causal window": (
        masks.causal() & masks.window(6),
        lambda b, h, i, j, n, m: i + m - n - 6 < j <= i + m - n,
    ),
    "lengths": (
        masks.lengths(query=[13, N], key=[M, 17]),
        lambda b, h, i, j, n, m: i < (13, n)[b] and j < (m, 17)[b],
    ),
    "lengths, left": (
        masks.lengths(query=19, key=[23, 0], side="left"),
        lambda b, h, i, j, n, m: i >= n - 19 and j >= m - (23, 0)[b],
    ),
    "documents": (
        masks.documents(_query_documents, _key_documents),
        lambda b, h, i, j, n, m: i // (7, 11)[b] == j // (10, 17)[b],
    ),
    "documents and earlier ones": (
        masks.documents(_query_documents, _key_documents, earlier=True),
        lambda b, h, i, j, n, m: i // (7, 11)[b] >= j // (10, 17)[b],
    ),
    "dense": (masks.dense(_table), lambda b, h, i, j, n, m: bool(_table[b, 0, i, j])),
    "dense, broadcast": (masks.dense(_row_of_keys), lambda b, h, i, j, n, m: bool(_row_of_keys[b, 0, 0, j])),
    "function": (
        masks.function(lambda b, h, i, j: (i + 2 * j + b + h) % 3 > 0),
        lambda b, h, i, j, n, m: (i + 2 * j + b + h) % 3 > 0,
    ),
    "near ones, or by a function": (
        (masks.causal() & masks.window(3)) | ~masks.function(lambda b, h, i, j: j > 0, batch=1, heads=1),
        lambda b, h, i, j, n, m: i + m - n - 3 < j <= i + m - n or j == 0,
    ),
}


def seen_by_meaning(meaning: Meaning, b: int = B, h: int = H, n: int = N, m: int = M) -> Tensor:
    """The mask as a table, place by place."""
    entries = [
        meaning(ib, ih, i, j, n, m) for ib in range(b) for ih in range(h) for i in range(n) for j in range(m)
    ]
    return torch.tensor(entries, dtype=torch.bool).view(b, h, n, m)


# ---- what each reduction must read -------------------------------------------------------------------------

REDUCTIONS: dict[str, tuple[Callable[[Case], Reduction[Any]], Callable[[Any, Case], None]]] = {
    "RowStats": (lambda case: RowStats(), expected.row_stats),
    "Received": (lambda case: Received(), expected.received),
    "Entropy": (lambda case: Entropy(), expected.entropy),
    "ArgMax": (lambda case: ArgMax(), expected.peak),
    "TopK(5)": (lambda case: TopK(5), expected.top),
    "TopK(more than there are)": (lambda case: TopK(case.key.shape[2] + 3), expected.top),
    "BottomK(5)": (lambda case: BottomK(5), expected.bottom),
    "BottomK(more than there are)": (lambda case: BottomK(case.key.shape[2] + 3), expected.bottom),
    "MeanDistance": (lambda case: MeanDistance(), expected.distance),
    "MeanDistance(offset)": (lambda case: MeanDistance(offset=-7), partial(expected.distance, offset=-7)),
    "SinkMass": (lambda case: SinkMass(), expected.sink_mass),
    "SinkMass(keys)": (
        lambda case: SinkMass(expected.some_keys(*case.key.shape[::2])),
        partial(expected.sink_mass, named=True),
    ),
    "Pool": (
        lambda case: Pool(
            expected.groups_of(case.query.shape[2], 5), expected.groups_of(case.key.shape[2], 3)
        ),
        expected.pool,
    ),
    "Reweighted": (
        lambda case: Reweighted(REDUCTIONS["Pool"][0](case), expected.factors(case)),
        partial(expected.pool, weighted=True),
    ),
    "Downsample": (lambda case: Downsample(7, 5), partial(expected.picture, height=7, width=5)),
    "Downsample(finer)": (lambda case: Downsample(31, 19), partial(expected.picture, height=31, width=19)),
    "Histogram": (lambda case: Histogram(7, low=-6.0), expected.histogram),
    "Quantiles": (lambda case: Quantiles(0.3, 0.9), partial(expected.quantiles, shares=(0.3, 0.9))),
    "ValueNorms": (lambda case: ValueNorms(), expected.norms),
    "ValueNorms(output)": (
        lambda case: ValueNorms(expected.output_projection(case)),
        partial(expected.norms, projected=True),
    ),
    "AttentionOutput": (lambda case: AttentionOutput(), expected.applied),
    "A @ v": (lambda case: Applied(case.value), expected.applied),
    "A.T @ x": (
        lambda case: TransposedApplied(expected.transposed_factor(case.query.shape[2])),
        expected.transposed,
    ),
}


def expect_all(case: Case, cut: Plan, without: str = "") -> None:
    """Read every reduction in one walk, `without` one of them, and compare each with its truth."""
    reductions = {name: build(case) for name, (build, _) in REDUCTIONS.items() if name != without}
    for name, reading in zip(reductions, case.read(*reductions.values(), cut=cut), strict=True):
        try:
            REDUCTIONS[name][1](reading, case)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


WALKS_OFTEN = "Quantiles"
"""Left out where cases are many; it has cases of its own, and its laws."""

# The two ways of cutting, and one off every grid.
CUTS = {
    "strips": Plan(rows=11, columns=None, panel_batches=1, panel_heads=4, grain=8),
    "strips, all heads": Plan(rows=64, columns=None, panel_batches=B, panel_heads=H),
    "squares": Plan(rows=17, columns=23, panel_batches=1, panel_heads=4, grain=23),
}
