"""What scope gave, in tables and pictures."""

from __future__ import annotations

from experiments.common.plan import Cell, Grid, Line, Panel, Picture, Spread, Table
from experiments.common.search import worded
from experiments.common.sentences import listed, significant
from experiments.scope.metrics import (
    CHANCE,
    Runs,
    all_distances,
    all_records,
    arriving,
    longest_trained,
    regions_of,
    right,
    right_at,
    steps_between,
)

STATES = ("fresh", "trained")
FAINTEST = 1e-30
"""Shares of the gradient below this one are cut off in the picture."""


def tables(runs: Runs) -> tuple[Table, ...]:
    """From the whole grid to the single runs."""
    return _means(runs), _by_region(runs), _relations(runs), _runs(runs)


def pictures(runs: Runs) -> tuple[Picture, ...]:
    """Over the distance, as a grid, the gradient, and the time."""
    return _over_distance(runs), _grids(runs), _gradients(runs), _learning(runs)


def _means(runs: Runs) -> Table:
    distances = all_distances(runs)
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (records, label, *(right_at(some, records, distance).mean for distance in distances))
        for records in all_records(runs)
        for label, some in runs.items()
    )
    return Table(
        "Right answers by records and distance in tokens",
        ("records", "", *(f"{distance:,}" for distance in distances)),
        rows,
        ("d", "", *([".0%"] * len(distances))),
        f"Means over the seeds; a guess is right in {CHANCE:.0%}. Training had sequences of up to "
        f"{longest_trained(runs):,} tokens.",
    )


def _by_region(runs: Runs) -> Table:
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (words, *(right(some, wanted) for some in runs.values()))
        for words, wanted in regions_of(runs).items()
    )
    note = "Mean over the places of the grid; in brackets the lowest and the highest of the seeds."
    return Table("Right answers by region", ("", *runs), rows, ("", *([".0%"] * len(runs))), note)


def _relations(runs: Runs) -> Table:
    distances = all_distances(runs)
    rows: list[tuple[Cell, ...]] = [
        ("steps between", label, *(f"{steps_between(some[0], distance):,}" for distance in distances))
        for label, some in runs.items()
    ]
    for when in STATES:
        rows += [
            (
                f"gradient, {when}",
                label,
                *(significant(arriving(some, when, distance), 1) for distance in distances),
            )
            for label, some in runs.items()
        ]
    return Table(
        "Steps between two tokens, and the gradient that arrives, by distance",
        ("", "", *(f"{distance:,}" for distance in distances)),
        tuple(rows),
        ("", "", *(["s"] * len(distances))),
        "The gradient of the right answer's log-probability at the record's embedding, as a share of that at the "
        "question's; geometric mean over the seeds, before training and after it.",
    )


def _runs(runs: Runs) -> Table:
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            label,
            worded(some[0]["choice"]),
            some[0]["parameters"],
            Spread(tuple(run["updates"] for run in some)),
            Spread(tuple(run["CPU seconds"] for run in some)),
            len(some),
        )
        for label, some in runs.items()
    )
    columns = ("", "settings", "parameters", "updates", "CPU-seconds", "seeds")
    return Table("The runs", columns, rows, ("", "", ",d", ",.0f", ".0f", "d"))


def _over_distance(runs: Runs) -> Picture:
    records, distances = all_records(runs), all_distances(runs)
    chosen = sorted({records[0], records[len(records) // 2], records[-1]})
    panels = tuple(
        Panel(
            f"{count} {'record' if count == 1 else 'records'}",
            "distance in tokens",
            "right answers",
            tuple(
                Line.over_seeds(
                    label, some[0]["rival"], distances, [right_at(some, count, d) for d in distances]
                )
                for label, some in runs.items()
            ),
            x_log=True,
            y_range=(0.0, 1.0),
            marks=(("chance", CHANCE),),
            bounds=((f"trained to {longest_trained(runs):,}", longest_trained(runs)),),
            percent=True,
        )
        for count in chosen
    )
    caption = "Right answers by distance, for few and many records. Lines are means, bands all seeds."
    return Picture("scope", "How far can two tokens be related?", panels, caption)


def _grids(runs: Runs) -> Picture:
    records, distances = all_records(runs), all_distances(runs)
    panels = tuple(
        Grid(
            label,
            "distance in tokens",
            "records",
            tuple(f"{distance:,}" for distance in distances),
            tuple(str(count) for count in records),
            tuple(tuple(right_at(some, count, d).mean for d in distances) for count in records),
        )
        for label, some in runs.items()
    )
    return Picture("scope-grid", "Right answers by records and distance", panels, "Means over the seeds.")


def _gradients(runs: Runs) -> Picture:
    distances = all_distances(runs)
    shares = [arriving(some, when, d) for some in runs.values() for when in STATES for d in distances]
    panels = tuple(
        Panel(
            f"{when} networks",
            "distance in tokens",
            "share of the question's gradient",
            tuple(
                Line(
                    label,
                    some[0]["rival"],
                    tuple(distances),
                    tuple(arriving(some, when, distance) for distance in distances),
                )
                for label, some in runs.items()
            ),
            x_log=True,
            y_log=True,
            y_range=(max(min(shares), FAINTEST) / 3, 3 * max(shares)),
        )
        for when in STATES
    )
    caption = "The gradient that arrives at a record, relative to that at the question."
    return Picture("scope-gradient", "How much of the gradient arrives?", panels, caption)


def _learning(runs: Runs) -> Picture:
    lines = []
    for label, some in runs.items():
        for number, run in enumerate(some):
            x = tuple(place["CPU seconds"] for place in run["curve"])
            y = tuple(place["accuracy"] for place in run["curve"])
            lines.append(Line("" if number else label, run["rival"], x, y))
    judged = next(iter(runs.values()))[0]["judged"]
    records, distances = judged["records"], judged["distances"]
    panel = Panel(
        f"{listed([str(count) for count in records])} records, {distances[0]} to {distances[-1]} tokens apart",
        "CPU-seconds",
        "right answers",
        tuple(lines),
        y_range=(0.0, 1.0),
        marks=(("chance", CHANCE),),
        percent=True,
    )
    return Picture("scope-learning", "What the time gave", (panel,), "Every training by itself.")
