"""A mutant for every fold: a mistake that someone could make, which the suite's own comparison must notice."""

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
from tests.oracle import CUTS, FOLDS, Case, H, random_case


class RowStatsThatForgetToRescale(RowStats):
    def merge(self, state: RowSums, other: RowSums) -> RowSums:
        return RowSums(torch.maximum(state.maximum, other.maximum), state.total + other.total, state.sink_H)


class RowStatsWithoutSink(RowStats):
    def finish(self, state: RowSums, stats: SoftmaxStats | None = None) -> SoftmaxStats:
        return super().finish(state._replace(sink_H=None))


class ReceivedThatAssigns(Received):
    def absorb(self, state: Any, tile: Tile) -> None:
        state.raw[tile.columns] = tile.weights.sum(-2).double()
        state.queries[tile.columns] += tile.queries_a_key()


class ReceivedThatCountsHiddenKeys(Received):
    def absorb(self, state: Any, tile: Tile) -> None:
        state.raw[tile.columns] += tile.weights.sum(-2)
        state.queries[tile.columns] += tile.i1 - tile.i0


class EntropyInBits(Entropy):
    def finish(self, state: Tensor, stats: SoftmaxStats) -> Tensor:
        return super().finish(state, stats) / 0.6931471805599453


class PeakOfTheLastTile(ArgMax):
    def merge(self, state: Best, other: Best) -> Best:
        return other


class PeakWithinItsTile(ArgMax):
    def absorb(self, state: Best, tile: Tile) -> None:
        super().absorb(state, replace(tile, j0=0))


class TopThatTakesTheFirst(TopK):
    def absorb(self, state: Best, tile: Tile) -> None:
        super().absorb(state, replace(tile, scores=tile.scores[..., : self.k], j1=tile.j0 + self.k))


class TopThatKeepsHiddenKeys(TopK):
    def finish(self, state: Best, stats: SoftmaxStats) -> Any:
        reading = super().finish(state, stats)
        return reading._replace(keys=reading.keys.clamp(min=0))


class PoolThatSumsOverQueries(Pool):
    def finish(self, state: Any, stats: SoftmaxStats) -> Tensor:
        return state.sums[:, :, :-1, :-1].to(stats.maximum.dtype)


class PoolWithTheTokensOfNoGroup(Pool):
    def start(self, frame: Any) -> Any:
        state = super().start(frame)
        return state._replace(cols_BM=state.cols_BM.clamp(max=state.sums.shape[-1] - 2))


class AppliedToTheWrongKeyHeads(Applied):
    def start(self, frame: Any) -> Any:
        state = super().start(frame)
        return state._replace(given=state.given.flip(1))


class TransposedAppliedToTheWrongRows(TransposedApplied):
    def absorb(self, state: Any, tile: Tile) -> None:
        shifted = replace(tile, i0=0, i1=tile.i1 - tile.i0)
        shifted.stats = tile.stats
        super().absorb(state, shifted)


class BottomWithHiddenKeys(BottomK):
    def absorb(self, state: Any, tile: Tile) -> None:
        super().absorb(state, replace(tile, all_seen_but=()))


class BottomOfTheLargest(BottomK):
    def absorb(self, state: Any, tile: Tile) -> None:
        TopK(self.k).absorb(state, tile)


class DistanceFromTheTopLeft(MeanDistance):
    def start(self, frame: Any) -> Any:
        return super().start(frame)._replace(offset=0)


class DistanceWithoutDirection(MeanDistance):
    def finish(self, state: Any, stats: SoftmaxStats) -> Any:
        reading = super().finish(state, stats)
        return reading._replace(signed=reading.mean)


class SinkMassWithoutTheSumBelow(SinkMass):
    def finish(self, state: Any, stats: SoftmaxStats) -> Any:
        return super().finish(state, stats._replace(log_sum=torch.zeros_like(stats.log_sum)))


class SinkMassOfTheFirstBatch(SinkMass):
    def start(self, frame: Any) -> Any:
        state = super().start(frame)
        return state._replace(named_BM=state.named_BM[:1].expand_as(state.named_BM))


class PictureByTheTilesOwnRows(Downsample):
    def absorb(self, state: Any, tile: Tile) -> None:
        shifted = replace(tile, i0=0, i1=tile.i1 - tile.i0)
        shifted.stats = tile.stats
        super().absorb(state, shifted)


class PictureThatCountsShortCellsAsLong(Downsample):
    def finish(self, state: Any, stats: SoftmaxStats) -> Any:
        even = torch.linspace(0, int(state.rows[-1]), len(state.rows), dtype=torch.float64)
        return super().finish(state._replace(rows=even), stats)


class PictureThatSeesEverything(Downsample):
    def absorb(self, state: Any, tile: Tile) -> None:
        seen = replace(tile, all_seen_but=())
        seen.stats = tile.stats
        super().absorb(state, seen)


class HistogramOfHiddenKeys(Histogram):
    def absorb(self, state: Any, tile: Tile) -> None:
        seen = replace(tile, all_seen_but=())
        seen.stats = tile.stats
        super().absorb(state, seen)


class HistogramOneBinUp(Histogram):
    def finish(self, state: Any, stats: SoftmaxStats) -> Any:
        reading = super().finish(state, stats)
        return reading._replace(counts=reading.counts.roll(1, -1))


class QuantilesWithOneKeyMore(Quantiles):
    def finish(self, state: Any, stats: SoftmaxStats) -> Any:
        reading = super().finish(state, stats)
        if isinstance(reading, NextPass):
            return NextPass(QuantilesGoingOn(reading.fold, lambda end: end._replace(keys=end.keys + 1)))
        return reading


class QuantilesThatCountTheSink(Quantiles):
    def finish(self, state: Any, stats: SoftmaxStats) -> Any:
        state.grains[..., 0] += 2**58
        return super().finish(state, stats)


@dataclass(frozen=True)
class QuantilesGoingOn:
    """The further walks of a mutant: right but for what is done to the end."""

    fold: Any
    spoil: Callable[[Any], Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.fold, name)

    def finish(self, state: Any, stats: SoftmaxStats) -> Any:
        reading = self.fold.finish(state, stats)
        if isinstance(reading, NextPass):
            return NextPass(replace(self, fold=reading.fold))
        return self.spoil(reading)


class NormsOfTheWrongKeyHeads(ValueNorms):
    def start(self, frame: Any) -> Any:
        state = super().start(frame)
        return state._replace(lengths=state.lengths.flip(1))


class NormsThatIgnoreTheProjection(ValueNorms):
    def start(self, frame: Any) -> Any:
        return ValueNorms().start(frame)


class WeightedByTheWrongColumns(Reweighted):
    def start(self, frame: Any) -> Any:
        state = super().start(frame)
        return state._replace(factors_BHM=state.factors_BHM.roll(1, -1))


class OutputThatIsNotWeighed(AttentionOutput):
    def absorb(self, state: Any, tile: Tile) -> None:
        even = replace(tile, scores=torch.zeros_like(tile.scores))
        even.stats = tile.stats
        super().absorb(state, even)


FOLD_MUTANTS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    RowStatsThatForgetToRescale: ("RowStats", lambda fold: RowStatsThatForgetToRescale()),
    RowStatsWithoutSink: ("RowStats", lambda fold: RowStatsWithoutSink()),
    ReceivedThatAssigns: ("Received", lambda fold: ReceivedThatAssigns()),
    ReceivedThatCountsHiddenKeys: ("Received", lambda fold: ReceivedThatCountsHiddenKeys()),
    EntropyInBits: ("Entropy", lambda fold: EntropyInBits()),
    PeakOfTheLastTile: ("ArgMax", lambda fold: PeakOfTheLastTile()),
    PeakWithinItsTile: ("ArgMax", lambda fold: PeakWithinItsTile()),
    TopThatTakesTheFirst: ("TopK(5)", lambda fold: TopThatTakesTheFirst(fold.k)),
    TopThatKeepsHiddenKeys: ("TopK(5)", lambda fold: TopThatKeepsHiddenKeys(fold.k)),
    PoolThatSumsOverQueries: ("Pool", lambda fold: PoolThatSumsOverQueries(fold.rows, fold.cols)),
    PoolWithTheTokensOfNoGroup: ("Pool", lambda fold: PoolWithTheTokensOfNoGroup(fold.rows, fold.cols)),
    AppliedToTheWrongKeyHeads: ("A @ v", lambda fold: AppliedToTheWrongKeyHeads(fold.v)),
    TransposedAppliedToTheWrongRows: ("A.T @ x", lambda fold: TransposedAppliedToTheWrongRows(fold.x)),
    BottomWithHiddenKeys: ("BottomK(5)", lambda fold: BottomWithHiddenKeys(fold.k)),
    BottomOfTheLargest: ("BottomK(5)", lambda fold: BottomOfTheLargest(fold.k)),
    DistanceFromTheTopLeft: ("MeanDistance", lambda fold: DistanceFromTheTopLeft()),
    DistanceWithoutDirection: ("MeanDistance", lambda fold: DistanceWithoutDirection()),
    SinkMassWithoutTheSumBelow: ("SinkMass", lambda fold: SinkMassWithoutTheSumBelow()),
    SinkMassOfTheFirstBatch: ("SinkMass(keys)", lambda fold: SinkMassOfTheFirstBatch(fold.keys)),
    PictureByTheTilesOwnRows: ("Downsample", lambda fold: PictureByTheTilesOwnRows(7, 5)),
    PictureThatCountsShortCellsAsLong: ("Downsample", lambda fold: PictureThatCountsShortCellsAsLong(7, 5)),
    PictureThatSeesEverything: ("Downsample", lambda fold: PictureThatSeesEverything(7, 5)),
    HistogramOfHiddenKeys: ("Histogram", lambda fold: HistogramOfHiddenKeys(fold.bins, fold.low)),
    HistogramOneBinUp: ("Histogram", lambda fold: HistogramOneBinUp(fold.bins, fold.low)),
    QuantilesWithOneKeyMore: ("Quantiles", lambda fold: QuantilesWithOneKeyMore(*fold.shares)),
    QuantilesThatCountTheSink: (
        "Quantiles",
        lambda fold: QuantilesThatCountTheSink(*fold.shares),
    ),
    NormsOfTheWrongKeyHeads: ("ValueNorms", lambda fold: NormsOfTheWrongKeyHeads()),
    NormsThatIgnoreTheProjection: (
        "ValueNorms(output)",
        lambda fold: NormsThatIgnoreTheProjection(fold.output),
    ),
    WeightedByTheWrongColumns: (
        "Reweighted",
        lambda fold: WeightedByTheWrongColumns(fold.fold, fold.factors),
    ),
    OutputThatIsNotWeighed: ("AttentionOutput", lambda fold: OutputThatIsNotWeighed()),
}


def mutant_case() -> Case:
    return replace(random_case(masks.causal(offset=1)), sink=torch.randn(H))


@pytest.mark.parametrize("mutant", FOLD_MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mutated_fold_is_noticed(mutant: type) -> None:
    name, build = FOLD_MUTANTS[mutant]
    case, expect = mutant_case(), FOLDS[name][1]
    fold = FOLDS[name][0](case)
    [reading] = case.read(fold, cut=CUTS["squares"])
    expect(reading, case)  # green as it is …
    [reading] = case.read(build(fold), cut=CUTS["squares"])
    with pytest.raises(AssertionError):  # … and red as the mutant has it
        expect(reading, case)
