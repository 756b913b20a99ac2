"""What can be read off the runs of accuracy: measures by rival and class of length, seeds, minutes, machines."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from experiments.accuracy.tasks import CHANCE, LABELS, Contest
from experiments.common.plan import Spread
from experiments.common.sentences import listed

Run = Mapping[str, Any]
Runs = dict[str, list[Run]]
"""One task's runs of one kind (short or long), by the rival's label, in the order of `LABELS`."""
Judged = Callable[[Run], Mapping[str, float]]
"""Which of a run's measures are meant: run → {measure: value}."""

KINDS = ("short", "long")
NAMES = {"pronounce": "Pronunciation", "translate": "Translation"}
WORDS = {
    "word error rate": ("words with an error", ".1%"),
    "phoneme error rate": ("phone errors", ".1%"),
    "BLEU": ("BLEU", ".1f"),
    "chrF": ("chrF", ".1f"),
}
"""What a measure is called in a sentence, and how its values are written."""
NORMAL = 1.96
"""So many standard deviations to either side hold 95% of a normal distribution."""


def runs_of(results: Mapping[str, Run], task: str, kind: str) -> Runs:
    """Those of a task and kind, by label; rivals without a run are left out."""
    some = [run for run in results.values() if (run["task"], run["kind"]) == (task, kind)]
    by_label: Runs = {label: [run for run in some if run["label"] == label] for label in LABELS.values()}
    return {label: each for label, each in by_label.items() if each}


def on_test(run: Run) -> Mapping[str, float]:
    """The measures of the whole test."""
    found: Mapping[str, float] = run["test"]
    return found


def shared_nothing(run: Run) -> Mapping[str, float]:
    """Those of the test sources that training has nothing like; none where that is not told."""
    found: Mapping[str, float] = run.get("clean", {})
    return found


def of_length(number: int) -> Judged:
    """Those of one class of length."""
    return lambda run: run["by length"][number]


def spreads(runs: Runs, measure: str, judged: Judged = on_test) -> dict[str, Spread]:
    """A measure of every rival over its seeds."""
    told = {label: [judged(run) for run in some if measure in judged(run)] for label, some in runs.items()}
    return {
        label: Spread(
            tuple(each[measure] for each in scores),
            by_chance(scores[0], measure) if len(scores) == 1 else 0.0,
        )
        for label, scores in told.items()
    }


def by_chance(scores: Mapping[str, float], measure: str) -> float:
    """Half the width of a measure's 95% interval over other test sources; 0 where that is not known.

    >>> round(by_chance({"sources": 10_000, "word error rate": 0.5}, "word error rate"), 4)
    0.0098
    """
    if measure == "word error rate":  # so many words of so many, each wrong or right
        wrong = scores[measure]
        return NORMAL * math.sqrt(wrong * (1 - wrong) / scores["sources"])
    return scores.get(CHANCE.format(measure), 0.0)


def seeds(runs: Runs) -> str:
    """How many there are, in words."""
    most = max(len(some) for some in runs.values())
    return "one seed" if most == 1 else f"{most} seeds"


def budget(kind: str, runs: Runs) -> str:
    """The time that was really spent, in words."""
    spent = [run["CPU seconds"] / 60 for some in runs.values() for run in some]
    least, most = f"{min(spent):.0f}", f"{max(spent):.0f}"
    minutes = f"{least if least == most else f'{least} to {most}'} CPU-minutes"
    return minutes if kind == "short" else f"the long run of {minutes}"


def classes(contest: Contest) -> list[str]:
    """The classes of length.

    >>> from experiments.accuracy.tasks import CONTESTS
    >>> classes(CONTESTS["translate"])
    ['1 to 5', '6 to 10', '11 to 20', '21 or more']
    """
    closed = [f"{least} to {after - 1}" for least, after in pairwise(contest.lengths)]
    return [*closed, f"{contest.lengths[-1]} or more"]


def dropout(runs: Runs) -> str:
    """The runs' dropout."""
    rates = {run["shape"]["dropout"] for some in runs.values() for run in some}
    return listed([f"{each:g}" for each in sorted(rates)])


def machines(runs: Runs) -> str:
    """What the runs were made on, a run that went on elsewhere counted on all; by rival where they are not alike."""
    by_label = {label: _kinds(some) for label, some in runs.items()}
    [first, *_] = by_label.values()
    if all(kinds == first for kinds in by_label.values()):
        return first
    told = [f"{label}: {kinds}" for label, kinds in by_label.items()]
    return f"machines that are not alike, so minutes are not either: {'; '.join(told)}"


def _kinds(some: Sequence[Run]) -> str:
    every = [each for run in some for each in (run["machine"], *run["machine"].get("before", ()))]
    kinds = dict.fromkeys(f"{each['instructions']} with products in {each['training']}" for each in every)
    return listed(list(kinds))
