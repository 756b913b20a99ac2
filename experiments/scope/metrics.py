"""What can be read off the runs of scope: right answers by place of the grid, steps between, gradients.

It holds for runs of any size: records, distances and seeds are those that the runs have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.common.plan import Spread
from experiments.scope.task import VALUES

CHANCE = 1 / VALUES
SURE = 0.9
"""From this share of right answers on a rival counts as able to answer."""

Some = Sequence[Mapping[str, Any]]
"""The runs of one rival, one a seed."""
Runs = Mapping[str, Some]
"""The runs of each rival, by its label."""
Wanted = Callable[[int, int], bool]
"""Which places of the grid are meant: (records, distance) → yes or no."""


def all_records(runs: Runs) -> list[int]:
    return sorted({place["records"] for some in runs.values() for run in some for place in run["grid"]})


def all_distances(runs: Runs) -> list[int]:
    return sorted({place["distance"] for some in runs.values() for run in some for place in run["grid"]})


def longest_trained(runs: Runs) -> int:
    return max(run["longest"] for some in runs.values() for run in some)


def right(some: Sequence[Mapping[str, Any]], wanted: Wanted) -> Spread:
    """The mean share of right answers over the places (records, distance) that are wanted, by seed."""
    shares = []
    for run in some:
        values = [p["accuracy"] for p in run["grid"] if wanted(p["records"], p["distance"])]
        if values:
            shares.append(math.fsum(values) / len(values))
    return Spread(tuple(shares))


def right_at(some: Sequence[Mapping[str, Any]], records: int, distance: int) -> Spread:
    return right(some, lambda r, d: (r, d) == (records, distance))


def regions_of(runs: Runs) -> dict[str, Wanted]:
    """Few records and many, as near as in training and farther: words, and which places of the grid they mean."""
    records, distances, longest = all_records(runs), all_distances(runs), longest_trained(runs)
    middle = records[len(records) // 2]
    few, many = [r for r in records if r < middle], [r for r in records if r > middle]
    # A text of `longest` tokens has its farthest two one less apart.
    near, far = [d for d in distances if d < longest], [d for d in distances if d >= longest]
    regions: dict[str, Wanted] = {}
    for place, where in (("within", near), ("beyond", far)):
        for some in (few, many):
            if some and where:
                words = f"{_span(some)} {'record' if some == [1] else 'records'}, {_span(where)} tokens apart"
                regions[f"{words}, {place} the lengths of training"] = _wanted(some, where)
    return regions


def _wanted(records: Sequence[int], distances: Sequence[int]) -> Wanted:
    return lambda r, d: r in records and d in distances


def _span(values: Sequence[int]) -> str:
    return f"{values[0]:,}" if len(values) == 1 else f"{values[0]:,} to {values[-1]:,}"


def arriving(some: Sequence[Mapping[str, Any]], when: str, distance: int) -> float:
    """The geometric mean over the seeds of the gradient that arrives; nan where none was measured."""
    logs = [
        math.log10(max(place["share"], 1e-300))
        for run in some
        for place in run["gradients"][when]
        if place["distance"] == distance
    ]
    return 10 ** (math.fsum(logs) / len(logs)) if logs else math.nan


def steps_between(run: Mapping[str, Any], distance: int) -> int:
    """Steps along the sequence that what is known of one token needs to reach the other, in every layer."""
    return 1 if run["shape"]["architecture"] == "transformer" else distance


def reach(some: Sequence[Mapping[str, Any]], records: int, distances: Sequence[int]) -> int:
    """The farthest distance up to which the answers are right as often as `SURE` in every seed; 0 for none."""
    reached = 0
    for distance in distances:
        if not right_at(some, records, distance).lowest >= SURE:
            break
        reached = distance
    return reached
