"""Learning curves over processor time: one run's, and several seeds' together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from experiments.common.plan import Line, Spread

POINTS = 16
"""Times at which the seeds of a curve are put together."""
TIME = "CPU seconds"


def at(curve: Sequence[Mapping[str, float]], seconds: float, measure: str) -> float:
    """A measure after so many seconds, on the straight line between two evaluations; at either end the nearest.

    >>> at([{"CPU seconds": 10, "BLEU": 1.0}, {"CPU seconds": 20, "BLEU": 3.0}], 15, "BLEU")
    2.0
    """
    for before, after in pairwise(curve):
        if before[TIME] <= seconds <= after[TIME]:
            share = (seconds - before[TIME]) / max(after[TIME] - before[TIME], 1e-9)
            return before[measure] + share * (after[measure] - before[measure])
    nearest = min(curve, key=lambda record: abs(record[TIME] - seconds))
    return nearest[measure]


def times(runs: Sequence[Mapping[str, Any]], points: int = POINTS) -> list[float]:
    """Even steps over the time that all runs were evaluated in; nothing where there is none."""
    curves = [run["curve"] for run in runs if run["curve"]]
    if not curves:
        return []
    first, last = max(curve[0][TIME] for curve in curves), min(curve[-1][TIME] for curve in curves)
    return (
        [first + (last - first) * step / (points - 1) for step in range(points)] if last > first else [last]
    )


def over(runs: Sequence[Mapping[str, Any]], seconds: float, measure: str) -> Spread:
    """The measure of all runs after so many seconds."""
    return Spread(tuple(at(run["curve"], seconds, measure) for run in runs if run["curve"]))


def line(runs: Sequence[Mapping[str, Any]], measure: str, style: str = "-") -> Line:
    """The curve of one rival's runs, in minutes: every evaluation of a single one, else even steps."""
    places = times(runs) if len(runs) > 1 else [record[TIME] for record in runs[0]["curve"]]
    spreads = [over(runs, place, measure) for place in places]
    return Line.over_seeds(
        runs[0]["label"], runs[0]["rival"], [place / 60 for place in places], spreads, style
    )
