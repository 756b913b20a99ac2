"""What generalisation gave: tables, pictures and sentences, from the runs' dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limelight.compare.plan import Line, Panel, Part, Picture, Spread, Table
from limelight.compare.sentences import against, best, listed

Run = Mapping[str, Any]
STARTS = {
    "scratch": "from scratch",
    "general": "from the language model",
    "adapted": "from the language model read on",
}
WORDS_ALONE = "Words alone"
"""What stands beside the rivals without a network (words_alone.py)."""
DRAWN = {"scratch": "--", "general": ":", "adapted": "-"}
"""How a start's line is drawn."""
SHORT = {"scratch": "scratch", "general": "language model", "adapted": "read on"}
"""What a start is called beside its line."""
NAMES = {"spam": "Spam", "help-topics": "Topics"}
FEW = 1_000
"""The number of labels for which the part's question is answered in short."""


def result(results: dict[str, dict[str, Any]]) -> Part:
    """Tables, pictures and sentences from the runs' dicts."""
    models = [run for run in results.values() if "perplexity" in run]
    read_on = [run for run in results.values() if "before" in run]
    tuned = [run for run in results.values() if "accuracy" in run]
    tasks = [task for task in NAMES if any(run["task"] == task for run in tuned)]
    by_task = {task: [run for run in tuned if run["task"] == task] for task in tasks}
    return Part(
        "generalisation",
        tuple(sentence for task, runs in by_task.items() for sentence in _sentences(task, runs)),
        (
            *(_table(task, runs) for task, runs in by_task.items()),
            *([_models(models)] if models else []),
            *([_read_on(read_on)] if read_on else []),
        ),
        ((_picture(by_task),) if by_task else ()),
        _method(tuned, models, read_on),
        tuple(sentence for task, runs in by_task.items() for sentence in _answer(task, runs)),
    )


def _right(runs: Sequence[Run], labels: int, label: str, start: str, measure: str = "accuracy") -> Spread:
    return Spread(
        tuple(
            run[measure]
            for run in runs
            if (run["labels"], run["label"], run["start"]) == (labels, label, start)
        )
    )


def _sentences(task: str, runs: Sequence[Run]) -> list[str]:
    """What a start that knows something is worth, and which rival is ahead, label by label."""
    told = []
    best_start = _starts(runs)[-1]
    for count in _counts(runs):
        for label in _labels(runs):
            told += _gains(task, runs, count, label)
        measure = {label: _right(runs, count, label, best_start) for label in _labels(runs)}
        known = {label: spread for label, spread in measure.items() if spread.values}
        if len(known) == 2:
            first, second = known
            what = f"{NAMES[task]} with {count:,} labels, {STARTS[best_start]}, right answers"
            told.append(against(what, known, first, second, ".1%"))
        told += _over_words(task, runs, count)
    return told


def _answer(task: str, runs: Sequence[Run]) -> list[str]:
    """With few labels: what the most knowing start is worth to each rival, and the best network against none."""
    gains = [sentence for label in _labels(runs) for sentence in _gains(task, runs, FEW, label)[:1]]
    return gains + _over_words(task, runs, FEW)


def _over_words(task: str, runs: Sequence[Run], count: int) -> list[str]:
    """The best of the networks against the words alone."""
    words = _right(runs, count, WORDS_ALONE, "scratch")
    networks = {
        f"{label}, {STARTS[start]},": spread
        for label in _labels(runs)
        for start in _starts(runs)
        if (spread := _right(runs, count, label, start)).values
    }
    if not words.values or not networks:
        return []
    first = best(networks)
    what = f"{NAMES[task]} with {count:,} labels, the best network and what has none, right answers"
    return [against(what, {first: networks[first], WORDS_ALONE: words}, first, WORDS_ALONE, ".1%")]


def _gains(task: str, runs: Sequence[Run], count: int, label: str) -> list[str]:
    """One rival with so many labels: each start that knows something against none, what knows most first."""
    measure = {start: _right(runs, count, label, start) for start in STARTS}
    known = {STARTS[start]: spread for start, spread in measure.items() if spread.values}
    if not measure["scratch"].values:
        return []
    what = f"{NAMES[task]} with {count:,} labels, {label}, right answers"
    scratch, *starts = known
    return [against(what, known, start, scratch, ".1%") for start in reversed(starts)]


def _starts(runs: Sequence[Run]) -> list[str]:
    return [start for start in STARTS if any(run["start"] == start for run in runs)]


def _labels(runs: Sequence[Run]) -> list[str]:
    """The rivals; what has no network is none."""
    return list(dict.fromkeys(run["label"] for run in runs if run["label"] != WORDS_ALONE))


def _counts(runs: Sequence[Run]) -> list[int]:
    return sorted({run["labels"] for run in runs})


def _table(task: str, runs: Sequence[Run]) -> Table:
    counts = _counts(runs)
    rows = [
        (
            label,
            "no network" if label == WORDS_ALONE else words,
            *(_right(runs, count, label, start, measure) for count in counts for measure in MEASURES),
        )
        for label in dict.fromkeys(run["label"] for run in runs)
        for start, words in STARTS.items()
        if any((run["label"], run["start"]) == (label, start) for run in runs)
    ]
    columns = [f"{name}, {count:,} labels" for count in counts for name in ("right", "macro F1")]
    often, test = runs[0]["most frequent"], runs[0]["test"]
    return Table(
        NAMES[task],
        ("rival", "start", *columns),
        tuple(rows),
        ("", "", *[".1%", ".3f"] * len(counts)),
        f"On {test:,} texts of the test; who always names the most frequent class is right {often:.1%} of the time.",
    )


MEASURES = ("accuracy", "macro F1")


def _models(models: Sequence[Run]) -> Table:
    rows = [
        (run["label"], run["parameters"], run["updates"], run["CPU seconds"] / 60, run["perplexity"])
        for run in models
    ]
    columns = ("rival", "parameters", "updates", "CPU minutes", "perplexity a token")
    return Table("The language models", columns, tuple(rows), ("", ",d", ",d", ".1f", ".1f"))


def _read_on(runs: Sequence[Run]) -> Table:
    rows = [
        (
            run["label"],
            NAMES[run["task"]],
            run["updates"],
            run["CPU seconds"] / 60,
            run["before"],
            run["after"],
        )
        for run in runs
    ]
    columns = ("rival", "task", "updates", "CPU minutes", "perplexity before", "after")
    return Table(
        "The language models after reading on in the task's texts",
        columns,
        tuple(rows),
        ("", "", ",d", ".1f", ".1f", ".1f"),
    )


def _picture(by_task: Mapping[str, Sequence[Run]]) -> Picture:
    panels = []
    for task, runs in by_task.items():
        counts = _counts(runs)
        lines = []
        for label in dict.fromkeys(run["label"] for run in runs):
            rival = next(run["rival"] for run in runs if run["label"] == label)
            for start, words in SHORT.items():
                there = [count for count in counts if _right(runs, count, label, start).values]
                if not there:
                    continue
                spreads = [_right(runs, count, label, start) for count in there]
                name = label if label == WORDS_ALONE else f"{label}, {words}"
                lines.append(Line.over_seeds(name, rival, there, spreads, DRAWN[start]))
        marks = (("most frequent class", float(runs[0]["most frequent"])),)
        panels.append(
            Panel(
                NAMES[task],
                "labels",
                f"{NAMES[task].lower()}, right answers",  # each with a scale of its own
                tuple(lines),
                x_log=True,
                marks=marks,
                percent=True,
            )
        )
    caption = (
        "Right answers by the number of labels and by what the training begins with: fresh weights, the language "
        "model's, or its own after it has read on in the task's texts; bands from the lowest to the highest seed."
    )
    return Picture("generalisation", "Generalisation", tuple(panels), caption)


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
