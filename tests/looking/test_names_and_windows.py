"""What a run takes over from its data and its start: labels that look alike are told, a window never shrinks."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from limelight.errors import InputError, TextError
from limelight.recipes.fine_tune import with_dropout
from limelight.recipes.recipe import parse_recipe
from limelight.recipes.task import TASKS
from limelight.recipes.train import train_recipe
from tests.predicting.small import saved

COMPOSED, APART = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def test_classes_that_look_alike_are_refused() -> None:
    task = TASKS["classify"](parse_recipe('task = "classify"\n[training]\nsteps = 1'))
    with pytest.raises(InputError, match=r"look alike: .*here é U\+00E9, there e U\+0301.*NFC"):
        task.classes([("a", COMPOSED), ("b", "tea"), ("c", APART)])
    with pytest.raises(InputError, match=r"U\+200B"):
        task.classes([("a", "tea"), ("b", "tea\u200b")])
    assert task.classes([("a", "tea"), ("b", "téa")]) == ("tea", "téa")


def test_a_label_that_looks_like_a_class_is_told_so() -> None:
    task = TASKS["classify"](parse_recipe('task = "classify"\n[training]\nsteps = 1'))
    model = replace(saved("classifier"), classes=(COMPOSED, "fair", "tea"))
    with pytest.raises(InputError, match="It looks like 'café', which is written with other characters"):
        task.examples(model, [("the light", APART)])
    with pytest.raises(InputError, match="not one that the model knows: café, fair, tea\\.$"):
        task.examples(model, [("the light", "other")])


@pytest.mark.parametrize(
    ("before", "asked", "after"), [(11, 7, 11), (11, 23, 23), (None, 7, 7), (11, None, 11)]
)
def test_a_fine_tuned_model_reads_at_least_as_much_at_once(
    before: int | None, asked: int | None, after: int | None
) -> None:
    start = saved("language")
    start.model.window = before  # type: ignore[assignment]
    assert with_dropout(start, 0.0, asked).window == after
    assert start.window == before


def test_a_fresh_language_model_keeps_the_window_of_its_recipe() -> None:
    words = 'task = "language"\n[text]\nsource = "words"\nwindow = 13\n'
    words += "[model]\nwidth = 8\nheads = 2\n[training]\nsteps = 1"
    model = TASKS["language"](parse_recipe(words)).new([("the light falls", "")])
    assert model.window == 13
    other = words.replace('"language"', '"translate"')
    assert TASKS["translate"](parse_recipe(other)).new([("the light", "the light")]).window is None


def test_a_run_names_the_line_of_a_label_that_looks_like_a_class(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text(f"un café\t{COMPOSED}\ndu thé\ttea\n", encoding="utf-8")
    (tmp_path / "valid.tsv").write_text(f"du thé\ttea\nun café\t{APART}\n", encoding="utf-8")
    recipe = parse_recipe('task = "classify"\n[training]\nsteps = 1')
    with pytest.raises(TextError, match=r"valid\.tsv, line 2: .*U\+0301, there é U\+00E9.*NFC"):
        train_recipe(recipe, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
