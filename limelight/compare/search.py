"""The search: every rival may try the same few settings, for the same processor time, and keeps its best.

A part that is searched for has a function `trials(options) -> list[Run]`, as many for each rival; the dict of each
run has "rival", "choice" (what was tried, by the words of the part) and "score" (higher is better, on data that no
test sees). What was found is kept in the package, found/<part>.json, with all that was tried, and the part's runs
begin with `found(part, rival)`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.console import Console

from limelight.compare.plan import PARTS, Options, Table
from limelight.compare.runs import run_all
from limelight.errors import InputError

SEARCHED = ("scope", "accuracy")
"""The parts that have trials."""


def found(part: str, rival: str) -> dict[str, Any]:
    """What the search found for a rival; empty where none was made."""
    file = files("limelight.compare") / "found" / f"{part}.json"
    if not file.is_file():
        return {}
    kept: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["best"]
    return kept.get(rival, {})


def search(
    part: str, options: Options, out: Path, jobs: int, console: Console | None = None
) -> dict[str, Any]:
    """Do the trials of a part that have not been done. Gives the best choice of each rival, and all trials.

    Raises InputError for a part that has none.
    """
    if part not in SEARCHED:
        raise InputError(f"A search is made for {', '.join(SEARCHED)}; got {part!r}.")
    results = run_all(import_module(PARTS[part].module).trials(options), out, jobs, console)
    return {"part": part, "best": best(results), "trials": results}


def best(results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each rival's choice with the highest score; the first of equals."""
    chosen: dict[str, Mapping[str, Any]] = {}
    for trial in results.values():
        leader = chosen.get(trial["rival"])
        if leader is None or trial["score"] > leader["score"]:
            chosen[trial["rival"]] = trial
    return {rival: dict(trial["choice"]) for rival, trial in chosen.items()}


def tried(searched: Mapping[str, Any]) -> Table:
    """All trials, and which was kept."""
    rows = tuple(
        (
            trial["label"],
            ", ".join(
                f"{word.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{word} {value}"
                for word, value in trial["choice"].items()
            ),
            trial["score"],
            "kept" if searched["best"][trial["rival"]] == trial["choice"] else "",
        )
        for trial in searched["trials"].values()
    )
    return Table(
        f"The search for {searched['part']}", ("rival", "tried", "score", ""), rows, ("", "", ".3f", "")
    )
