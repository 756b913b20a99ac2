"""What accuracy gave, in sentences, task by task; what they follow from stands in tables.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.accuracy.metrics import (
    KINDS,
    NAMES,
    WORDS,
    Run,
    Runs,
    budget,
    classes,
    of_length,
    runs_of,
    seeds,
    spreads,
)
from experiments.accuracy.tables import picture, tables
from experiments.accuracy.tasks import CONTESTS, EVALUATIONS, LABELS, PATIENCE, Contest
from experiments.common.curves import over, times
from experiments.common.plan import Part, Picture, Table
from experiments.common.sentences import against, leading, ranked

PAIRS = [
    (LABELS[one], LABELS[other])
    for one, other in (("luong", "lstm"), ("attention", "lstm"), ("attention", "luong"))
]
"""Who is compared with whom."""
SHARES = (0.25, 0.5, 1.0)
"""Parts of the budget after which the leader is named."""


def result(results: dict[str, dict[str, Any]]) -> Part:
    """Tables, pictures and sentences from the runs' dicts."""
    sentences: list[str] = []
    short: list[str] = []
    shown: list[Table] = []
    pictures: list[Picture] = []
    for task, contest in CONTESTS.items():
        kinds = {kind: runs for kind in KINDS if (runs := runs_of(results, task, kind))}
        for kind, runs in kinds.items():
            sentences += _sentences(task, contest, kind, runs)
            short.append(_order(task, contest, kind, runs))
            shown += tables(task, contest, kind, runs)
        if kinds:
            pictures.append(picture(task, contest, kinds))
    return Part("accuracy", tuple(sentences), tuple(shown), tuple(pictures), _method(results), tuple(short))


def _sentences(task: str, contest: Contest, kind: str, runs: Runs) -> list[str]:
    found = [*_compared(task, contest, kind, runs), _by_length(task, contest, kind, runs)]
    found += _leaders(task, contest, kind, runs)
    if kind == "long":
        found += [_way(task, contest, run) for some in runs.values() for run in some]
    return found


def _compared(task: str, contest: Contest, kind: str, runs: Runs) -> list[str]:
    """Every two of the rivals on the test: what attention adds to recurrence, and what it is without."""
    words, form = WORDS[contest.score]
    measure = spreads(runs, contest.score)
    what = _asked(task, words, kind, runs)
    return [
        against(what, measure, one, other, form, higher=contest.higher)
        for one, other in PAIRS
        if one in measure and other in measure
    ]


def _order(task: str, contest: Contest, kind: str, runs: Runs) -> str:
    """All rivals on the test, the best first."""
    words, form = WORDS[contest.score]
    return ranked(_asked(task, words, kind, runs), spreads(runs, contest.score), form, contest.higher)


def _asked(task: str, words: str, kind: str, runs: Runs) -> str:
    return f"{NAMES[task]}, {words} on the test after {budget(kind, runs)}"


def _by_length(task: str, contest: Contest, kind: str, runs: Runs) -> str:
    """Who is ahead in every class of length."""
    each = []
    form = WORDS[contest.score][1]
    for number, name in enumerate(classes(contest)):
        measure = spreads(runs, contest.score, of_length(number))
        known = {label: spread for label, spread in measure.items() if spread.values}
        if known:
            each.append(f"{name} {contest.unit}: {leading(known, form, contest.higher)}")
    what = f"{NAMES[task]}, the best by the length of the source after {budget(kind, runs)}"
    return f"{what} ({seeds(runs)}): {'; '.join(each)}."


def _leaders(task: str, contest: Contest, kind: str, runs: Runs) -> list[str]:
    """Who is ahead after parts of the time, on held-out rows; nothing where that was not followed."""
    ends = [times(some)[-1] for some in runs.values() if times(some)]
    each = []
    for share in SHARES if ends else ():
        measure = {label: over(some, share * min(ends), contest.score) for label, some in runs.items()}
        leader = leading(measure, WORDS[contest.score][1], contest.higher)
        each.append(f"after {share * min(ends) / 60:.1f} minutes {leader}")
    what = f"{NAMES[task]}, the best on held-out rows on the way through {budget(kind, runs)}"
    return [f"{what} ({seeds(runs)}): {'; '.join(each)}."] if each else []


def _way(task: str, contest: Contest, run: Run) -> str:
    """How a long run went: what the level part gave, how it ended, and what the falling rate gave."""
    words, form = WORDS[contest.score]
    pick = max if contest.higher else min
    level = [record for record in run["curve"] if record["CPU seconds"] <= run["level seconds"]]
    end = pick(record[contest.score] for record in run["curve"][len(level) :])
    until = f"{run['level seconds'] / 60:.0f} of {run['CPU seconds'] / 60:.0f} CPU-minutes"
    why = "it then had brought nothing better for a while" if run["settled"] else "its time was up"
    told = [f"{NAMES[task]}, {run['label']}: the rate stayed level for {until}, since {why}"]
    if level:
        best = pick(level, key=lambda record: record[contest.score])
        value, minutes = best[contest.score], best["CPU seconds"] / 60
        told.append(f"its best {words} on held-out rows until then, {value:{form}}, came after {minutes:.0f}")
    return "; ".join([*told, f"while the rate fell it came to {end:{form}}."])


def _method(results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    if not results:
        return ()
    told = [
        "Every rival has the same data in the same order, the same loop, batches and processor time on one thread; "
        "each learns at the rate that the same search found for it on held-out rows. Weights are averaged, and the "
        "average with the best held-out score is tested, once, with greedy search.",
        "The rate stays level for the first part of the time and then falls to zero; in a long run it begins to fall "
        f"early once {PATIENCE['long']} evaluations in a row, of about {EVALUATIONS['long']} in its whole time, were "
        "no better: that far it is to convergence. What is read off a curve on the way had a rate that had not yet "
        "fallen.",
        "Of one seed, ± is half the width of the 95% interval that other test sources would give: of words with an "
        "error from their number, of BLEU from 1,000 draws of the sentences (Koehn 2004). A lead that is not above "
        "the root of the sum of both squares is called no winner; the same sources are in both, so this is strict.",
        "Searched for is the rate alone; layers, batches and dropout were set beforehand.",
    ]
    told += [
        f"{NAMES[task]}'s long runs are given {contest.long:.0%} of the time that the longest are given."
        for task, contest in CONTESTS.items()
        if contest.long < 1 and any((run["task"], run["kind"]) == (task, "long") for run in results.values())
    ]
    for task in CONTESTS:
        counts = [run["parameters"] for run in results.values() if run["task"] == task]
        if counts:
            told.append(
                f"{NAMES[task]}: {min(counts):,} to {max(counts):,} parameters, "
                f"{max(counts) / min(counts) - 1:.1%} apart."
            )
    return tuple(told)
