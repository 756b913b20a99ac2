"""Runs in processes of their own: what has a result is not run again; what was asked differently is refused."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from experiments.common import runner, search
from experiments.common.machine import machine
from experiments.common.plan import Options
from experiments.common.report import cells
from experiments.common.runner import Run, run_all
from limelight.errors import CheckpointError, DivergedError, InputError
from limelight.training.checkpoints import FILES

QUIET = Console(file=io.StringIO())


def with_result(out: Path, run: Run, value: Any) -> None:
    """A run that was done before."""
    (out / run.name).mkdir(parents=True)
    (out / run.name / "run.json").write_text(
        json.dumps({"name": run.name, "work": run.work, "options": run.options})
    )
    (out / run.name / "result.json").write_text(json.dumps(value))


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    run = Run("one", "no_such_module:work", {"seed": 3})
    with_result(tmp_path, run, {"score": 7})
    assert run_all([run], tmp_path, 1, QUIET) == {"one": {"score": 7}}
    with pytest.raises(InputError, match="other options"):
        run_all([Run("one", run.work, {"seed": 4})], tmp_path, 1, QUIET)


def test_a_run_writes_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)
    monkeypatch.setattr("signal.signal", lambda *words: None)
    (tmp_path / "run.json").write_text('{"name": "one", "work": "os:fspath", "options": {}}')
    runner.main(tmp_path)
    assert json.loads((tmp_path / "result.json").read_text()) == str(tmp_path)
    assert runner.made_on([tmp_path.name], tmp_path.parent) == {tmp_path.name: machine()}
    runner.tell(tmp_path, 0.25, "words")
    assert json.loads((tmp_path / "status.json").read_text()) == {"done": 0.25, "note": "words"}


@pytest.mark.slow
def test_only_a_run_that_is_asked_to_sees_a_gpu(tmp_path: Path) -> None:
    some = [
        Run("any", "tests.experiments.work:sees"),
        Run("other", "tests.experiments.work:sees", {"device": "cpu"}),
        Run("asked", "tests.experiments.work:sees", {"device": "cuda"}),
    ]
    found = run_all(some, tmp_path, 2, QUIET)
    assert found["any"] == found["other"] == runner.ON_THE_CPU
    assert found["asked"] == {name: os.environ.get(name) for name in runner.ON_THE_CPU}


@pytest.mark.slow
def test_runs_side_by_side(tmp_path: Path) -> None:
    some = [Run(name, "os:fspath") for name in ("one", "two", "three")]
    assert run_all(some, tmp_path, 2, QUIET) == {run.name: str(tmp_path / run.name) for run in some}
    with pytest.raises(CheckpointError, match=r"four failed; .*output\.txt says why"):
        run_all([Run("four", "builtins:int")], tmp_path, 1, QUIET)
    assert "TypeError" in (tmp_path / "four" / "output.txt").read_text()


WAITS = """
import sys
from pathlib import Path
from experiments.common.runner import Run, run_all

run_all([Run("waits", "tests.experiments.work:wait")], Path(sys.argv[1]), 1)
"""


@pytest.mark.slow
def test_whoever_is_told_to_end_ends_its_runs(tmp_path: Path) -> None:
    started = subprocess.Popen([sys.executable, "-c", WAITS, str(tmp_path)], cwd=Path(__file__).parents[2])
    told = tmp_path / "waits" / "pid"
    while not told.is_file():
        assert started.poll() is None
        time.sleep(0.1)
    started.send_signal(signal.SIGTERM)
    assert started.wait(30) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


@pytest.mark.slow
def test_two_who_want_the_same_run_do_it_once(tmp_path: Path) -> None:
    run = Run("one", "tests.experiments.work:count")
    folder = tmp_path / run.name
    runner._ask(run, folder)
    both = [runner._start(folder) for _ in range(2)]
    assert [each.wait(60) for each in both] == [0, 0]
    assert (folder / "done").read_text() == "once "


TRIALS = {
    "a": {"rival": "lstm", "label": "LSTM", "choice": {"rate": 0.1}, "CPU seconds": 60.0, "score": -2.0},
    "b": {"rival": "lstm", "label": "LSTM", "choice": {"rate": 0.2}, "CPU seconds": 60.0, "score": -1.0},
    "c": {"rival": "gru", "label": "GRU", "choice": {"rate": 0.1}, "CPU seconds": 60.0, "score": -1.5},
    "d": {"rival": "gru", "label": "GRU", "choice": {"rate": 0.2}, "CPU seconds": 60.0, "score": -1.5},
}


def test_the_best_trial_of_each_rival_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "HERE", tmp_path)
    assert search.found("scope", "lstm") == {}
    search.keep({"part": "scope", "best": search.best(TRIALS), "trials": TRIALS}, tmp_path)
    assert search.found("scope", "lstm") == {"rate": 0.2}
    assert search.found("scope", "gru") == {"rate": 0.1}
    searched = search.kept("scope")
    assert searched is not None
    scored = {name: trial | {"scored by": "right answers"} for name, trial in TRIALS.items() if name > "b"}
    told = search.tried(searched | {"trials": TRIALS | scored})
    assert [row[3] for row in told.rows] == ["minus the loss, nats"] * 2 + ["right answers"] * 2
    assert [row[-1] for row in search.tried(searched).rows] == [
        "",
        "kept, the largest rate tried",
        "kept, the smallest rate tried",
        "",
    ]


def test_a_trial_that_diverges_has_no_score_and_stops_nobody() -> None:
    def diverges() -> dict[str, float]:
        raise DivergedError("The loss and its gradient must stay numbers.")

    fallen = search.trial_of("lstm", "LSTM", {"rate": 0.4}, diverges)
    assert (fallen["rival"], fallen["choice"], fallen["score"]) == ("lstm", {"rate": 0.4}, None)
    well = search.trial_of("lstm", "LSTM", {"rate": 0.2}, lambda: {"score": -1.0, "CPU seconds": 60.0})
    assert well == TRIALS["b"]
    alone = fallen | {"rival": "gru", "label": "GRU"}
    trials = {"fallen": fallen, "well": well, "alone": alone}
    assert search.best(trials) == {"lstm": {"rate": 0.2}}  # the other's every training diverged
    told = search.tried({"part": "scope", "best": search.best(trials), "trials": trials})
    assert [row[-1] for row in told.rows] == ["diverged", "kept, the smallest rate tried", "diverged"]
    assert cells(told.rows[0], told.forms)[2] == "—"
    assert "60 to 60 CPU-seconds" in told.note
    with pytest.raises(InputError, match="another"):  # any other mistake is one
        search.trial_of("lstm", "LSTM", {}, lambda: (_ for _ in ()).throw(InputError("another")))


def test_a_score_that_is_no_number_never_wins() -> None:
    lost = {"rival": "lstm", "choice": {"rate": 0.9}, "score": float("nan")}
    assert search.best({"0": lost, **TRIALS})["lstm"] == {"rate": 0.2}
    assert search.best({**TRIALS, "0": lost})["lstm"] == {"rate": 0.2}
    assert search.best({"0": lost, "1": lost | {"choice": {"rate": 0.8}}}) == {"lstm": {"rate": 0.9}}


def test_what_was_found_is_what_the_runs_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.scope import experiment

    monkeypatch.setattr(search, "HERE", tmp_path)
    before = experiment.plan(Options(seeds=1))
    choice = {"rate": 0.125, "forget_bias": 3.0}
    search.keep({"part": "scope", "best": {"lstm": choice}, "trials": {}}, tmp_path)
    after = experiment.plan(Options(seeds=1))
    changed = [new.options["choice"] for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [choice]


def test_a_part_without_a_search(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="A search is made for scope"):
        search.search("efficiency", Options(), tmp_path, 1)


def test_a_run_tells_every_machine_that_it_was_made_on(tmp_path: Path) -> None:
    here = runner._machines(tmp_path)
    assert "before" not in here
    old = here | {"instructions": "OLD"}
    (tmp_path / "machine.json").write_text(json.dumps(old))
    assert runner._machines(tmp_path) == here  # nothing was kept of it: the run begins anew
    (tmp_path / "checkpoint-0000200").mkdir()
    for name in FILES:
        (tmp_path / "checkpoint-0000200" / name).touch()
    again = runner._machines(tmp_path)
    assert again == here | {"before": [old]}
    (tmp_path / "machine.json").write_text(json.dumps(again))
    assert runner._machines(tmp_path) == again
