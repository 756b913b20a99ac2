"""What scope gave, in sentences; what they follow from stands in tables.py."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.common.plan import Part, Spread
from experiments.common.sentences import against, best, listed, significant
from experiments.scope.metrics import (
    SURE,
    Runs,
    all_distances,
    all_records,
    arriving,
    longest_trained,
    reach,
    regions_of,
    right,
    steps_between,
)
from experiments.scope.tables import FAINTEST, STATES, pictures, tables
from experiments.scope.task import VALUES

RISING = 0.02
"""A training whose last third gave more than this share of right answers was not finished."""


def result(results: dict[str, dict[str, Any]]) -> Part:
    """Tables, pictures and sentences from the runs' dicts."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for run in results.values():
        runs.setdefault(run["label"], []).append(run)
    return Part(
        "scope",
        (_reaches(runs), *_compared(runs), _between(runs), _arriving(runs), *_spent(runs)),
        tables(runs),
        pictures(runs),
        _method(runs),
    )


def _compared(runs: Runs) -> list[str]:
    """Attention against the best of the others, region by region."""
    attention = next((label for label, some in runs.items() if some[0]["rival"] == "attention"), None)
    sentences = []
    for words, wanted in regions_of(runs).items():
        shares = {label: right(some, wanted) for label, some in runs.items()}
        others = {label: share for label, share in shares.items() if label != attention}
        if attention is not None and others:
            sentences.append(against(f"Right answers with {words}", shares, attention, best(others), ".0%"))
    return sentences


def _reaches(runs: Runs) -> str:
    records, distances = all_records(runs), all_distances(runs)
    parts = []
    for count in (records[0], records[-1]):
        each = []
        for label, some in runs.items():
            far = reach(some, count, distances)
            each.append(f"{label} up to {far:,} tokens" if far else f"{label} at no distance")
        parts.append(f"with {count} {'record' if count == 1 else 'records'} {listed(each)}")
    return f"At least {SURE:.0%} of the answers are right, in every seed: {'; '.join(parts)}."


def _between(runs: Runs) -> str:
    far = all_distances(runs)[-1]
    each = [f"{label} {steps_between(some[0], far):,}" for label, some in runs.items()]
    return f"Steps along the sequence between two tokens {far:,} apart, in every layer: {listed(each)}."


def _arriving(runs: Runs) -> str:
    near, far = all_distances(runs)[0], all_distances(runs)[-1]
    each = []
    for label, some in runs.items():
        fresh, trained = (_share(arriving(some, when, far) / arriving(some, when, near)) for when in STATES)
        each.append(f"{label} {fresh} times before training and {trained} times after it")
    return (
        f"Of the gradient that arrives {near} tokens before the question, so much arrives {far:,} before it: "
        f"{listed(each)}."
    )


def _share(value: float) -> str:
    return significant(value, 1) if value > FAINTEST else f"less than {FAINTEST:g}"


def _spent(runs: Runs) -> list[str]:
    each = []
    for label, some in runs.items():
        seconds = Spread(tuple(run["CPU seconds"] for run in some))
        questions = Spread(tuple(run["questions"] / 1e6 for run in some))
        each.append(f"{label} {seconds.mean:,.0f} CPU-seconds for {questions.mean:.2g} million questions")
    sentences = [f"What a training took: {listed(each)}."]
    rising = {label: Spread(tuple(_late(run["curve"]) for run in some)).mean for label, some in runs.items()}
    unfinished = [f"{label} (+{100 * rise:.0f} points)" for label, rise in rising.items() if rise > RISING]
    if unfinished:
        sentences.append(
            f"Still rising over the last third of the time, so not finished within this budget: {listed(unfinished)}."
        )
    else:
        sentences.append(f"Over the last third of the time none rose by more than {100 * RISING:.0f} points.")
    return sentences


def _late(curve: Sequence[Mapping[str, float]]) -> float:
    """How much the last third of a training gave."""
    return curve[-1]["accuracy"] - curve[max(0, len(curve) * 2 // 3 - 1)]["accuracy"] if curve else math.nan


def _method(runs: Runs) -> tuple[str, ...]:
    counts = [some[0]["parameters"] for some in runs.values()]
    asked = [place["asked"] for some in runs.values() for run in some for place in run["grid"]]
    once = all(run["epochs"] == 0 for some in runs.values() for run in some)
    return (
        f"Associative recall: records of a key and a value lie in noise, and the last token asks for one "
        f"key's value, of {VALUES}. Training asks in all places, on sequences of up to {longest_trained(runs):,} "
        f"tokens with up to {all_records(runs)[-1]} records{'; no sequence comes twice' if once else ''}.",
        f"Networks of {min(counts):,} to {max(counts):,} parameters, {max(counts) / min(counts) - 1:.1%} apart, with "
        "the same embeddings, data, loop and processor time.",
        f"Every place of the grid is asked {min(asked)} to {max(asked)} questions of its own a seed.",
    )
