"""A run's folder among other things: nothing that is not the run's is written over, and what fails leaves nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from limelight.errors import (
    CheckpointError,
    InputError,
    LimelightError,
    RecipeError,
    TextError,
    TooLargeError,
)
from limelight.modules.model_io import load_model, save_model
from limelight.predicting.predictor import Predictor
from limelight.recipes.model_soup import average
from limelight.recipes.task import TASKS
from limelight.recipes.train import train_recipe
from limelight.training.checkpoints import checkpoints
from tests.recipes import small


def run(out: Path, data: Path | None = None, start: object = None, **training: object) -> object:
    recipe = small.recipe("classify", **{"steps": 2, **training})
    where = data or small.trained("classify")[2] / "data"
    return train_recipe(recipe, where, out, start, small.quiet(out))  # type: ignore[arg-type]


def content(folder: Path) -> dict[Path, bytes]:
    return {
        path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "run.lock"
    }


@pytest.mark.parametrize(
    "name",
    ["recipe.toml", "best.safetensors", "log.jsonl", "tensorboard/mine", "start/notes.md"],
)
def test_files_that_no_run_has_written_are_not_written_over(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(
        InputError, match=f"would write over {name.split('/')[0]} in .*, and no run was begun there"
    ):
        run(tmp_path)
    assert content(tmp_path) == {path: b"mine"}


def test_what_is_beside_a_run_stays(tmp_path: Path) -> None:
    run(tmp_path)
    newest = checkpoints(tmp_path)[-1]
    shutil.copytree(newest, tmp_path / "checkpoint-backup")
    (tmp_path / "checkpoint-notes.txt").write_text("the rate was too high")
    (tmp_path / "checkpoint-12").mkdir()
    (newest / "notes.txt").write_text("this one")
    (tmp_path / "model" / "notes.md").write_text("for Ann")
    mine = {
        path: data for path, data in content(tmp_path).items() if "note" in path.name or "backup" in str(path)
    }
    assert len(mine) == 8
    run(tmp_path, steps=4)
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-0000004"]
    assert mine.items() <= content(tmp_path).items()
    assert (tmp_path / "checkpoint-12").is_dir()


def test_a_card_that_was_edited_is_kept(tmp_path: Path) -> None:
    run(tmp_path)
    card = tmp_path / "model" / "card.md"
    edited = card.read_text() + "\nTold by Ann.\n"
    card.write_text(edited)
    run(tmp_path)  # it is finished: the model is the same
    assert card.read_text() == edited
    run(tmp_path, steps=3)
    assert "3 updates" in card.read_text()
    assert (tmp_path / "model" / "card.edited.md").read_text() == edited
    run(tmp_path, steps=4)
    assert (tmp_path / "model" / "card.edited.md").read_text() == edited
    assert not (tmp_path / "model" / "card.edited-2.md").exists()
    again = card.read_text() + "\nTold by Ben.\n"
    card.write_text(again)
    run(tmp_path, steps=5)
    assert (tmp_path / "model" / "card.edited.md").read_text() == edited
    assert (tmp_path / "model" / "card.edited-2.md").read_text() == again
    assert not (tmp_path / ".model.older").exists()


def test_a_run_is_not_kept_among_data_nor_in_a_model(tmp_path: Path) -> None:
    data = small.write_data("classify", tmp_path / "data")
    before = content(data)
    with pytest.raises(InputError, match="is the data folder"):
        run(data, data)
    assert content(data) == before
    run(tmp_path / "run", data)
    before = content(tmp_path / "run")
    for place in ("model", "start"):
        with pytest.raises(InputError, match="is a model's folder"):
            run(tmp_path / "run" / place, data)
    for place in ("tensorboard/mine", "checkpoint-0000002"):
        with pytest.raises(InputError, match="belongs to the run in"):
            run(tmp_path / "run" / place, data)
    assert content(tmp_path / "run") == before


def test_rows_that_are_refused_leave_nothing_that_blocks_the_mended_ones(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("good\ta\nbad\tb\n")
    (tmp_path / "valid.tsv").write_text("so\tc\n")
    out = tmp_path / "runs" / "new"
    with pytest.raises(
        TextError, match=r"valid.tsv, line 1: .*got 'c'\. Give training rows of this class too"
    ):
        run(out, tmp_path)
    assert not (tmp_path / "runs").exists()
    with (tmp_path / "train.tsv").open("a") as rows:
        rows.write("so so\tc\n")
    run(out, tmp_path)
    assert load_model(out / "model").classes == ("a", "b", "c")


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(28, "No space left on device"), RuntimeError("x")]
)
def test_what_ends_before_an_update_leaves_nothing(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise error

    (tmp_path / "mine.txt").write_text("mine")
    monkeypatch.setattr("limelight.training.loop._update", failing)
    for out in (tmp_path, tmp_path / "new"):
        with pytest.raises(type(error)):
            run(out)
    assert content(tmp_path) == {tmp_path / "mine.txt": b"mine"}
    assert not (tmp_path / "new").exists()


def test_memory_that_runs_out_names_the_longest_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.tsv").write_text("\ngood good good\ta\n\nbad bad bad bad\tb\nbad bad bad\tb\n")
    (tmp_path / "valid.tsv").write_text("good\ta\n\nbad bad\tb\n")

    def failing(*_: object) -> None:
        raise RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
        )

    with monkeypatch.context() as patch:
        patch.setattr("limelight.training.loop._update", failing)
        with pytest.raises(
            TooLargeError, match=r"one of 3 examples .* 5 tokens, is .*train.tsv, line 4\. Lower `tokens`"
        ):
            run(tmp_path / "run", tmp_path, tokens=30)
        with pytest.raises(TooLargeError, match=r"one of 1 example .* line [245]\. Shorten it"):
            run(tmp_path / "run", tmp_path, tokens=4)
    monkeypatch.setattr(TASKS["classify"], "judge", failing)
    with pytest.raises(TooLargeError, match=r"held-out rows .*valid.tsv, line 3, of 3 tokens"):
        run(tmp_path / "run", tmp_path)


def test_a_run_that_made_no_update_is_begun_anew(tmp_path: Path) -> None:
    run(tmp_path / "run")
    for path in (*checkpoints(tmp_path / "run"), tmp_path / "run" / "model"):
        shutil.rmtree(path)
    data = small.write_data("classify", tmp_path / "data")
    (data / "train.tsv").write_text("good\ta\nbad\tb\n")
    (data / "valid.tsv").write_text("good\ta\n")
    run(tmp_path / "run", data)
    assert load_model(tmp_path / "run" / "start").classes == ("a", "b")


def test_a_model_without_its_checkpoints_is_not_trained_over(tmp_path: Path) -> None:
    run(tmp_path)
    shutil.rmtree(checkpoints(tmp_path)[-1])
    before = content(tmp_path)
    with pytest.raises(CheckpointError, match="holds a model and no checkpoint to go on from"):
        run(tmp_path)
    assert content(tmp_path) == before


def test_a_checkpoint_by_another_number_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    checkpoints(tmp_path)[-1].rename(tmp_path / "checkpoint-0000099")
    with pytest.raises(CheckpointError, match="must hold update 99, as its name says; it holds update 2"):
        run(tmp_path, steps=4)


def test_what_a_checkpoint_or_the_model_could_not_take_the_place_of_is_told_before_an_update(
    tmp_path: Path,
) -> None:
    run(tmp_path)
    description = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    for name, text, said in (
        ("checkpoint-0000003", "mine", "checkpoint-0000003 must not be there"),
        (
            "model/model.json",
            json.dumps(description | {"format": 2}),
            "model of format 2, of a newer version",
        ),
        ("model/model.json", "", "something else"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        before = content(tmp_path)
        with pytest.raises(LimelightError, match=said):
            run(tmp_path, steps=4)
        assert content(tmp_path) == before
        if name.startswith("checkpoint"):
            (tmp_path / name).unlink()


def test_a_start_is_known_by_its_weights(tmp_path: Path) -> None:
    start = small.trained("classify")[0]
    save_model(start, tmp_path / "one")
    run(tmp_path / "run", start=tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    (tmp_path / "link").symlink_to(tmp_path / "two")
    for same in (tmp_path / "two", tmp_path / "link", start):
        run(tmp_path / "run", start=same)
    run(tmp_path / "other", steps=1)
    shutil.rmtree(tmp_path / "two")
    shutil.copytree(tmp_path / "other" / "model", tmp_path / "two")
    with pytest.raises(
        RecipeError, match=r"start was \S+two \(model-[0-9a-f]{12}\)|start was \S+ \(model-\w+\), is \S+two"
    ):
        run(tmp_path / "run", start=tmp_path / "two")


def test_a_broken_link_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=r"run is a link to .*gone, where there is nothing"):
        run(tmp_path / "run")
    assert not (tmp_path / "gone").exists()


def test_two_data_sets_in_one_folder_are_refused(tmp_path: Path) -> None:
    data = small.write_data("classify", tmp_path / "data")
    (data / "train.jsonl").write_text('{"text": "old", "label": "p"}\n')
    with pytest.raises(TextError, match=r"holds both train.jsonl and train.tsv"):
        run(tmp_path / "run", data)
    (data / "train.jsonl").unlink()
    (data / "valid.jsonl").symlink_to(tmp_path / "gone")
    with pytest.raises(TextError, match=r"valid.jsonl is a link to .*, where there is nothing"):
        run(tmp_path / "run", data)


def test_a_stopped_run_says_how_its_model_is_got(tmp_path: Path) -> None:
    run(tmp_path)
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"stopped after update 2, .* with --steps 2 it ends here"):
        Predictor.load(tmp_path)
    run(tmp_path)
    Predictor.load(tmp_path)


def test_a_mean_takes_the_place_of_an_earlier_mean_alone(tmp_path: Path) -> None:
    data, models = small.trained("classify")[2] / "data", [tmp_path / "one", tmp_path / "two"]
    for number, out in enumerate(models):
        run(out, rate=1e-3 * (1 + number))
    (tmp_path / "link").symlink_to(models[0])
    with pytest.raises(InputError, match="at least two different models; got 1 of 2 names"):
        average([models[0], tmp_path / "link"], data, tmp_path / "mean")
    save_model(small.trained("classify")[0], tmp_path / "mine")
    before = content(tmp_path)
    for out, said in ((tmp_path / "mine", "holds another model"), (models[1] / "model", "belongs to a run")):
        with pytest.raises(InputError, match=said):
            average(models, data, out)
    assert content(tmp_path) == before
    for _ in range(2):
        average(models, data, tmp_path / "mean")
    valid = tmp_path / "data"
    shutil.copytree(data, valid)
    (valid / "valid.tsv").write_text("good\tpraise\n\nbad\tpoor\n")
    with pytest.raises(LimelightError, match=r"valid.tsv, line 3: .*got 'poor'"):
        average(models, valid, tmp_path / "mean")
    assert replace(load_model(tmp_path / "mean"), card="").training["mean of"]
