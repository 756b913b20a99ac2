"""A mutant for every reduction: a mistake that someone could make, which the suite's own comparison must notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from limelight.matrix import (
    ArgMax,
    AttentionOutput,
    BottomK,
    Downsample,
    Entropy,
    Histogram,
    MeanDistance,
    NextPass,
    Pool,
    Quantiles,
    Received,
    Reweighted,
    RowStats,
    SinkMass,
    SoftmaxStats,
    Tile,
    TopK,
    ValueNorms,
    masks,
)
from limelight.matrix.reductions.products import Applied, TransposedApplied
from limelight.matrix.reductions.row_stats import RowSums
from limelight.matrix.reductions.topk import Best
from tests.oracle import CUTS, REDUCTIONS, Case, H, random_case


class RowStatsThatForgetToRescale(RowStats):
    def merge(self, state: RowSums, other: RowSums) -> RowSums:
        return RowSums(torch.maximum(state.maximum, other.maximum), state.total + other.total, state.sink_H)


class RowStatsWithoutSink(RowStats):
    def finish(self, state: RowSums, stats: SoftmaxStats | None = None) -> SoftmaxStats:
        return super().finish(state._replace(sink_H=None))


class ReceivedThatAssigns(Received):
    def update(self, state: Any, tile: Tile) -> None:
        state.raw[tile.columns] = tile.weights.sum(-2).double()
        state.queries[tile.columns] += tile.queries_a_key()


class ReceivedThatCountsHiddenKeys(Received):
    def update(self, state: Any, tile: Tile) -> None:
        state.raw[tile.columns] += tile.weights.sum(-2)
        state.queries[tile.columns] += tile.i1 - tile.i0


class EntropyInBits(Entropy):
    def finish(self, state: Tensor, stats: SoftmaxStats) -> Tensor:
        return super().finish(state, stats) / 0.6931471805599453


class PeakOfTheLastTile(ArgMax):
    def merge(self, state: Best, other: Best) -> Best:
        return other


class PeakWithinItsTile(ArgMax):
    def update(self, state: Best, tile: Tile) -> None:
        super().update(state, replace(tile, j0=0))


class TopThatTakesTheFirst(TopK):
    def update(self, state: Best, tile: Tile) -> None:
        super().update(state, replace(tile, scores=tile.scores[..., : self.k], j1=tile.j0 + self.k))


class TopThatKeepsHiddenKeys(TopK):
    def finish(self, state: Best, stats: SoftmaxStats) -> Any:
        reading = super().finish(state, stats)
        return reading._replace(keys=reading.keys.clamp(min=0))


class PoolThatSumsOverQueries(Pool):
    def finish(self, state: Any, stats: SoftmaxStats) -> Tensor:
        return state.sums[:, :, :-1, :-1].to(stats.maximum.dtype)


class PoolWithTheTokensOfNoGroup(Pool):
    def init(self, frame: Any) -> Any:
        state = super().init(frame)
        return state._replace(cols_BM=state.cols_BM.clamp(max=state.sums.shape[-1] - 2))


class AppliedToTheWrongKeyHeads(Applied):
    def init(self, frame: Any) -> Any:
        state = super().init(frame)
        return state._replace(given=state.given.flip(1))


class TransposedAppliedToTheWrongRows(TransposedApplied):
    def update(self, state: Any, tile: Tile) -> None:
        shifted = replace(tile, i0=0, i1=tile.i1 - tile.i0)
        shifted.stats = tile.stats
        super().update(state, shifted)


class BottomWithHiddenKeys(BottomK):
    def update(self, state: Any, tile: Tile) -> None:
        super().update(state, replace(tile, all_seen_but=()))


class BottomOfTheLargest(BottomK):
    def update(self, state: Any, tile: Tile) -> None:
        TopK(self.k).update(state, tile)


class DistanceFromTheTopLeft(MeanDistance):
    def init(self, frame: Any) -> Any:
        return super().init(frame)._replace(offset=0)


class DistanceWithoutDirection(MeanDistance):
    def finish(self, state: Any, stats: SoftmaxStats) -> Any:
        reading = super().finish(state, stats)
        return reading._replace(signed=reading.mean)


class SinkMassWithoutTheSumBelow(SinkMass):
    def finish(self, state: Any, stats: SoftmaxStats) -> Any:
        return super().finish(state, stats._replace(log_sum=torch.zeros_like(stats.log_sum)))


class SinkMassOfTheFirstBatch(SinkMass):
    def init(self, frame: Any) -> Any:
        state = super().init(frame)
        return state._replace(named_BM=state.named_BM[:1].expand_as(state.named_BM))


class PictureByTheTilesOwnRows(Downsample):
    def update(self, state: Any, tile: Tile) -> None:
        shifted = replace(tile, i0=0, i1=tile.i1 - tile.i0)
        shifted.stats = tile.stats
        super().update(state, shifted)


class PictureThatCountsShortCellsAsLong(Downsample):
    def finish(self, state: Any, stats: SoftmaxStats) -> Any:
        even = torch.linspace(0, int(state.rows[-1]), len(state.rows), dtype=torch.float64)
        return super().finish(state._replace(rows=even), stats)


class PictureThatSeesEverything(Downsample):
    def update(self, state: Any, tile: Tile) -> None:
        seen = replace(tile, all_seen_but=())
        seen.stats = tile.stats
        super().update(state, seen)


class HistogramOfHiddenKeys(Histogram):
    def update(self, state: Any, tile: Tile) -> None:
        seen = replace(tile, all_seen_but=())
        seen.stats = tile.stats
        super().update(state, seen)


class HistogramOneBinUp(Histogram):
    def finish(self, state: Any, stats: SoftmaxStats) -> Any:
        reading = super().finish(state, stats)
        return reading._replace(counts=reading.counts.roll(1, -1))


class QuantilesWithOneKeyMore(Quantiles):
    def finish(self, state: Any, stats: SoftmaxStats) -> Any:
        reading = super().finish(state, stats)
        if isinstance(reading, NextPass):
            return NextPass(QuantilesGoingOn(reading.reduction, lambda end: end._replace(keys=end.keys + 1)))
        return reading


class QuantilesThatCountTheSink(Quantiles):
    def finish(self, state: Any, stats: SoftmaxStats) -> Any:
        state.grains[..., 0] += 2**58
        return super().finish(state, stats)


@dataclass(frozen=True)
class QuantilesGoingOn:
    """The further passes of a mutant: right but for what is done to the end."""

    reduction: Any
    spoil: Callable[[Any], Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reduction, name)

    def finish(self, state: Any, stats: SoftmaxStats) -> Any:
        reading = self.reduction.finish(state, stats)
        if isinstance(reading, NextPass):
            return NextPass(replace(self, reduction=reading.reduction))
        return self.spoil(reading)


class NormsOfTheWrongKeyHeads(ValueNorms):
    def init(self, frame: Any) -> Any:
        state = super().init(frame)
        return state._replace(lengths=state.lengths.flip(1))


class NormsThatIgnoreTheProjection(ValueNorms):
    def init(self, frame: Any) -> Any:
        return ValueNorms().init(frame)


class WeightedByTheWrongColumns(Reweighted):
    def init(self, frame: Any) -> Any:
        state = super().init(frame)
        return state._replace(factors_BHM=state.factors_BHM.roll(1, -1))


class OutputThatIsNotWeighed(AttentionOutput):
    def update(self, state: Any, tile: Tile) -> None:
        even = replace(tile, scores=torch.zeros_like(tile.scores))
        even.stats = tile.stats
        super().update(state, even)


FOLD_MUTANTS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    RowStatsThatForgetToRescale: ("RowStats", lambda reduction: RowStatsThatForgetToRescale()),
    RowStatsWithoutSink: ("RowStats", lambda reduction: RowStatsWithoutSink()),
    ReceivedThatAssigns: ("Received", lambda reduction: ReceivedThatAssigns()),
    ReceivedThatCountsHiddenKeys: ("Received", lambda reduction: ReceivedThatCountsHiddenKeys()),
    EntropyInBits: ("Entropy", lambda reduction: EntropyInBits()),
    PeakOfTheLastTile: ("ArgMax", lambda reduction: PeakOfTheLastTile()),
    PeakWithinItsTile: ("ArgMax", lambda reduction: PeakWithinItsTile()),
    TopThatTakesTheFirst: ("TopK(5)", lambda reduction: TopThatTakesTheFirst(reduction.k)),
    TopThatKeepsHiddenKeys: ("TopK(5)", lambda reduction: TopThatKeepsHiddenKeys(reduction.k)),
    PoolThatSumsOverQueries: (
        "Pool",
        lambda reduction: PoolThatSumsOverQueries(reduction.rows, reduction.cols),
    ),
    PoolWithTheTokensOfNoGroup: (
        "Pool",
        lambda reduction: PoolWithTheTokensOfNoGroup(reduction.rows, reduction.cols),
    ),
    AppliedToTheWrongKeyHeads: ("A @ v", lambda reduction: AppliedToTheWrongKeyHeads(reduction.v)),
    TransposedAppliedToTheWrongRows: (
        "A.T @ x",
        lambda reduction: TransposedAppliedToTheWrongRows(reduction.x),
    ),
    BottomWithHiddenKeys: ("BottomK(5)", lambda reduction: BottomWithHiddenKeys(reduction.k)),
    BottomOfTheLargest: ("BottomK(5)", lambda reduction: BottomOfTheLargest(reduction.k)),
    DistanceFromTheTopLeft: ("MeanDistance", lambda reduction: DistanceFromTheTopLeft()),
    DistanceWithoutDirection: ("MeanDistance", lambda reduction: DistanceWithoutDirection()),
    SinkMassWithoutTheSumBelow: ("SinkMass", lambda reduction: SinkMassWithoutTheSumBelow()),
    SinkMassOfTheFirstBatch: ("SinkMass(keys)", lambda reduction: SinkMassOfTheFirstBatch(reduction.keys)),
    PictureByTheTilesOwnRows: ("Downsample", lambda reduction: PictureByTheTilesOwnRows(7, 5)),
    PictureThatCountsShortCellsAsLong: (
        "Downsample",
        lambda reduction: PictureThatCountsShortCellsAsLong(7, 5),
    ),
    PictureThatSeesEverything: ("Downsample", lambda reduction: PictureThatSeesEverything(7, 5)),
    HistogramOfHiddenKeys: (
        "Histogram",
        lambda reduction: HistogramOfHiddenKeys(reduction.bins, reduction.low),
    ),
    HistogramOneBinUp: ("Histogram", lambda reduction: HistogramOneBinUp(reduction.bins, reduction.low)),
    QuantilesWithOneKeyMore: ("Quantiles", lambda reduction: QuantilesWithOneKeyMore(*reduction.shares)),
    QuantilesThatCountTheSink: (
        "Quantiles",
        lambda reduction: QuantilesThatCountTheSink(*reduction.shares),
    ),
    NormsOfTheWrongKeyHeads: ("ValueNorms", lambda reduction: NormsOfTheWrongKeyHeads()),
    NormsThatIgnoreTheProjection: (
        "ValueNorms(output)",
        lambda reduction: NormsThatIgnoreTheProjection(reduction.output),
    ),
    WeightedByTheWrongColumns: (
        "Reweighted",
        lambda reduction: WeightedByTheWrongColumns(reduction.reduction, reduction.factors),
    ),
    OutputThatIsNotWeighed: ("AttentionOutput", lambda reduction: OutputThatIsNotWeighed()),
}


def mutant_case() -> Case:
    return replace(random_case(masks.causal(offset=1)), sink=torch.randn(H))


@pytest.mark.parametrize("mutant", FOLD_MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mutated_reduction_is_noticed(mutant: type) -> None:
    name, build = FOLD_MUTANTS[mutant]
    case, expect = mutant_case(), REDUCTIONS[name][1]
    reduction = REDUCTIONS[name][0](case)
    [reading] = case.read(reduction, cut=CUTS["squares"])
    expect(reading, case)  # green as it is …
    [reading] = case.read(build(reduction), cut=CUTS["squares"])
    with pytest.raises(AssertionError):  # … and red as the mutant has it
        expect(reading, case)
