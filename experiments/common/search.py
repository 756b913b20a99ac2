"""The search: every rival may try the same few settings, for the same processor time, and keeps its best.

A part that is searched for has a function `trials(options) -> list[Run]`, as many for each rival; the dict of each
trial, made by `trial_of`, has "rival" and its "label", "choice" (what was tried, by the words of the part), "CPU
seconds" and "score": minus the loss in nats, or what it names as "scored by", on data that no test sees; None where
its training diverged. A run without a score is what trials begin with. What was found is kept in the package,
found/<part>.json, with all that was tried, and the part's runs begin with `found(part, rival)`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.common.plan import PARTS, Cell, Options, Table
from experiments.common.run_kinds import kind
from experiments.common.runner import run_all, unfinished
from limelight.errors import DivergedError, InputError
from limelight.files import write_text

SEARCHED = ("scope", "accuracy", "generalisation")
"""The parts that have trials."""
LOSS = "minus the loss, nats"
"""What a trial is scored by that does not say it."""
HERE = Path(__file__).with_name("found")
"""Where the package keeps what was found, for all runs from then on."""


def found(part: str, rival: str) -> dict[str, Any]:
    """What the search found for a rival; empty where none was made."""
    searched = kept(part)
    return {} if searched is None else dict(searched["best"].get(rival, {}))


def kept(part: str) -> dict[str, Any] | None:
    """The search of a part that the package holds: "best" and all "trials"; None where there is none."""
    file = HERE / f"{part}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def keep(searched: Mapping[str, Any], folder: Path) -> Path:
    """Write a search to `folder`/part.json."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{searched['part']}.json"
    return write_text(file, json.dumps(searched, indent=1, ensure_ascii=False) + "\n")


def search(
    part: str, options: Options, out: Path, jobs: int, console: Console | None = None
) -> dict[str, Any]:
    """Do the trials of a part that have not been done. Gives the best choice of each rival, and all trials.

    Raises InputError for a part that has none.
    """
    if part not in SEARCHED:
        raise InputError(f"A search is made for {', '.join(SEARCHED)}; got {part!r}.")
    trials = import_module(PARTS[part].module).trials(options)
    if unfinished(trials, out):
        PARTS[part].check_corpora(Path(options.data))
    results = run_all(trials, out, jobs, console)
    judged = {name: result for name, result in results.items() if kind(result) == "trial"}
    return {"part": part, "best": best(judged), "trials": judged}


def trial_of(
    rival: str, label: str, choice: Mapping[str, Any], train: Callable[[], Mapping[str, Any]]
) -> dict[str, Any]:
    """A trial's dict: who tried what, and what `train` makes of it. One that diverges has no score: others go on."""
    told = {"rival": rival, "label": label, "choice": dict(choice)}
    try:
        return told | dict(train())
    except DivergedError:
        return told | {"score": None, "CPU seconds": None}


def best(results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each rival's choice with the highest score; the first of equals. A score that is no number is the lowest, and
    a rival whose every training diverged has none."""
    chosen: dict[str, Mapping[str, Any]] = {}
    for trial in results.values():
        if trial["score"] is None:
            continue
        leader = chosen.get(trial["rival"])
        if leader is None or _score(trial) > _score(leader):
            chosen[trial["rival"]] = trial
    return {rival: dict(trial["choice"]) for rival, trial in chosen.items()}


def _score(trial: Mapping[str, Any]) -> float:
    return -math.inf if math.isnan(trial["score"]) else float(trial["score"])


def tried(searched: Mapping[str, Any]) -> Table:
    """All trials, which was kept, and what of it no trial went beyond."""
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            trial["label"],
            worded(trial["choice"]),
            trial["score"],
            trial.get("scored by", LOSS),
            _verdict(searched, trial),
        )
        for trial in searched["trials"].values()
    )
    columns = ("rival", "tried", "score", "scored by", "")
    spent = [trial["CPU seconds"] for trial in searched["trials"].values() if trial["score"] is not None]
    note = "Scores are of held-out examples; more is better. One seed"
    note += f" and {min(spent):,.0f} to {max(spent):,.0f} CPU-seconds a trial." if spent else "."
    return Table(f"The search for {searched['part']}", columns, rows, ("", "", ".3f", "", ""), note)


def _verdict(searched: Mapping[str, Any], trial: Mapping[str, Any]) -> str:
    """Whether a trial's choice was kept; the best at the edge of what was tried may lie beyond it."""
    if trial["score"] is None:
        return "diverged"
    if searched["best"][trial["rival"]] != trial["choice"]:
        return ""
    edges = []
    for word, value in trial["choice"].items():
        values = {
            each["choice"][word]
            for each in searched["trials"].values()
            if each["rival"] == trial["rival"] and word in each["choice"]
        }
        if isinstance(value, float) and len(values) > 1 and value in (min(values), max(values)):
            edges.append(f"the {'largest' if value == max(values) else 'smallest'} {word.replace('_', ' ')}")
    return f"kept, {' and '.join(edges)} tried" if edges else "kept"


def worded(choice: Mapping[str, Any]) -> str:
    """A choice in words.

    >>> worded({"rate": 0.003, "forget_bias": 2.0, "positions": "none"})
    'rate 0.003, forget bias 2, positions none'
    """
    return ", ".join(
        f"{word.replace('_', ' ')} {format(value, 'g') if isinstance(value, float) else value}"
        for word, value in choice.items()
    )
