"""`python -m experiments`: runs what was asked for, shows and keeps it, writes the page; says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from experiments.common import report, runner, search
from experiments.common.machine import machine
from experiments.common.plan import Picture
from experiments.common.runner import Run
from tests.experiments import made_up


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs that the command asks for; none is run, their results are made up, and nothing is drawn."""
    seen: list[Run] = []

    def run_all(some: Sequence[Run], out: Path, jobs: int, console: object = None) -> dict[str, Any]:
        seen.extend(some)
        return made_up.scope({"attention": (0.9, 0.8), "lstm": (0.2, 0.1)})

    def drawn(picture: Picture, folder: Path) -> Path:
        (folder / f"{picture.name}.png").write_bytes(b"")
        return folder / f"{picture.name}.png"

    monkeypatch.setattr(runner, "run_all", run_all)
    monkeypatch.setattr(runner, "made_on", lambda names, out: dict.fromkeys(names, machine()))
    monkeypatch.setattr(report, "draw", drawn)
    return seen


def test_scope(experiments: Callable[..., Any], asked: list[Run], tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = experiments("scope", "--out", out, "--seeds", 2, "--budget", 0.5)
    assert told.exit_code == 0, told.output
    words = " ".join(told.stdout.split())
    assert "Attention is ahead by 70 points, in every seed." in words
    assert "Right answers by records and distance in tokens" in words
    assert {run.options["seconds"] for run in asked} == {30.0}
    assert {run.options["seed"] for run in asked} == {0, 1}
    numbers = json.loads((out / "advantages" / "scope.json").read_text())
    assert len(numbers["runs"]) == 4
    page = out / "advantages.md"
    assert "Attention is ahead by 70 points" in page.read_text()
    for picture in ("scope", "scope-grid", "scope-gradient", "scope-learning"):
        assert f"(advantages/{picture}.png)" in page.read_text()
        assert (out / "advantages" / f"{picture}.png").is_file()
    # The page is made again from the numbers alone.
    before = page.read_text()
    page.write_text("")
    asked.clear()
    assert experiments("report", "--out", out).exit_code == 0
    assert page.read_text() == before
    assert asked == []


def test_search(experiments: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trial = {"rival": "lstm", "label": "LSTM", "choice": {"rate": 0.125}, "score": -1.0, "CPU seconds": 61.0}
    monkeypatch.setattr(search, "run_all", lambda *words: {"one": trial})
    monkeypatch.setattr(search, "HERE", tmp_path / "package")
    told = experiments("search", "scope", "--out", tmp_path)
    assert told.exit_code == 0, told.output
    assert "rate 0.125" in told.stdout
    assert search.found("scope", "lstm") == {}
    experiments("search", "scope", "--out", tmp_path, "--keep")
    assert search.found("scope", "lstm") == {"rate": 0.125}


def test_what_is_finished_is_told_without_training(
    experiments: Callable[..., Any],
    refused: Callable[..., str],
    asked: list[Run],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    assert "No run of scope is finished" in refused("scope", "--out", out, "--finished")
    assert asked == []
    done = {f"scope-{rival}-{seed}" for rival in ("attention", "lstm") for seed in (0, 1)}
    for name in done:
        (out / "runs" / name).mkdir(parents=True)
        (out / "runs" / name / "result.json").write_text("{}")
    told = experiments("scope", "--out", out, "--seeds", 3, "--finished")
    assert told.exit_code == 0, told.output
    assert {run.name for run in asked} == done
    assert (
        "- 4 of 9 runs are finished; the others are not in these numbers."
        in (out / "advantages.md").read_text()
    )


def test_places_and_data_are_looked_at_first(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = refused("scope", "--out", tmp_path / "file")
    assert "A comparison is kept in a folder" in line
    assert "folder must exist" in refused("scope", "--page", tmp_path / "none" / "page.md")
    out = tmp_path / "out"
    assert "must end in .md; got 'page'" in refused("scope", "--out", out, "--page", out / "page")
    for words in (("accuracy",), ("search", "accuracy")):
        line = refused(*words, "--out", tmp_path / "out", "--data", tmp_path / "data")
        made = tmp_path / "data" / "pronounce"
        assert f"there is no {made}. Make it: limelight data pronounce --out {made}" in line
        assert not (tmp_path / "out").exists()


def test_what_it_refuses(refused: Callable[..., str]) -> None:
    assert "WHAT must be one of scope" in refused("scopes")
    assert "such as scope.json; there are none" in refused("report", "--out", "./nowhere")
    assert not Path("nowhere").exists()
    assert "above 0" in refused("scope", "--budget", 0)
    assert "takes no further words; got accuracy" in refused("scope", "accuracy")
    assert "has no use for --converge --device; it takes --budget --finished --page --seeds" in refused(
        "scope", "--converge", 3, "--device", "cuda"
    )
    assert "has no use for --seeds" in refused("efficiency", "--seeds", 2)
    assert "has no use for --keep" in refused("accuracy", "--keep")
    assert "has no use for --page" in refused("search", "scope", "--page", "x.md")
    assert "device must be one of cpu, cuda" in refused("efficiency", "--device", "abacus")
    assert "A search is made for" in refused("search", "efficiency")
