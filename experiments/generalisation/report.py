"""What generalisation gave, in sentences; what they follow from stands in tables.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from experiments.common.plan import Part, Spread
from experiments.common.run_kinds import of_kind
from experiments.common.sentences import against, listed, margin, tallied
from experiments.generalisation.metrics import (
    FEW,
    NAMES,
    STARTS,
    WORDS_ALONE,
    Run,
    best_and_words,
    counts,
    gain,
    networks,
    right,
    rivals,
    starts,
)
from experiments.generalisation.tables import language_models, picture, read_on, tables

ByTask = Mapping[str, Sequence[Run]]


def result(results: dict[str, dict[str, Any]]) -> Part:
    """Tables, pictures and sentences from the runs' dicts."""
    kinds = ("language model", "read on", "classifier")
    models, adapted, tuned = (of_kind(each, results.values()) for each in kinds)
    tasks = [task for task in NAMES if any(run["task"] == task for run in tuned)]
    by_task = {task: [run for run in tuned if run["task"] == task] for task in tasks}
    answer = (*_worth_few(by_task), *_over_words(by_task))
    return Part(
        "generalisation",
        (
            *answer,
            *_worth_everywhere(by_task),
            *_rivals_everywhere(by_task),
            *_over_words_everywhere(by_task),
        ),
        (
            *tables(by_task),
            *([language_models(models)] if models else []),
            *([read_on(adapted)] if adapted else []),
        ),
        ((picture(by_task),) if by_task else ()),
        _method(tuned, models, adapted),
        answer,
    )


# ---- with few labels ------------------------------------------------------------------------------------


def _worth_few(by_task: ByTask) -> list[str]:
    """What the most knowing start is worth to each rival, task by task."""
    told = []
    for task, runs in by_task.items():
        start, each = starts(runs)[-1], []
        for label in rivals(runs):
            both = {one: right(runs, FEW, label, one) for one in (start, "scratch")}
            if start == "scratch" or not all(spread.values for spread in both.values()):
                continue
            values = " against ".join(spread.text(".1%") for spread in both.values())
            by = margin(both, start, "scratch", ".1%", gain(runs, FEW, label, start), " points")
            each.append(f"{label} {values}, {by}")
        if each:
            what = f"{_named(task, FEW)}, right answers {STARTS[start]} against {STARTS['scratch']}"
            told.append(f"{what}: {'; '.join(each)}.")
    return told


def _over_words(by_task: ByTask) -> list[str]:
    """The best of the networks against the words alone."""
    told = []
    for task, runs in by_task.items():
        if both := best_and_words(runs, FEW):
            many = len(networks(runs, FEW))
            which = f"the best on the test of {many} networks and of what has none"
            first, second = both
            told.append(against(f"{_named(task, FEW)}, right answers of {which}", both, first, second, ".1%"))
    return told


# ---- over all tasks and numbers of labels -----------------------------------------------------------------


def _worth_everywhere(by_task: ByTask) -> list[str]:
    """How often a start that knows something is ahead of fresh weights, what knows most first."""
    told = []
    for start in [each for each in reversed(STARTS) if each != "scratch"]:
        pairs = {
            f"{_named(task, count)}, {label}": (
                right(runs, count, label, start),
                right(runs, count, label, "scratch"),
            )
            for task, runs in by_task.items()
            for count, label in product(counts(runs), rivals(runs))
        }
        told += _tallied(f"{STARTS[start]} against {STARTS['scratch']}", pairs)
    return told


def _rivals_everywhere(by_task: ByTask) -> list[str]:
    """How often one rival is ahead of the other, both with the most knowing start."""
    names = list(dict.fromkeys(label for runs in by_task.values() for label in rivals(runs)))
    if len(names) != 2:
        return []
    start = max((starts(runs)[-1] for runs in by_task.values()), key=list(STARTS).index)
    one, other = names
    pairs = {
        _named(task, count): (right(runs, count, one, start), right(runs, count, other, start))
        for task, runs in by_task.items()
        for count in counts(runs)
    }
    return _tallied(f"of {one} against {other}, both {STARTS[start]}", pairs)


def _over_words_everywhere(by_task: ByTask) -> list[str]:
    """How often the best of the networks is ahead of the words alone."""
    pairs = {
        _named(task, count): (first, words)
        for task, runs in by_task.items()
        for count in counts(runs)
        for first, words in [best_and_words(runs, count).values() or (Spread(()), Spread(()))]
    }
    return _tallied(f"of the best network on the test against {WORDS_ALONE.lower()}", pairs)


def _tallied(what: str, pairs: Mapping[str, tuple[Spread, Spread]]) -> list[str]:
    known = {name: pair for name, pair in pairs.items() if all(spread.values for spread in pair)}
    return (
        [tallied(f"Right answers over all tasks and numbers of labels, {what}", known, ".1%")]
        if known
        else []
    )


def _named(task: str, labels: int) -> str:
    return f"{NAMES[task]} with {labels:,} labels"


# ---- how it was measured ----------------------------------------------------------------------------------


def _method(tuned: Sequence[Run], models: Sequence[Run], read_on: Sequence[Run]) -> tuple[str, ...]:
    told = [
        "A language model learns from general text: speeches, a novel, a manual. A classifier with its tokenizer and "
        "layers, and a last layer for the classes, is then trained on the labels, once with the language model's "
        "weights and once with fresh ones, for the same processor time. The last weights are taken, and the test is "
        "seen once. On weights that know something the new last layer learns at ten times their rate.",
    ]
    if models:
        told.append(
            "The networks have "
            + listed([f"{run['parameters']:,} parameters ({run['label']})" for run in models])
            + " as language models."
        )
    if read_on:
        told.append(
            "Read on: before the labels, the language model has learned from all training texts of the task without "
            "their labels (Howard and Ruder 2018), which those from scratch have not seen. The time of general "
            "training and of reading on (in the tables of the language models) comes on top of the labels' time."
        )
    if tuned:
        seeds = len({run["seed"] for run in tuned})
        told.append(
            f"{seeds} {'seed draws' if seeds == 1 else 'seeds draw'} other labels and another order, and from "
            "scratch other weights. There is one language model of each rival: how far another one would lie from "
            "it was not measured."
        )
        told.append(
            f"Of a text the first {max(run['longest'] for run in tuned if 'longest' in run):,} tokens are read."
        )
    if any(run["label"] == WORDS_ALONE for run in tuned):
        told.append(
            f"{WORDS_ALONE}: logistic regression on the TF-IDF of words and pairs of words, from the same labels, "
            "without a search for its settings."
        )
    return tuple(told)
