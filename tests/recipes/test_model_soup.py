"""The mean of models: of their weights exactly, judged, with a card; models that are not alike are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from limelight.errors import InputError
from limelight.modules.model_io import SavedModel, load_model, save_model
from limelight.recipes.fine_tune import with_dropout
from limelight.recipes.model_soup import average, mean_of
from limelight.recipes.train import train_recipe
from limelight.text.tokenizers import Tokenizer
from tests.recipes import small


def moved(saved: SavedModel, by: float) -> SavedModel:
    """The same model with every weight moved a little."""
    other = with_dropout(saved, 0.3)
    with torch.no_grad():
        for parameter in other.model.parameters():
            parameter += by
    return other


def test_every_weight_is_the_mean_and_no_model_is_changed() -> None:
    one = small.trained("pronounce")[0]
    parts = {"one": one, "two": moved(one, 0.25), "three": moved(one, -1.0)}
    before = {
        name: {key: w.clone() for key, w in part.model.named_parameters()} for name, part in parts.items()
    }
    mean = dict(mean_of(parts).model.named_parameters())
    for key, weight in before["one"].items():
        torch.testing.assert_close(mean[key], (weight.double() - 0.25).float(), rtol=1e-6, atol=1e-6)
    for name, part in parts.items():
        assert all(torch.equal(w, before[name][key]) for key, w in part.model.named_parameters())


@pytest.mark.slow
def test_fine_tunings_of_one_model_have_a_mean_that_is_judged(tmp_path: Path) -> None:
    start, _, folder = small.trained("translate")
    for seed in (1, 2):
        out = tmp_path / str(seed)
        recipe = small.recipe("translate", steps=3, rate=1e-4, seed=seed)
        train_recipe(recipe, folder / "data", out, start, small.quiet(out))
    made = average([tmp_path / "1", tmp_path / "2"], folder / "data", tmp_path / "mean")
    held_out = made.training["held out"]
    assert held_out["loss"] == pytest.approx(start.training["held out"]["loss"], rel=0.2)
    assert made.training["updates"] == 6
    assert set(made.training["mean of"]) == {str(tmp_path / "1"), str(tmp_path / "2")}
    # Each part is judged on the folder that was given, whatever its own run was judged on.
    for name in ("1", "2"):
        part = load_model(tmp_path / name / "model")
        measures = made.training["mean of"][str(tmp_path / name)]
        assert measures["loss"] == pytest.approx(part.training["held out"]["loss"], rel=1e-4)
        assert "step" not in measures
    assert made.prediction["alignment"]["heads"]
    kept = load_model(tmp_path / "mean")
    assert kept.training == made.training
    assert f"limelight average {tmp_path / '1'} {tmp_path / '2'} --data" in kept.card
    assert f"- their mean: loss {held_out['loss']:.4g}" in kept.card


def test_what_is_not_alike_has_no_mean(tmp_path: Path) -> None:
    one = small.trained("pronounce")[0]
    other = small.trained("classify")[0]
    with pytest.raises(InputError, match="one and two have different tasks"):
        mean_of({"one": one, "two": other})
    with pytest.raises(InputError, match="different tokenizers"):
        mean_of({"one": one, "two": replace(one, source=Tokenizer.train(["xyz"], "characters"))})
    with pytest.raises(InputError, match="different classes"):
        mean_of({"one": other, "two": replace(other, classes=("a", "b", "c"))})
    with pytest.raises(InputError, match="at least two different models; got 1"):
        average([save_model(one, tmp_path / "one")] * 2, tmp_path, tmp_path / "mean")


def test_a_folder_of_other_things_is_not_written_over(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_model(small.trained("pronounce")[0], tmp_path / name)
    with pytest.raises(InputError, match="Give another folder"):
        average([tmp_path / "one", tmp_path / "two"], small.trained("pronounce")[2] / "data", tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["one", "two"]
