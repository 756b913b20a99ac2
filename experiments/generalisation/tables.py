"""What generalisation gave, in tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.common.plan import Cell, Line, Panel, Picture, Table
from experiments.common.sentences import margin
from experiments.generalisation.metrics import (
    NAMES,
    STARTS,
    WORDS_ALONE,
    Run,
    counts,
    everyone,
    gain,
    right,
    rivals,
    starts,
)

DRAWN = {"scratch": "--", "general": ":", "adapted": "-"}
"""How a start's line is drawn."""
MEASURES = {"accuracy": ("right", ".1%"), "macro F1": ("macro F1", ".3f")}
"""What a measure is called above its column, and how its values are written."""


def tables(by_task: Mapping[str, Sequence[Run]]) -> list[Table]:
    """What each beginning is worth, what knows most first; then all that was measured, task by task."""
    known = {start for runs in by_task.values() for start in starts(runs)} - {"scratch"}
    worth = [_worth(by_task, start) for start in reversed(STARTS) if start in known]
    return [*worth, *(_task(task, runs) for task, runs in by_task.items())]


def _worth(by_task: Mapping[str, Sequence[Run]], start: str) -> Table:
    """One beginning against fresh weights, and beside them the words alone."""
    rows: list[tuple[Cell, ...]] = []
    for task, runs in by_task.items():
        for count in counts(runs):
            words = right(runs, count, WORDS_ALONE)
            for label in rivals(runs):
                both = {each: right(runs, count, label, each) for each in ("scratch", start)}
                if all(spread.values for spread in both.values()):
                    ahead = margin(both, start, "scratch", ".1%", gain(runs, count, label, start))
                    rows.append((NAMES[task], f"{count:,}", label, *both.values(), ahead, words))
    columns = ("task", "labels", "rival", STARTS["scratch"], STARTS[start], "margin, points")
    return Table(
        f"Right answers {STARTS[start]} and {STARTS['scratch']}",
        (*columns, WORDS_ALONE.lower()),
        tuple(rows),
        ("", "", "", ".1%", ".1%", "", ".1%"),
        "Margins are those of the means; in brackets the lowest and the highest of a single seed, which gives both "
        "the same labels. Ahead or behind in every seed: each seed of the one is better than each of the other.",
    )


def _task(task: str, runs: Sequence[Run]) -> Table:
    """All rivals from all beginnings, and what has no network."""
    rows: list[tuple[Cell, ...]] = [
        (
            label,
            "no network" if label == WORDS_ALONE else words,
            *(right(runs, count, label, start, measure) for count in counts(runs) for measure in MEASURES),
        )
        for label in everyone(runs)
        for start, words in STARTS.items()
        if any((run["label"], run["start"]) == (label, start) for run in runs)
    ]
    columns = [f"{name}, {count:,} labels" for count in counts(runs) for name, _ in MEASURES.values()]
    forms = [form for _ in counts(runs) for _, form in MEASURES.values()]
    often, test = runs[0]["most frequent"], runs[0]["test"]
    return Table(
        NAMES[task],
        ("rival", "start", *columns),
        tuple(rows),
        ("", "", *forms),
        f"On {test:,} texts of the test; who always names the most frequent class is right {often:.1%} of the time.",
    )


def language_models(models: Sequence[Run]) -> Table:
    """What the general training of each rival took, and what it gave."""
    rows = [
        (run["label"], run["parameters"], run["updates"], run["CPU seconds"] / 60, run["perplexity"])
        for run in models
    ]
    columns = ("rival", "parameters", "updates", "CPU minutes", "perplexity a token")
    return Table("The language models", columns, tuple(rows), ("", ",d", ",d", ".1f", ".1f"))


def read_on(models: Sequence[Run]) -> Table:
    """The same of their reading on in each task's texts."""
    rows = [
        (
            run["label"],
            NAMES[run["task"]],
            run["updates"],
            run["CPU seconds"] / 60,
            run["before"],
            run["after"],
        )
        for run in models
    ]
    columns = ("rival", "task", "updates", "CPU minutes", "perplexity before", "after")
    return Table(
        "The language models after reading on in the task's texts",
        columns,
        tuple(rows),
        ("", "", ",d", ".1f", ".1f", ".1f"),
    )


def picture(by_task: Mapping[str, Sequence[Run]]) -> Picture:
    """A pair of axes for each rival and task, the words alone in each of them."""
    panels = tuple(_panel(task, runs, label) for task, runs in by_task.items() for label in rivals(runs))
    caption = (
        "Right answers by the number of labels and by what the training begins with: fresh weights, the language "
        "model's, or its own after it has read on in the task's texts; bands from the lowest to the highest seed."
    )
    return Picture("generalisation", "What is general training worth?", panels, caption)


def _panel(task: str, runs: Sequence[Run], label: str) -> Panel:
    lines = [_line(runs, label, start, STARTS[start], DRAWN[start]) for start in starts(runs)]
    lines.append(_line(runs, WORDS_ALONE, "scratch", WORDS_ALONE.lower(), "-"))
    return Panel(
        f"{NAMES[task]}, {label}",
        "labels",
        f"{NAMES[task].lower()}, right answers",  # each task with a scale of its own
        tuple(line for line in lines if line.x),
        x_log=True,
        marks=(("most frequent class", float(runs[0]["most frequent"])),),
        percent=True,
    )


def _line(runs: Sequence[Run], label: str, start: str, name: str, style: str) -> Line:
    spreads = {count: right(runs, count, label, start) for count in counts(runs)}
    there = [count for count, spread in spreads.items() if spread.values]
    rival = next((run["rival"] for run in runs if run["label"] == label), "")
    return Line.over_seeds(name, rival, there, [spreads[count] for count in there], style)
