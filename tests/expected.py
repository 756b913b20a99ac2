"""What each reduction must read, from the float64 truth of a case, with the bounds of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from limelight.matrix import SoftmaxStats, reference as truth_of
from tests.tolerance import check

if TYPE_CHECKING:
    from tests.oracle import Case


def row_stats(reading: SoftmaxStats, case: Case) -> None:
    maximum, log_sum = stats_of(case)
    check("maximum", reading.maximum, maximum, case.logits)
    check("log sum", reading.log_sum, log_sum, case.logits)
    assert torch.equal(reading.empty, maximum == -torch.inf)


def stats_of(case: Case) -> tuple[Tensor, Tensor]:
    """The row maximum and the log-sum of every query."""
    masked = case.truth().masked_BHNM
    maximum = masked.amax(-1) if masked.shape[-1] else masked.new_full(masked.shape[:-1], -torch.inf)
    empty = maximum == -torch.inf
    log_sum = torch.exp(masked - maximum.masked_fill(empty, 0.0)[..., None]).sum(-1).log()
    if case.sink is not None:
        log_sum = torch.logaddexp(log_sum, case.sink.double()[:, None] - maximum)
    return maximum, log_sum.masked_fill(empty, 0.0)


def received(reading: Any, case: Case) -> None:
    truth = case.truth()
    queries = (truth.masked_BHNM != -torch.inf).sum(2)
    raw = truth.weights_BHNM.sum(2)
    check("received", reading.raw, raw, case.logits)
    check("received", reading.per_query, torch.where(queries > 0, raw / queries, 0.0), case.logits)
    assert torch.equal(reading.queries, queries)


def entropy(reading: Tensor, case: Case) -> None:
    check("entropy", reading, torch.special.entr(case.truth().weights_BHNM).sum(-1), case.logits)


def peak(reading: Any, case: Case) -> None:
    top(type(reading)(reading.weights[..., None], reading.keys[..., None]), case)


def top(reading: Any, case: Case) -> None:
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


def bottom(reading: Any, case: Case) -> None:
    """The lowest scores, at keys that are visible and different from each other, and their weights."""
    truth = case.truth()
    weights, scores = truth.weights_BHNM, truth.masked_BHNM
    seen = scores != -torch.inf
    k = reading.keys.shape[-1]
    found = reading.keys >= 0
    assert torch.equal(found.sum(-1), seen.sum(-1).clamp(max=k))
    assert bool((reading.weights[~found] == 0).all())
    if weights.shape[-1] == 0:
        return
    place = reading.keys.clamp(min=0)
    assert bool((seen.gather(-1, place) | ~found).all())
    check("weights", reading.weights, weights.gather(-1, place) * found, case.logits)
    lowest = torch.nn.functional.pad(scores.masked_fill(~seen, torch.inf), (0, k), value=torch.inf)
    lowest = lowest.sort(-1).values[..., :k].masked_fill(~found, 0.0)
    dtype = reading.weights.dtype
    check("scores", scores.gather(-1, place).masked_fill(~found, 0.0).to(dtype), lowest, case.logits)
    distinct = torch.where(found, reading.keys, -1 - torch.arange(k)).sort(-1).values
    assert bool((distinct.diff(dim=-1) != 0).all())


def distance(reading: Any, case: Case, offset: int | None = None) -> None:
    weights = case.truth().weights_BHNM
    n, m = weights.shape[2:]
    ahead_NM = torch.arange(m) - (torch.arange(n) + (m - n if offset is None else offset))[:, None]
    mean, signed = (weights * ahead_NM.abs()).sum(-1), (weights * ahead_NM).sum(-1)
    check("distance", reading.mean, mean, case.logits)
    # What is ahead less what is behind: known as well as both together.
    check("distance", reading.signed, signed, case.logits, beside=mean)


def groups_of(size: int, span: int) -> Tensor:
    """Neighbours in groups of `span`; of every group but the first, one token belongs to none."""
    groups = torch.arange(size) // span
    groups[span::span] = -1
    return groups


def factors(case: Case) -> Tensor:
    """A number for each key and head, 0 among them."""
    h, m = case.query.shape[1], case.key.shape[2]
    return (torch.arange(h * m).view(1, h, m) % 5) / 2


def pool(reading: Tensor, case: Case, weighted: bool = False) -> None:
    """Sum over the keys of a group, mean over those of its queries that see something."""
    truth = case.truth()
    n, m = truth.weights_BHNM.shape[2:]
    member_PN, member_QM = membership(groups_of(n, 5)), membership(groups_of(m, 3))
    looking_BHN = (truth.masked_BHNM != -torch.inf).any(-1).double()
    weights = truth.weights_BHNM * factors(case)[:, :, None] if weighted else truth.weights_BHNM
    sums_BHPQ = member_PN @ weights @ member_QM.T
    queries_BHP = looking_BHN @ member_PN.T
    check("pooled", reading, sums_BHPQ / queries_BHP.clamp(min=1)[..., None], case.logits)


def membership(groups: Tensor) -> Tensor:
    """(groups, tokens): 1 where the token is of the group."""
    count = int(groups.max()) + 1 if len(groups) else 0
    return (torch.arange(count)[:, None] == groups).double()


def applied(reading: Tensor, case: Case) -> None:
    truth = case.truth()
    assert truth.output_BHND is not None
    sizes = truth_of.weigh_values(truth.weights_BHNM, case.value.abs())
    check("output", reading, truth.output_BHND, case.logits, beside=sizes)


def transposed_factor(n: int) -> Tensor:
    return torch.linspace(-1, 2, 3 * n).view(n, 3)


def transposed(reading: Tensor, case: Case) -> None:
    weights = case.truth().weights_BHNM.transpose(-1, -2)
    x = transposed_factor(weights.shape[-1]).double()
    check("output", reading, weights @ x, case.logits, beside=weights @ x.abs())


def some_keys(batches: int, m: int) -> Tensor:
    """Other keys in each batch."""
    return (torch.arange(m) + torch.arange(batches)[:, None]) % 5 == 2


def sink_mass(reading: Any, case: Case, named: bool = False) -> None:
    truth = case.truth()
    weights = truth.weights_BHNM
    sink = weights.new_zeros(weights.shape[:-1])
    if case.sink is not None:
        column = case.sink.double()[:, None, None].expand(*weights.shape[:-1], 1)
        sink = torch.cat([truth.masked_BHNM, column], -1).softmax(-1)[..., -1]
        sink = sink.masked_fill((truth.masked_BHNM == -torch.inf).all(-1), 0.0)
    keys = torch.zeros_like(sink)
    if named:
        keys = (weights * some_keys(len(weights), weights.shape[-1])[:, None, None]).sum(-1)
    for got, expected in zip(reading, (sink, keys, sink + keys), strict=True):
        check("weights", got, expected, case.logits)


def cells(count: int, size: int) -> Tensor:
    """(cells, rows): 1 where the row is in the cell."""
    table = torch.zeros(count, size, dtype=torch.float64)
    for cell in range(count if size else 0):
        first = cell * size // count
        table[cell, first : max(first + 1, (cell + 1) * size // count)] = 1
    return table


def picture(reading: Any, case: Case, height: int, width: int) -> None:
    truth = case.truth()
    weights, seen = truth.weights_BHNM, (truth.masked_BHNM != -torch.inf).double()
    rows_PN, columns_QM = (cells(*each) for each in zip((height, width), weights.shape[2:], strict=True))
    area = (rows_PN.sum(-1)[:, None] * columns_QM.sum(-1)).clamp(min=1)
    check("pooled", reading.mean, rows_PN @ weights @ columns_QM.T / area, case.logits)
    check("pooled", reading.seen, rows_PN @ seen @ columns_QM.T / area)
    if weights.numel():
        tall = torch.stack([weights[:, :, row_N > 0].amax(2) for row_N in rows_PN], 2)
        weights = torch.stack([tall[..., column_M > 0].amax(3) for column_M in columns_QM], 3)
        check("weights", reading.maximum, weights, case.logits)
    assert reading.maximum.shape == reading.mean.shape


def histogram(reading: Any, case: Case) -> None:
    """Below every edge as many weights as the truth has, those aside that are too near it to tell."""
    truth = case.truth()
    seen = truth.masked_BHNM != -torch.inf
    maximum, log_sum = stats_of(case)
    logs = (truth.masked_BHNM - maximum[..., None]) - log_sum[..., None]
    logs = logs.masked_fill(~seen, torch.inf).flatten(2)
    assert torch.equal(reading.counts.sum(-1), seen.flatten(2).sum(-1))
    assert reading.edges.tolist()[-1] == 0
    below = reading.counts.cumsum(-1)
    for place, edge in enumerate(reading.edges[1:-1].double()):
        near = 1e-5 + 4 * case.logits * torch.finfo(reading.edges.dtype).eps
        assert bool((below[..., place] >= (logs < edge - near).sum(-1)).all()), f"too few below {edge}"
        assert bool((below[..., place] <= (logs < edge + near).sum(-1)).all()), f"too many below {edge}"


def quantiles(reading: Any, case: Case, shares: tuple[float, ...]) -> None:
    """So many of the largest weights hold the share, one less does not, and the last of them is the weight."""
    weights = case.truth().weights_BHNM
    assert reading.keys.shape == reading.weights.shape == (*weights.shape[:-1], len(shares))
    falling = torch.nn.functional.pad(weights.sort(-1, descending=True).values, (1, 0))
    held = falling.cumsum(-1)
    eps = torch.finfo(reading.weights.dtype).eps
    near = (16 * eps + 4 * case.logits * eps) * held[..., -1] + 1e-15
    for p, share in enumerate(shares):
        keys = reading.keys[..., p, None]
        target = share * held[..., -1]
        got, one_less = (held.gather(-1, n.clamp(min=0))[..., 0] for n in (keys, keys - 1))
        assert bool((got >= target - near).all()), f"{share}: too few keys"
        assert bool(((one_less < target + near) | (keys[..., 0] == 0)).all()), f"{share}: too many keys"
        assert bool(((keys[..., 0] > 0) | (held[..., -1] < 1e-15)).all()), f"{share}: no keys"
        check("weights", reading.weights[..., p], falling.gather(-1, keys)[..., 0], case.logits)


def output_projection(case: Case) -> Tensor:
    """Each head's part of one, with fewer columns than rows."""
    h, d = case.query.shape[1], case.value.shape[-1]
    return torch.linspace(-1, 1, h * d * 3).sin().view(h, d, 3)


def norms(reading: Any, case: Case, projected: bool = False) -> None:
    weights = case.truth().weights_BHNM
    h = weights.shape[1]
    values = case.value.double().repeat_interleave(h // max(case.value.shape[1], 1), dim=1)
    sizes = values.abs()  # a projection sums terms that may cancel
    if projected:
        projection = output_projection(case).double()
        values, sizes = values @ projection, sizes @ projection.abs()
    lengths, sizes = (each.square().sum(-1).sqrt() for each in (values, sizes))
    table, beside = weights * lengths[:, :, None], weights * sizes[:, :, None]
    check("output", reading.lengths, lengths, beside=sizes)
    check("output", reading.received, table.sum(2), case.logits, beside.sum(2))
    check("output", reading.total, table.sum(3), case.logits, beside.sum(3))
    largest, most = (each.amax(-1) if each.shape[-1] else each.sum(-1) for each in (table, beside))
    check("output", reading.peak, largest, case.logits, most)
    found = reading.keys >= 0
    assert torch.equal(found, reading.peak > 0)
    if table.shape[-1]:
        there = table.gather(-1, reading.keys.clamp(min=0)[..., None])[..., 0]
        check("output", reading.peak, there * found, case.logits, most)
