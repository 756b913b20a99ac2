"""What can be read off the runs of generalisation: right answers by labels, rival and beginning, and margins.

Where a function asks for `runs`, they are those of one task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.common.plan import Spread
from experiments.common.sentences import best

Run = Mapping[str, Any]
STARTS = {
    "scratch": "from scratch",
    "general": "from the language model",
    "adapted": "from the language model read on",
}
WORDS_ALONE = "Words alone"
"""What stands beside the rivals without a network (words_alone.py)."""
NAMES = {"spam": "Spam", "help-topics": "Topics"}
FEW = 1_000
"""The number of labels for which the part's question is answered first."""


def right(
    runs: Sequence[Run], labels: int, label: str, start: str = "scratch", measure: str = "accuracy"
) -> Spread:
    """A measure of one rival from one beginning, over its seeds."""
    return Spread(tuple(_by_seed(runs, labels, label, start, measure).values()))


def gain(runs: Sequence[Run], labels: int, label: str, start: str) -> Spread:
    """What a beginning is worth over fresh weights, seed by seed: both have the same labels there."""
    fresh = _by_seed(runs, labels, label, "scratch")
    known = _by_seed(runs, labels, label, start)
    return Spread(tuple(known[seed] - fresh[seed] for seed in known if seed in fresh))


def _by_seed(
    runs: Sequence[Run], labels: int, label: str, start: str, measure: str = "accuracy"
) -> dict[int, float]:
    return {
        run["seed"]: run[measure]
        for run in runs
        if (run["labels"], run["label"], run["start"]) == (labels, label, start)
    }


def networks(runs: Sequence[Run], labels: int) -> dict[str, Spread]:
    """The right answers of every rival from every beginning."""
    return {
        f"{label} {STARTS[start]}": spread
        for label in rivals(runs)
        for start in starts(runs)
        if (spread := right(runs, labels, label, start)).values
    }


def best_and_words(runs: Sequence[Run], labels: int) -> dict[str, Spread]:
    """The best of the networks, then the words alone; empty where either is missing."""
    words, known = right(runs, labels, WORDS_ALONE), networks(runs, labels)
    if not words.values or not known:
        return {}
    first = best(known)
    return {first: known[first], WORDS_ALONE: words}


def starts(runs: Sequence[Run]) -> list[str]:
    """The beginnings that there are, what knows most last."""
    return [start for start in STARTS if any(run["start"] == start for run in runs)]


def rivals(runs: Sequence[Run]) -> list[str]:
    """Their labels; what has no network is none."""
    return [label for label in everyone(runs) if label != WORDS_ALONE]


def everyone(runs: Sequence[Run]) -> list[str]:
    """The labels of the rivals, and of what stands beside them."""
    return list(dict.fromkeys(run["label"] for run in runs))


def counts(runs: Sequence[Run]) -> list[int]:
    """How many labels are given."""
    return sorted({run["labels"] for run in runs})
