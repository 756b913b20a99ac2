"""The float64 truth for tests: random cases, what each mask means, and what each fold must read.

Write the meaning of a new mask into MASKS, or of a new fold into FOLDS, and every suite that is parametrised
over them takes it up: tilings, dtypes, extreme rows, laws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from limelight.matrix import (
    AttentionMatrix,
    Distance,
    Entropy,
    Fold,
    Mask,
    Peak,
    Pool,
    Received,
    RowStats,
    Stats,
    Top,
    masks,
)
from limelight.matrix import dense as truth_of
from limelight.matrix.doors import scores_of
from limelight.matrix.operator import Applied, TransposedApplied
from limelight.matrix.tiles import Plan, read_tiles
from tests.tolerance import check

# Distinct sizes off the tile grid: a swapped axis or a forgotten last tile cannot pass.
B, H, G, N, M, D, X = 2, 6, 3, 29, 43, 7, 5


@dataclass(frozen=True, eq=False)
class Case:
    """The inputs of one attention matrix."""

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Mask | None = None
    scale: float | None = None
    bias: Tensor | None = None
    softcap: float | None = None
    sink: Tensor | None = None

    def inputs(self) -> dict[str, Any]:
        """What the library is given."""
        return {field.name: getattr(self, field.name) for field in fields(Case)}

    def meaning(self) -> dict[str, Any]:
        """What the truth is computed from: the same, unless a case knows better what its mask means."""
        return self.inputs()

    def matrix(self) -> AttentionMatrix:
        return AttentionMatrix(**self.inputs())

    def truth(self) -> truth_of.Attention:
        return _truth(self)

    def read(self, *folds: Fold[Any], cut: Plan) -> list[Any]:
        """What the loop reads in one walk when the matrix is cut this way."""
        scores = scores_of(**self.inputs())
        states, stats = read_tiles(scores, scores.frame(scores.N, self.value), folds, None, cut)
        return [fold.finish(state, stats) for fold, state in zip(folds, states, strict=True)]

    @property
    def logits(self) -> float:
        """The largest finite score beyond the ordinary, the reason for an allowance in the table."""
        scores = self.truth().biased_BHNM
        finite = scores[scores.abs() < 1e30]
        largest = float(finite.abs().max()) if finite.numel() else 0.0
        return largest if largest > 20 else 0.0


@lru_cache(maxsize=1)  # every fold of a case asks for it
def _truth(case: Case) -> truth_of.Attention:
    return truth_of.attention(**case.meaning())


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


# ---- what each fold must read -------------------------------------------------------------------------


def expect_row_stats(reading: Stats, case: Case) -> None:
    truth = case.truth()
    masked = truth.masked_BHNM
    maximum = masked.amax(-1) if masked.shape[-1] else masked.new_full(masked.shape[:-1], -torch.inf)
    raised = torch.exp(masked - maximum.masked_fill(maximum == -torch.inf, 0.0)[..., None]).sum(-1)
    if case.sink is not None:
        raised = raised + torch.exp(case.sink.double()[:, None] - maximum)
    empty = maximum == -torch.inf
    check("maximum", reading.maximum, maximum, case.logits)
    check("log sum", reading.log_sum, raised.log().masked_fill(empty, 0.0), case.logits)
    assert torch.equal(reading.empty, empty)


def expect_received(reading: Any, case: Case) -> None:
    truth = case.truth()
    queries = (truth.masked_BHNM != -torch.inf).sum(2)
    raw = truth.weights_BHNM.sum(2)
    check("received", reading.raw, raw, case.logits)
    check("received", reading.per_query, torch.where(queries > 0, raw / queries, 0.0), case.logits)
    assert torch.equal(reading.queries, queries)


def expect_entropy(reading: Tensor, case: Case) -> None:
    check("entropy", reading, torch.special.entr(case.truth().weights_BHNM).sum(-1), case.logits)


def expect_peak(reading: Any, case: Case) -> None:
    expect_top(type(reading)(reading.weights[..., None], reading.keys[..., None]), case)


def expect_top(reading: Any, case: Case) -> None:
    """The right weights, at keys that are visible, different from each other, and do have those weights."""
    truth = case.truth()
    weights, seen = truth.weights_BHNM, truth.masked_BHNM != -torch.inf
    k = reading.keys.shape[-1]
    padded = torch.nn.functional.pad(weights, (0, max(0, k - weights.shape[-1])))
    check("weights", reading.weights, padded.sort(-1, descending=True).values[..., :k], case.logits)
    found = reading.keys >= 0
    assert torch.equal(found.sum(-1), seen.sum(-1).clamp(max=k))
    assert bool((reading.weights[~found] == 0).all())
    if weights.shape[-1]:
        place = reading.keys.clamp(min=0)
        assert bool((seen.gather(-1, place) | ~found).all())
        check("weights", reading.weights, weights.gather(-1, place) * found, case.logits)
    distinct = torch.where(found, reading.keys, -1 - torch.arange(k)).sort(-1).values
    assert bool((distinct.diff(dim=-1) != 0).all())


def expect_distance(reading: Any, case: Case, offset: int | None = None) -> None:
    weights = case.truth().weights_BHNM
    n, m = weights.shape[2:]
    ahead_NM = torch.arange(m) - (torch.arange(n) + (m - n if offset is None else offset))[:, None]
    mean, signed = (weights * ahead_NM.abs()).sum(-1), (weights * ahead_NM).sum(-1)
    check("distance", reading.mean, mean, case.logits)
    check(
        "distance", reading.signed, signed, case.logits, beside=mean
    )  # a difference of what is ahead and behind


def groups_of(size: int, span: int) -> Tensor:
    """Neighbours in groups of `span`; of every group but the first, one token belongs to none."""
    groups = torch.arange(size) // span
    groups[span::span] = -1
    return groups


def expect_pool(reading: Tensor, case: Case) -> None:
    """Sum over the keys of a group, mean over those of its queries that see something."""
    truth = case.truth()
    n, m = truth.weights_BHNM.shape[2:]
    member_PN, member_QM = membership(groups_of(n, 5)), membership(groups_of(m, 3))
    looking_BHN = (truth.masked_BHNM != -torch.inf).any(-1).double()
    sums_BHPQ = member_PN @ truth.weights_BHNM @ member_QM.T
    queries_BHP = looking_BHN @ member_PN.T
    check("pooled", reading, sums_BHPQ / queries_BHP.clamp(min=1)[..., None], case.logits)


def membership(groups: Tensor) -> Tensor:
    """(groups, tokens): 1 where the token is of the group."""
    count = int(groups.max()) + 1 if len(groups) else 0
    return (torch.arange(count)[:, None] == groups).double()


def expect_applied(reading: Tensor, case: Case) -> None:
    output = case.truth().output_BHND
    assert output is not None
    check("output", reading, output, case.logits)


def transposed_factor(n: int) -> Tensor:
    return torch.linspace(-1, 2, 3 * n).view(n, 3)


def expect_transposed(reading: Tensor, case: Case) -> None:
    weights = case.truth().weights_BHNM
    check(
        "output",
        reading,
        weights.transpose(-1, -2) @ transposed_factor(weights.shape[2]).double(),
        case.logits,
    )


FOLDS: dict[str, tuple[Callable[[Case], Fold[Any]], Callable[[Any, Case], None]]] = {
    "RowStats": (lambda case: RowStats(), expect_row_stats),
    "Received": (lambda case: Received(), expect_received),
    "Entropy": (lambda case: Entropy(), expect_entropy),
    "Peak": (lambda case: Peak(), expect_peak),
    "Top(1)": (lambda case: Top(1), expect_top),
    "Top(5)": (lambda case: Top(5), expect_top),
    "Top(more than there are)": (lambda case: Top(case.key.shape[2] + 3), expect_top),
    "Distance": (lambda case: Distance(), expect_distance),
    "Distance(offset)": (
        lambda case: Distance(offset=-7),
        lambda reading, case: expect_distance(reading, case, -7),
    ),
    "Pool": (
        lambda case: Pool(groups_of(case.query.shape[2], 5), groups_of(case.key.shape[2], 3)),
        expect_pool,
    ),
    "A @ v": (lambda case: Applied(case.value), expect_applied),
    "A.T @ x": (lambda case: TransposedApplied(transposed_factor(case.query.shape[2])), expect_transposed),
}


def expect_all(case: Case, cut: Plan) -> None:
    """Read every fold in one walk and compare each with its truth."""
    folds = {name: build(case) for name, (build, _) in FOLDS.items()}
    for name, reading in zip(folds, case.read(*folds.values(), cut=cut), strict=True):
        try:
            FOLDS[name][1](reading, case)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


# The two ways of cutting, and one off every grid.
CUTS = {
    "strips": Plan(rows=11, columns=None, panel_batches=1, panel_heads=2, grain=8),
    "strips, all heads": Plan(rows=64, columns=None, panel_batches=B, panel_heads=H),
    "squares": Plan(rows=17, columns=23, panel_batches=1, panel_heads=2, grain=23),
}
