"""What scope gave: how right the answers are, by records and distance; the steps between; the gradient that arrives.

Everything here is read off the runs' own numbers, so it holds for runs of any size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from limelight.compare.plan import Grid, Line, Panel, Part, Picture, Spread, Table
from limelight.compare.recall import VALUES
from limelight.compare.sentences import against, best, listed

CHANCE = 1 / VALUES
SURE = 0.9
"""From this share of right answers on a rival counts as able to answer."""
RISING = 0.02
"""A training whose last third gave more than this share of right answers was not finished."""

Runs = Mapping[str, Sequence[Mapping[str, Any]]]
"""The runs of each rival, by its label."""


def result(results: dict[str, dict[str, Any]]) -> Part:
    """Tables, pictures and sentences from the runs' dicts."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for run in results.values():
        runs.setdefault(run["label"], []).append(run)
    regions = _regions(runs)
    return Part(
        "scope",
        (*_compared(runs, regions), _reaches(runs), _between(runs), _arriving(runs), *_spent(runs)),
        (_means(runs), _by_region(runs, regions), _relations(runs), _runs(runs)),
        (_over_distance(runs), _grids(runs), _gradients(runs), _learning(runs)),
        _method(runs),
    )


# ---------------------------------------------------------------------------------------- what is read off the runs


def _records(runs: Runs) -> list[int]:
    return sorted({place["records"] for some in runs.values() for run in some for place in run["grid"]})


def _distances(runs: Runs) -> list[int]:
    return sorted({place["distance"] for some in runs.values() for run in some for place in run["grid"]})


def _longest(runs: Runs) -> int:
    return max(run["longest"] for some in runs.values() for run in some)


def _right(some: Sequence[Mapping[str, Any]], wanted: Callable[[int, int], bool]) -> Spread:
    """The mean share of right answers over the places (records, distance) that are wanted, by seed."""
    shares = []
    for run in some:
        values = [p["accuracy"] for p in run["grid"] if wanted(p["records"], p["distance"])]
        if values:
            shares.append(math.fsum(values) / len(values))
    return Spread(tuple(shares))


def _at(some: Sequence[Mapping[str, Any]], records: int, distance: int) -> Spread:
    return _right(some, lambda r, d: (r, d) == (records, distance))


def _regions(runs: Runs) -> dict[str, Callable[[int, int], bool]]:
    """Few records and many, as near as in training and farther: words, and which places of the grid they mean."""
    records, distances, longest = _records(runs), _distances(runs), _longest(runs)
    middle = records[len(records) // 2]
    few, many = [r for r in records if r < middle], [r for r in records if r > middle]
    near, far = [d for d in distances if d <= longest], [d for d in distances if d > longest]
    regions: dict[str, Callable[[int, int], bool]] = {}
    for place, where in (("within", near), ("beyond", far)):
        for some in (few, many):
            if some and where:
                words = f"{_span(some)} {'record' if some == [1] else 'records'}, {_span(where)} tokens apart"
                regions[f"{words}, {place} the lengths of training"] = _wanted(some, where)
    return regions


def _wanted(records: Sequence[int], distances: Sequence[int]) -> Callable[[int, int], bool]:
    return lambda r, d: r in records and d in distances


def _span(values: Sequence[int]) -> str:
    return f"{values[0]:,}" if len(values) == 1 else f"{values[0]:,} to {values[-1]:,}"


def _share(some: Sequence[Mapping[str, Any]], when: str, distance: int) -> float:
    """The geometric mean over the seeds of the gradient that arrives; nan where none was measured."""
    logs = [
        math.log10(max(place["share"], 1e-300))
        for run in some
        for place in run["gradients"][when]
        if place["distance"] == distance
    ]
    return 10 ** (math.fsum(logs) / len(logs)) if logs else math.nan


def _steps(run: Mapping[str, Any], distance: int) -> int:
    """Steps along the sequence that what is known of one token needs to reach the other, in every layer."""
    return 1 if run["shape"]["architecture"] == "transformer" else distance


def _reach(some: Sequence[Mapping[str, Any]], records: int, distances: Sequence[int]) -> int:
    """The farthest distance up to which the answers are right as often as `SURE`; 0 for none."""
    reached = 0
    for distance in distances:
        if not _at(some, records, distance).mean >= SURE:
            break
        reached = distance
    return reached


# -------------------------------------------------------------------------------------------------------- sentences


def _compared(runs: Runs, regions: Mapping[str, Callable[[int, int], bool]]) -> list[str]:
    """Attention against the best of the others, region by region."""
    [attention] = [label for label, some in runs.items() if some[0]["rival"] == "attention"] or [None]
    sentences = []
    for words, wanted in regions.items():
        shares = {label: _right(some, wanted) for label, some in runs.items()}
        others = {label: share for label, share in shares.items() if label != attention}
        if attention is not None and others:
            sentences.append(against(f"Right answers with {words}", shares, attention, best(others), ".0%"))
    return sentences


def _reaches(runs: Runs) -> str:
    records, distances = _records(runs), _distances(runs)
    parts = []
    for count in (records[0], records[-1]):
        each = []
        for label, some in runs.items():
            reach = _reach(some, count, distances)
            each.append(f"{label} up to {reach:,} tokens" if reach else f"{label} at no distance")
        parts.append(f"with {count} {'record' if count == 1 else 'records'} {listed(each)}")
    return f"At least {SURE:.0%} of the answers are right: {'; '.join(parts)}."


def _between(runs: Runs) -> str:
    far = _distances(runs)[-1]
    each = [f"{label} {_steps(some[0], far):,}" for label, some in runs.items()]
    return f"Steps along the sequence between two tokens {far:,} apart, in every layer: {listed(each)}."


def _arriving(runs: Runs) -> str:
    longest = max(d for d in _distances(runs) if d <= _longest(runs))
    each = [f"{label} {_share(some, 'trained', longest):.0e}" for label, some in runs.items()]
    return (
        f"Of the gradient at the question, so much arrives at a record {longest:,} tokens before, in the trained "
        f"networks: {listed(each)}."
    )


def _spent(runs: Runs) -> list[str]:
    each = []
    for label, some in runs.items():
        seconds = Spread(tuple(run["CPU seconds"] for run in some))
        tokens = Spread(tuple(run["tokens"] / 1e6 for run in some))
        each.append(f"{label} {seconds.mean:,.0f} CPU-seconds for {tokens.mean:.2g} million questions")
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


# ----------------------------------------------------------------------------------------------------------- tables


def _means(runs: Runs) -> Table:
    distances = _distances(runs)
    rows = tuple(
        (records, label, *(_at(some, records, distance).mean for distance in distances))
        for records in _records(runs)
        for label, some in runs.items()
    )
    return Table(
        "Right answers by records and distance in tokens",
        ("records", "", *(f"{distance:,}" for distance in distances)),
        rows,
        ("d", "", *([".0%"] * len(distances))),
        f"Means over the seeds; a guess is right in {CHANCE:.0%}. Training had sequences of up to "
        f"{_longest(runs):,} tokens.",
    )


def _by_region(runs: Runs, regions: Mapping[str, Callable[[int, int], bool]]) -> Table:
    rows = tuple(
        (words, *(_right(some, wanted) for some in runs.values())) for words, wanted in regions.items()
    )
    note = "Mean over the places of the grid; in brackets the lowest and the highest of the seeds."
    return Table("Right answers by region", ("", *runs), rows, ("", *([".0%"] * len(runs))), note)


def _relations(runs: Runs) -> Table:
    distances = _distances(runs)
    rows: list[tuple[Any, ...]] = [
        ("steps between", label, *(f"{_steps(some[0], distance):,}" for distance in distances))
        for label, some in runs.items()
    ]
    for when in ("fresh", "trained"):
        rows += [
            (f"gradient, {when}", label, *(f"{_share(some, when, distance):.0e}" for distance in distances))
            for label, some in runs.items()
        ]
    return Table(
        "Steps between two tokens, and the gradient that arrives, by distance",
        ("", "", *(f"{distance:,}" for distance in distances)),
        tuple(rows),
        ("",) * (2 + len(distances)),
        "The gradient of the right answer's log-probability at the record's embedding, as a share of that at the "
        "question's; geometric mean over the seeds, before training and after it.",
    )


def _runs(runs: Runs) -> Table:
    rows = tuple(
        (
            label,
            ", ".join(f"{word.replace('_', ' ')} {value}" for word, value in some[0]["choice"].items()),
            some[0]["parameters"],
            Spread(tuple(run["updates"] for run in some)),
            Spread(tuple(run["CPU seconds"] for run in some)),
            len(some),
        )
        for label, some in runs.items()
    )
    columns = ("", "settings", "parameters", "updates", "CPU-seconds", "seeds")
    return Table("The runs", columns, rows, ("", "", ",d", ",.0f", ".0f", "d"))


# --------------------------------------------------------------------------------------------------------- pictures


def _over_distance(runs: Runs) -> Picture:
    records, distances = _records(runs), _distances(runs)
    chosen = sorted({records[0], records[len(records) // 2], records[-1]})
    panels = tuple(
        Panel(
            f"{count} {'record' if count == 1 else 'records'}",
            "distance in tokens",
            "right answers",
            tuple(
                Line.over_seeds(label, some[0]["rival"], distances, [_at(some, count, d) for d in distances])
                for label, some in runs.items()
            ),
            x_log=True,
            y_range=(0.0, 1.0),
            marks=(("chance", CHANCE),),
            bounds=((f"trained to {_longest(runs):,}", _longest(runs)),),
            percent=True,
        )
        for count in chosen
    )
    caption = "Right answers by distance, for few and many records. Lines are means, bands all seeds."
    return Picture("scope", "How far can two tokens be related?", panels, caption)


def _grids(runs: Runs) -> Picture:
    records, distances = _records(runs), _distances(runs)
    panels = tuple(
        Grid(
            label,
            "distance in tokens",
            "records",
            tuple(f"{distance:,}" for distance in distances),
            tuple(str(count) for count in records),
            tuple(tuple(_at(some, count, d).mean for d in distances) for count in records),
        )
        for label, some in runs.items()
    )
    return Picture("scope-grid", "Right answers by records and distance", panels, "Means over the seeds.")


def _gradients(runs: Runs) -> Picture:
    distances = _distances(runs)
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
                    tuple(_share(some, when, distance) for distance in distances),
                )
                for label, some in runs.items()
            ),
            x_log=True,
            y_log=True,
            y_range=(1e-30, 1e2),
        )
        for when in ("fresh", "trained")
    )
    caption = (
        "The gradient that arrives at a record, relative to that at the question; what lies below is cut off."
    )
    return Picture("scope-gradient", "How much of the gradient arrives?", panels, caption)


def _learning(runs: Runs) -> Picture:
    lines = []
    for label, some in runs.items():
        for number, run in enumerate(some):
            x = tuple(place["CPU seconds"] for place in run["curve"])
            y = tuple(place["accuracy"] for place in run["curve"])
            lines.append(Line("" if number else label, run["rival"], x, y))
    panel = Panel(
        "4 and 12 records, 16 to 256 tokens apart",
        "CPU-seconds",
        "right answers",
        tuple(lines),
        y_range=(0.0, 1.0),
        marks=(("chance", CHANCE),),
        percent=True,
    )
    return Picture("scope-learning", "What the time gave", (panel,), "Every training by itself.")


def _method(runs: Runs) -> tuple[str, ...]:
    counts = [some[0]["parameters"] for some in runs.values()]
    asked = [place["asked"] for some in runs.values() for run in some for place in run["grid"]]
    return (
        f"Associative recall: records of a key and a value lie in noise, and the last token asks for one key's value, "
        f"of {VALUES}. Training asks in all places, on sequences of up to {_longest(runs):,} tokens with up to "
        f"{_records(runs)[-1]} records; no sequence comes twice.",
        f"Networks of {min(counts):,} to {max(counts):,} parameters, {max(counts) / min(counts) - 1:.1%} apart, with "
        "the same embeddings, data, loop and processor time.",
        f"Every place of the grid is asked {min(asked)} to {max(asked)} times a seed, with questions of its own.",
    )
