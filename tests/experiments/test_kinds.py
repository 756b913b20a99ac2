"""Every kept result is of the kind that its run's work says, so that a page sorts them as they were asked."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from experiments.common.run_kinds import BY, kind, of_kind
from limelight.errors import CheckpointError

RUNS = Path(__file__).parents[2] / "experiments" / "results" / "runs"
WORK = {
    "alignment.experiment:align": "aligner",
    "alignment.experiment:measure": "translator",
    "generalisation.experiment:language": "language model",
    "generalisation.experiment:adapt": "read on",
    "generalisation.experiment:measure": "classifier",
    "generalisation.experiment:words": "classifier",
}


def test_kept_results_are_of_the_kind_of_their_work() -> None:
    seen: Counter[str] = Counter()
    for file in RUNS.glob("*/result.json"):
        work = json.loads((file.parent / "run.json").read_text())["work"].removeprefix("experiments.")
        if work in WORK:
            found = json.loads(file.read_text())
            assert kind(found) == WORK[work], file
            assert sum(key in found for key in BY) == 1, file  # no key of another kind
            seen[work] += 1
    assert set(seen) == set(WORK)


def test_a_result_of_no_kind_is_refused() -> None:
    with pytest.raises(CheckpointError, match="must have one of aligner, heads"):
        kind({"label": "LSTM"})
    runs = [{"score": 1.0}, {"perplexity": 2.0}, {"score": 3.0}]
    assert of_kind("trial", runs) == [runs[0], runs[2]]
    with pytest.raises(AssertionError):
        of_kind("tiral", runs)
