"""What accuracy gave, in tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.accuracy.metrics import (
    NAMES,
    WORDS,
    Runs,
    budget,
    classes,
    dropout,
    machines,
    of_length,
    on_test,
    seeds,
    shared_nothing,
    spreads,
)
from experiments.accuracy.tasks import Contest
from experiments.common.curves import line, times
from experiments.common.plan import Cell, Line, Panel, Picture, Spread, Table


def tables(task: str, contest: Contest, kind: str, runs: Runs) -> list[Table]:
    """The test as a whole, and by length."""
    return [_whole(task, contest, kind, runs), _lengths(task, contest, kind, runs)]


def _whole(task: str, contest: Contest, kind: str, runs: Runs) -> Table:
    every = [run for some in runs.values() for run in some]
    names = [name for name in WORDS if any(name in on_test(run) for run in every)]
    clean = any(shared_nothing(run) for run in every)
    columns = ["rival", "parameters", "rate", "updates", "epochs", "CPU minutes", "updates a second", *names]
    forms = ["", ",d", "g", ",.0f", ".1f", ".1f", ".1f", *(WORDS[name][1] for name in names)]
    if clean:
        columns.append(f"{contest.score}, nothing shared")
        forms.append(WORDS[contest.score][1])
    rows = []
    for label, some in runs.items():
        only = {label: some}
        row = [
            label,
            some[0]["parameters"],
            some[0]["rate"],
            Spread((sum(run["updates"] for run in some) / len(some),)),
            Spread((sum(run["epochs"] for run in some) / len(some),)),
            Spread(tuple(run["CPU seconds"] / 60 for run in some)),
            Spread(tuple(run["updates"] / run["CPU seconds"] for run in some)),
            *(spreads(only, name)[label] for name in names),
        ]
        rows.append((*row, spreads(only, contest.score, shared_nothing)[label]) if clean else tuple(row))
    means = "Mean over the seeds, the lowest and the highest in brackets."
    note = "One seed." if seeds(runs) == "one seed" else means
    note += f" Trained with dropout {dropout(runs)}, on {machines(runs)}."
    if clean:
        note += (
            " Nothing shared: the test sources that have no eight words in a row with any training source."
        )
    return Table(f"{NAMES[task]} after {budget(kind, runs)}", tuple(columns), tuple(rows), tuple(forms), note)


def _lengths(task: str, contest: Contest, kind: str, runs: Runs) -> Table:
    words, form = WORDS[contest.score]
    places = range(len(contest.lengths))
    rows: list[tuple[Cell, ...]] = [
        (label, *(spreads({label: some}, contest.score, of_length(number))[label] for number in places))
        for label, some in runs.items()
    ]
    [first, *_] = runs.values()
    counts = [of_length(number)(first[0])["sources"] for number in places]
    named = (
        f"{name} {contest.unit} ({count:,})" for name, count in zip(classes(contest), counts, strict=True)
    )
    return Table(
        f"{NAMES[task]} by length: {words} after {budget(kind, runs)}",
        ("rival", *named),
        tuple(rows),
        ("", *[form] * len(places)),
        "In brackets: sources in the test.",
    )


def picture(task: str, contest: Contest, kinds: Mapping[str, Runs]) -> Picture:
    """Over time, and by length: the short runs and the long ones."""
    words, _ = WORDS[contest.score]
    told = {kind: runs for kind, runs in kinds.items() if runs}
    panels = [_over_time(contest, kind, runs) for kind, runs in told.items()]
    panels += [_by_length(contest, kind, runs) for kind, runs in told.items()]
    caption = (
        f"{NAMES[task]}: {words} over processor time of training on one thread, and by the length of the source; "
        f"{'more' if contest.higher else 'less'} is better. Bands go from the lowest to the highest seed"
    )
    if "long" in told:
        caption += "; of one seed, by length, over the ± of its table"
    return Picture(f"accuracy-{task}", NAMES[task], tuple(panels), f"{caption}.")


def _over_time(contest: Contest, kind: str, runs: Runs) -> Panel:
    words, form = WORDS[contest.score]
    lines = tuple(line(some, contest.score) for some in runs.values() if times(some))
    return Panel(_titled(kind, runs), "CPU-minutes", f"{words}, held-out", lines, percent=form.endswith("%"))


def _by_length(contest: Contest, kind: str, runs: Runs) -> Panel:
    words, form = WORDS[contest.score]
    places = range(len(contest.lengths))
    lines = tuple(
        Line.over_seeds(
            label,
            some[0]["rival"],
            places,
            [spreads({label: some}, contest.score, of_length(number))[label] for number in places],
        )
        for label, some in runs.items()
    )
    return Panel(
        f"by length, {_titled(kind, runs)}",
        f"{contest.unit} of the source",
        f"{words}, test",
        lines,
        tuple(name.replace(" to ", "–") for name in classes(contest)),
        percent=form.endswith("%"),
    )


def _titled(kind: str, runs: Runs) -> str:
    return f"{seeds(runs)}{', the long run' if kind == 'long' else ''}"
