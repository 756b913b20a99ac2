"""What accuracy gave: tables, pictures and sentences, task by task, from the runs' dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limelight.compare.contests import CONTESTS, LABELS, Contest
from limelight.compare.curves import line, over, times
from limelight.compare.plan import Cell, Line, Panel, Part, Picture, Spread, Table
from limelight.compare.sentences import against, leading, listed, ranked

Runs = dict[str, list[Mapping[str, Any]]]
"""One task's runs of one kind (short or long), by the rival's label, in the order of `LABELS`."""

NAMES = {"pronounce": "Pronunciation", "translate": "Translation"}
WORDS = {
    "word error rate": ("words with an error", ".1%", "points"),
    "phoneme error rate": ("phone errors", ".1%", "points"),
    "BLEU": ("BLEU", ".1f", "points"),
    "chrF": ("chrF", ".1f", "points"),
}
"""What a measure is called in a sentence, how its values are written, and the unit of a difference."""
HIGHER = {"BLEU", "chrF"}
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
    tables: list[Table] = []
    pictures: list[Picture] = []
    for task, contest in CONTESTS.items():
        kinds = {kind: _runs(results, task, kind) for kind in ("short", "long")}
        for kind, runs in kinds.items():
            if runs:
                sentences += _sentences(task, contest, kind, runs)
                tables += [_table(task, contest, kind, runs), _lengths(task, contest, kind, runs)]
        told = [kind for kind, runs in kinds.items() if runs]
        if told:
            short += [_order(task, contest, kind, kinds[kind]) for kind in told]
            pictures.append(_picture(task, contest, kinds))
    return Part("accuracy", tuple(sentences), tuple(tables), tuple(pictures), _method(results), tuple(short))


def _runs(results: Mapping[str, Mapping[str, Any]], task: str, kind: str) -> Runs:
    """Those of a task and kind, by label; rivals without a run are left out."""
    some = [run for run in results.values() if (run["task"], run["kind"]) == (task, kind)]
    by_label: Runs = {label: [run for run in some if run["label"] == label] for label in LABELS.values()}
    return {label: each for label, each in by_label.items() if each}


def _spreads(runs: Runs, measure: str, part: str = "test") -> dict[str, Spread]:
    return {
        label: Spread(tuple(run[part][measure] for run in some if measure in run.get(part, {})))
        for label, some in runs.items()
    }


def _budget(kind: str, runs: Runs) -> str:
    """The time that was really spent, in words."""
    spent = [run["CPU seconds"] / 60 for some in runs.values() for run in some]
    told = (
        f"{min(spent):.0f}"
        if round(min(spent)) == round(max(spent))
        else f"{min(spent):.0f} to {max(spent):.0f}"
    )
    if kind == "short":
        return f"{told} CPU-minutes"
    return f"the long run of {told} CPU-minutes"


# ---- sentences ----------------------------------------------------------------------------------------


def _sentences(task: str, contest: Contest, kind: str, runs: Runs) -> list[str]:
    found = [*_compared(task, contest, kind, runs), _by_length(task, contest, kind, runs)]
    found += _leaders(task, contest, kind, runs)
    if kind == "long":
        found += [_way(task, contest, run) for some in runs.values() for run in some]
    return found


def _compared(task: str, contest: Contest, kind: str, runs: Runs) -> list[str]:
    """Every two of the rivals on the test: what attention adds to recurrence, and what it is without."""
    words, form, unit = WORDS[contest.score]
    measure = _spreads(runs, contest.score)
    what = _asked(task, words, kind, runs)
    return [
        against(what, measure, one, other, form, unit, contest.higher)
        for one, other in PAIRS
        if one in measure and other in measure
    ]


def _order(task: str, contest: Contest, kind: str, runs: Runs) -> str:
    """All rivals on the test, the best first."""
    words, form, _ = WORDS[contest.score]
    return ranked(_asked(task, words, kind, runs), _spreads(runs, contest.score), form, contest.higher)


def _asked(task: str, words: str, kind: str, runs: Runs) -> str:
    return f"{NAMES[task]}, {words} on the test after {_budget(kind, runs)}"


def _by_length(task: str, contest: Contest, kind: str, runs: Runs) -> str:
    """Who is ahead in every class of length."""
    each = []
    form = WORDS[contest.score][1]
    for number in range(len(contest.lengths)):
        measure = _spreads(_class(runs, number), contest.score)
        known = {label: spread for label, spread in measure.items() if spread.values}
        if known:
            each.append(f"{_named(contest, number)}: {leading(known, form, contest.higher)}")
    what = f"{NAMES[task]}, the best by the length of the source after {_budget(kind, runs)}"
    return f"{what} ({_seeds(runs)}): {'; '.join(each)}."


def _leaders(task: str, contest: Contest, kind: str, runs: Runs) -> list[str]:
    """Who is ahead after parts of the time, on held-out rows; nothing where that was not followed."""
    ends = [times(some)[-1] for some in runs.values() if times(some)]
    each = []
    for share in SHARES if ends else ():
        measure = {label: over(some, share * min(ends), contest.score) for label, some in runs.items()}
        leader = leading(measure, WORDS[contest.score][1], contest.higher)
        each.append(f"after {share * min(ends) / 60:.1f} minutes {leader}")
    what = f"{NAMES[task]}, the best on held-out rows on the way of {_budget(kind, runs)}"
    return [f"{what} ({_seeds(runs)}): {'; '.join(each)}."] if each else []


def _way(task: str, contest: Contest, run: Mapping[str, Any]) -> str:
    """How a long run went: what the level part gave, how it ended, and what the falling rate gave."""
    words, form, _ = WORDS[contest.score]
    pick = max if contest.higher else min
    level = [record for record in run["curve"] if record["CPU seconds"] <= run["level seconds"]]
    reached = pick(level, key=lambda record: record[contest.score]) if level else None
    end = pick(record[contest.score] for record in run["curve"])
    until = f"{run['level seconds'] / 60:.0f} of {run['CPU seconds'] / 60:.0f} CPU-minutes"
    why = "it then had brought nothing better for a while" if run["settled"] else "its time was up"
    best_so_far = (
        f"; its best {words} on held-out rows until then, {reached[contest.score]:{form}}, came after "
        f"{reached['CPU seconds'] / 60:.0f}"
        if reached
        else ""
    )
    return (
        f"{NAMES[task]}, {run['label']}: the rate stayed level for {until}, since {why}{best_so_far}; while the rate "
        f"fell it came to {end:{form}}."
    )


# ---- tables and pictures --------------------------------------------------------------------------------


def _table(task: str, contest: Contest, kind: str, runs: Runs) -> Table:
    names = [name for name in WORDS if any(name in run["test"] for some in runs.values() for run in some)]
    clean = any("clean" in run for some in runs.values() for run in some)
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
            *(_spreads(only, name)[label] for name in names),
        ]
        rows.append((*row, _spreads(only, contest.score, "clean")[label]) if clean else tuple(row))
    note = (
        "One seed."
        if _seeds(runs) == "one seed"
        else "Mean over the seeds, the lowest and the highest in brackets."
    )
    note += f" Trained with dropout {_dropout(runs)}, on {_machines(runs)}."
    if clean:
        note += (
            " Nothing shared: the test sources that have no eight words in a row with any training source."
        )
    return Table(
        f"{NAMES[task]} after {_budget(kind, runs)}", tuple(columns), tuple(rows), tuple(forms), note
    )


def _lengths(task: str, contest: Contest, kind: str, runs: Runs) -> Table:
    words, form, _ = WORDS[contest.score]
    places = range(len(contest.lengths))
    rows: list[tuple[Cell, ...]] = [
        (label, *(_spreads(_class({label: some}, number), contest.score)[label] for number in places))
        for label, some in runs.items()
    ]
    [first, *_] = runs.values()
    counts = [first[0]["by length"][number]["sources"] for number in places]
    columns = ("rival", *(f"{_named(contest, number)} ({counts[number]:,})" for number in places))
    title = f"{NAMES[task]} by length: {words} after {_budget(kind, runs)}"
    return Table(
        title, columns, tuple(rows), ("", *[form] * len(places)), "In brackets: sources in the test."
    )


def _picture(task: str, contest: Contest, kinds: Mapping[str, Runs]) -> Picture:
    words, _, _ = WORDS[contest.score]
    percent = contest.score not in HIGHER
    panels = []
    for kind, runs in kinds.items():
        lines = tuple(line(some, contest.score) for some in runs.values() if times(some))
        if lines:
            title = f"{_seeds(runs)}{', the long run' if kind == 'long' else ''}"
            panels.append(Panel(title, "CPU-minutes", f"{words}, held-out", lines, percent=percent))
    for kind, runs in kinds.items():
        if runs:
            panels.append(_length_panel(contest, kind, runs))
    caption = (
        f"{NAMES[task]}: {words} over processor time of training on one thread, and by the length of the source; "
        f"{'more' if contest.higher else 'less'} is better. Bands go from the lowest to the highest seed."
    )
    return Picture(f"accuracy-{task}", NAMES[task], tuple(panels), caption)


def _length_panel(contest: Contest, kind: str, runs: Runs) -> Panel:
    words, _, _ = WORDS[contest.score]
    places = range(len(contest.lengths))
    lines = tuple(
        Line.over_seeds(
            label,
            some[0]["rival"],
            places,
            [_spreads(_class({label: some}, number), contest.score)[label] for number in places],
        )
        for label, some in runs.items()
    )
    title = f"by length, {_seeds(runs)}{', the long run' if kind == 'long' else ''}"
    classes = tuple(_named(contest, number).replace(" to ", "–").split()[0] for number in places[:-1])
    return Panel(
        title,
        f"{contest.unit} of the source",
        f"{words}, test",
        lines,
        (*classes, f"{contest.lengths[-1]} or more"),
        percent=contest.score not in HIGHER,
    )


def _seeds(runs: Runs) -> str:
    most = max(len(some) for some in runs.values())
    return "one seed" if most == 1 else f"{most} seeds"


def _dropout(runs: Runs) -> str:
    return listed([f"{each:g}" for each in sorted({run["shape"]["dropout"] for run in _every(runs)})])


def _machines(runs: Runs) -> str:
    """What the runs were made on, a run that went on elsewhere counted on all; by rival where they are not alike."""
    by_label = {label: _kinds(some) for label, some in runs.items()}
    [first, *_] = by_label.values()
    if all(kinds == first for kinds in by_label.values()):
        return first
    told = [f"{label}: {kinds}" for label, kinds in by_label.items()]
    return f"machines that are not alike, so minutes are not either: {'; '.join(told)}"


def _kinds(some: Sequence[Mapping[str, Any]]) -> str:
    every = [each for run in some for each in (run["machine"], *run["machine"].get("before", ()))]
    return listed(
        list(dict.fromkeys(f"{each['instructions']} with products in {each['training']}" for each in every))
    )


def _every(runs: Runs) -> list[Mapping[str, Any]]:
    return [run for some in runs.values() for run in some]


def _class(runs: Runs, number: int) -> Runs:
    """The runs with the measures of one class of length in the place of the test's."""
    return {
        label: [dict(run) | {"test": run["by length"][number]} for run in some]
        for label, some in runs.items()
    }


def _named(contest: Contest, number: int) -> str:
    least, after = contest.lengths[number], contest.lengths[number + 1 : number + 2]
    return f"{least} to {after[0] - 1} {contest.unit}" if after else f"{least} {contest.unit} or more"


def _method(results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    if not results:
        return ()
    told = [
        "Every rival has the same data in the same order, the same loop, batches and processor time on one thread; "
        "each learns at the rate that the same search found for it on held-out rows. Weights are averaged, and the "
        "average with the best held-out score is tested, once, with greedy search.",
        "The rate stays level for the first part of the time and then falls to zero; in a long run it begins to fall "
        "early once six evaluations in a row, of forty in its whole time, were no better: that far it is to "
        "convergence. What is read off a curve on the way had a rate that had not fallen yet.",
        "Searched for is the rate alone; layers, batches and dropout were set beforehand.",
    ]
    for task in CONTESTS:
        counts = [run["parameters"] for run in results.values() if run["task"] == task]
        if counts:
            told.append(
                f"{NAMES[task]}: {min(counts):,} to {max(counts):,} parameters, "
                f"{max(counts) / min(counts) - 1:.1%} apart."
            )
    return tuple(told)
