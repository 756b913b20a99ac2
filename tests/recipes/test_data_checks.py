"""Rows that cannot be learned are refused with file and line; what is odd in them is told."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from limelight.errors import InputError, TextError
from limelight.modules.model_io import SavedModel
from limelight.modules.transformer import TransformerConfig
from limelight.recipes.recipe import Recipe
from limelight.recipes.train import train_recipe
from limelight.training.reporting import Reporter
from tests.recipes import small


def written(folder: Path, train: str, valid: str = "", ending: str = "tsv") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"train.{ending}").write_text(train, encoding="utf-8")
    (folder / f"valid.{ending}").write_text(valid or train, encoding="utf-8")
    return folder


def told(recipe: Recipe, data: Path, out: Path, start: SavedModel | None = None) -> str:
    """What a run says, one note after the other."""
    said = io.StringIO()
    train_recipe(recipe, data, out, start, Reporter(out, Console(file=said, width=10_000), tensorboard=False))
    return said.getvalue()


def test_a_label_that_a_given_model_lacks_is_refused(tmp_path: Path) -> None:
    data = written(tmp_path / "data", "good\tpraise\n\nbad\tblame\nugly\thorror\n")
    start = small.trained("classify")[0]
    with pytest.raises(
        TextError, match=r"train.tsv, line 4: .* blame, doubt, praise; got 'horror'\. .* without --from"
    ):
        told(small.recipe("classify", steps=1), data, tmp_path / "run", start)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (
            "a\tx\n\nb\tcaf\u00e9\nc\tcafe\u0301\n",
            r"train.tsv, line 4, and .*train.tsv, line 3: two classes look alike",
        ),
        (
            "a\tx\nb\tx\n",
            r"train.tsv: classification needs at least two classes in the training data; got \['x'\]",
        ),
    ],
)
def test_labels_that_are_no_choice_are_refused_with_their_place(
    train: str, said: str, tmp_path: Path
) -> None:
    data = written(tmp_path / "data", train)
    for start in (None, small.trained("language")[0]):
        with pytest.raises(TextError, match=said):
            told(small.recipe("classify", steps=1), data, tmp_path / "run", start)
    assert not (tmp_path / "run").exists()


def test_a_target_that_a_given_model_cannot_write_is_refused(tmp_path: Path) -> None:
    start = small.trained("pronounce")[0]
    data = written(tmp_path / "data", "bad\tB AH D\nsin\tS IH N\nbit\tB IH T\n")
    with pytest.raises(
        TextError, match=r"train.tsv, line 2: .* know IH \(2 words in all targets .*without --from"
    ):
        told(small.recipe("pronounce", steps=1), data, tmp_path / "run", start)
    data = written(tmp_path / "data", "bad\tB AH D\nBxd\tB D\n", "sin\tS IH N\n")
    said = told(small.recipe("pronounce", steps=1), data, tmp_path / "run", start)
    assert "2 characters in the sources of" in said  # B and x
    assert "train.tsv that this model does not know: B x" in said
    assert (
        f"1 word in the targets of {data / 'valid.tsv'} that this model does not know: IH; no answer can"
        in said
    )


def test_a_vocabulary_that_size_has_cut_is_told(tmp_path: Path) -> None:
    recipe = small.recipe("translate", steps=1)
    data = written(tmp_path / "data", "a a b c\ta a b c\na b d\ta b d\n")
    assert "leaves out" not in told(recipe, data, tmp_path / "whole")
    small_vocabulary = replace(recipe, text=replace(recipe.text, size=6))
    said = told(small_vocabulary, data, tmp_path / "cut")
    assert "a vocabulary of 6 (`size` in [text]) leaves out 2 words of the targets" in said
    assert "no answer can hold them: c d." in said


@pytest.mark.parametrize("task", ["translate", "classify", "language"])
def test_texts_beyond_learned_positions_are_refused_before_the_first_update(
    task: str, tmp_path: Path
) -> None:
    recipe = small.recipe(task, steps=1)
    recipe = replace(recipe, model=replace(recipe.model, positions="learned", longest=7))
    long = {"translate": "a b\ta b\n\na b\ta b c d a b c d\n", "classify": "a\tx\n\na a a a a a a b\ty\n"}
    if task == "language":
        data, place = written(tmp_path / "data", "a b c d " * 20, ending="txt"), r"\[text\] window = 61"
    else:
        data, place = written(tmp_path / "data", long[task]), r"train.tsv, line 3"
    with pytest.raises(
        InputError, match=rf"{place}: a text must fit into learned positions, which reach 7 tokens"
    ):
        told(recipe, data, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert isinstance(recipe.model, TransformerConfig)
    told(replace(recipe, model=replace(recipe.model, longest=61)), data, tmp_path / "run")


def test_limits_that_rows_pass_are_told(tmp_path: Path) -> None:
    recipe = small.recipe("translate", steps=1, tokens=8)
    recipe = replace(recipe, prediction=replace(recipe.prediction, longest=3))
    data = written(tmp_path / "data", "a b\ta b\n\na b a b\ta b a b\na b a\ta b a\n")
    said = told(recipe, data, tmp_path / "run")
    assert f"1 row of {data / 'train.tsv'} longer than a batch (tokens = 8)" in said
    assert f"{data / 'train.tsv'}, line 3, has 10 tokens" in said
    assert f"1 row of {data / 'valid.tsv'} with a target of more tokens than an answer may have" in said
    assert f"no answer can be right; the first is {data / 'valid.tsv'}, line 3" in said


def test_a_word_that_is_hardly_one_is_told(tmp_path: Path) -> None:
    data = written(tmp_path / "data", f"a\tx\n{'ab' * 150} b\ty\n", "a\tx\n")
    said = told(small.recipe("classify", steps=1), data, tmp_path / "run")
    assert f"1 row of {data / 'train.tsv'} with a word of more than 200 characters; the longest, " in said
    assert f"{data / 'train.tsv'}, line 2, has 300" in said
    chinese = written(tmp_path / "data", f"{'漢字' * 150}\tx\nb\ty\n", "b\tx\n")
    assert "with a word" not in told(small.recipe("classify", steps=1), chinese, tmp_path / "other")
