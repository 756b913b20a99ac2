"""A run that is gone on with by other settings or rows: what changes is told, what could change nothing is
refused."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from limelight.errors import RecipeError
from limelight.modules.model_io import SavedModel, load_model
from limelight.recipes.recipe import Recipe, Search, changed, parse_recipe
from limelight.recipes.task import TASKS
from limelight.recipes.train import train_recipe
from limelight.training.loop import TrainResult
from limelight.training.reporting import Reporter
from tests.examples import mostly_slow
from tests.recipes import small

OFTEN = {"steps": 4, "evaluate_every": 2, "checkpoint_every": 2}


def run(
    out: Path, data: Path, recipe: Recipe | None = None, **training: object
) -> tuple[SavedModel, TrainResult, str]:
    """A run of the classifier in `out`, and what it told."""
    said = io.StringIO()
    reporter = Reporter(out, Console(file=said, width=10_000), tensorboard=False)
    recipe = recipe or changed(small.recipe("classify", **OFTEN), **training)
    saved, outcome = train_recipe(recipe, data, out, reporter=reporter)
    return saved, outcome, said.getvalue()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return small.write_data("classify", tmp_path / "data")


@pytest.mark.parametrize(
    "change",
    mostly_slow(
        [{"rate": 1e-4}, {"tokens": 150}, {"average": 0.5}, {"steps": 3}], {"rate": 1e-4}, {"steps": 3}
    ),
)
def test_what_a_finished_run_would_not_use_any_more_is_refused(
    change: dict[str, float], data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(out, data)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    name, value = next(iter(change.items()))
    said = rf"finished, after update 4: {name} = {value} would change nothing\. .*give --steps above 4"
    with pytest.raises(RecipeError, match=said):
        run(out, data, **change)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_another_seed_is_another_run(data: Path, tmp_path: Path) -> None:
    run(tmp_path / "run", data, steps=2)
    with pytest.raises(RecipeError, match="begun differently: seed was 3, is 4"):
        run(tmp_path / "run", data, steps=4, seed=4)


def test_settings_that_change_on_the_way_are_told_everywhere(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(out, data, rate=1e-2)
    saved, outcome, said = run(out, data, steps=6, rate=1e-3)
    assert "goes on after update 4 with steps = 6 (it was 4), rate = 0.001 (it was 0.01)" in said
    told = "Updates 1 to 4: steps = 4, rate = 0.01", "From update 5 on: steps = 6, rate = 0.001"
    kept = (out / "recipe.toml").read_text(encoding="utf-8")
    for line in told:
        assert f"{line}." in saved.card
        assert f"# {line}\n" in kept
    assert (
        parse_recipe(kept).training == changed(small.recipe("classify", **OFTEN), steps=6, rate=1e-3).training
    )
    assert [stretch["after"] for stretch in outcome.progress.stretches] == [0, 4]


def test_a_stopped_run_ends_where_it_is_by_its_own_settings(data: Path, tmp_path: Path) -> None:
    out, calls = tmp_path / "run", []

    def stopping(self, saved, rows):  # type: ignore[no-untyped-def]
        calls.append(1)
        if len(calls) == 2:
            raise ZeroDivisionError
        return judge(self, saved, rows)

    judge = TASKS["classify"].judge
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TASKS["classify"], "judge", stopping)
        with pytest.raises(ZeroDivisionError):
            run(out, data, steps=40)
    saved, outcome, said = run(out, data, steps=2)
    assert outcome.progress.step == 2
    assert "ends after update 2, of 40" in said
    assert "It ended after update 2." in saved.card
    assert (
        parse_recipe((out / "recipe.toml").read_text(encoding="utf-8")).training.steps == 40
    )  # what it was made by
    again, _, _ = run(out, data, steps=2)
    assert again.card == saved.card


def test_a_run_that_patience_ended_says_so_and_goes_on_by_more(data: Path, tmp_path: Path) -> None:
    out, impatient = tmp_path / "run", {"steps": 60, "patience": 1, "rate": 1e-30}
    saved, outcome, said = run(out, data, **impatient)
    assert outcome.stopped_early
    ended = "after update 4 and early, since no evaluation was better than that of update 2 in 1 more (patience = 1; "
    for told in (said, saved.card):
        assert f"ended {ended}steps = 60)" in told
    with pytest.raises(RecipeError, match=r"steps = 90 would change nothing\. .* a patience above 1"):
        run(out, data, **impatient | {"steps": 90})
    _, outcome, _ = run(out, data, **impatient | {"patience": 0, "steps": 6})
    assert outcome.progress.step == 6


def test_other_held_out_rows_judge_the_best_weights_anew(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(out, data)
    rows = [(text, small.KEYWORDS["good"]) for text, _ in small.rows("classify", 5, 9)]
    (data / "valid.tsv").write_text("".join(f"{text}\t{label}\n" for text, label in rows), encoding="utf-8")
    saved, outcome, said = run(out, data)
    assert "note: the held-out rows, or how answers are searched for, are others than before" in said
    task = TASKS["classify"](small.recipe("classify", **OFTEN))
    measures = dict(task.judge(load_model(out / "model"), rows).measures)
    kept = {name: saved.training["held out"][name] for name in measures}
    assert kept == pytest.approx(measures)
    scores = [(record["accuracy"], -record["loss"]) for record in outcome.progress.history]
    assert max(scores) == (kept["accuracy"], -kept["loss"])
    file = next(out.glob("checkpoint-*")) / "progress.json"
    assert json.loads(file.read_text(encoding="utf-8"))["judged_by"] == outcome.progress.judged_by
    again, same, said = run(out, data)
    assert "others than before" not in said
    assert (again.card, same.progress.history) == (saved.card, outcome.progress.history)


@pytest.mark.slow
def test_the_search_is_the_recipes_also_of_a_run_that_is_gone_on_with(tmp_path: Path) -> None:
    start, _, folder = small.trained("pronounce")
    recipe = small.recipe("pronounce", steps=1, rate=1e-9)
    for search in (
        Search(beam=3, length_penalty=0.5, longest=9),
        Search(beam=1, length_penalty=0.0, longest=11),
    ):
        chosen = replace(recipe, prediction=search)
        train_recipe(chosen, folder / "data", tmp_path / "run", start, small.quiet(tmp_path / "run"))
        kept = load_model(tmp_path / "run" / "model")
        assert {name: kept.prediction[name] for name in asdict(search)} == asdict(search)
        assert (
            parse_recipe((tmp_path / "run" / "recipe.toml").read_text(encoding="utf-8")).prediction == search
        )


def test_a_warmup_beyond_the_steps_is_told(data: Path, tmp_path: Path) -> None:
    assert "warmup = 10 is not over within steps = 4" in run(tmp_path / "run", data)[2]
    assert "warmup" not in run(tmp_path / "longer", data, steps=12)[2]


def test_going_on_by_another_bound_of_a_batch_sees_every_row_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    examples = TASKS["classify"].examples

    def watched(self, saved, rows):  # type: ignore[no-untyped-def]
        made = examples(self, saved, rows)
        if len(rows) == 211:
            batch = type(made).batch
            made = type(
                "Watched", (type(made),), {"batch": lambda self, rows: seen.extend(rows) or batch(self, rows)}
            )(made.texts, made.classes)
        return made

    monkeypatch.setattr(TASKS["classify"], "examples", watched)
    out = tmp_path / "run"
    _, first, _ = run(out, data, steps=2, tokens=300)
    assert 0 < len(seen) < 211
    last = first
    for tokens in (170, 400):
        _, last, _ = run(out, data, steps=last.progress.step + 1, tokens=tokens)
    while last.progress.epoch == 0:
        whole = len(seen)
        _, last, _ = run(out, data, steps=last.progress.step + 1, tokens=400)
    assert sorted(seen[:whole]) == [*range(211)]
    assert not last.progress.passes
    assert torch.isfinite(torch.tensor([record["loss"] for record in last.progress.history])).all()
