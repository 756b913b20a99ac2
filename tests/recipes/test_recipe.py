"""Recipes: every shipped one parses, and whatever is wrong in one is named."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from limelight.errors import InputError, RecipeError, TextError
from limelight.modules.recurrent import RecurrentConfig
from limelight.predicting.predictor import DEFAULTS
from limelight.recipes.recipe import (
    TASK_NAMES,
    Search,
    changed,
    changes,
    load_recipe,
    parse_recipe,
    rendered,
    shipped_recipes,
    with_architecture,
)
from limelight.recipes.task import TASKS
from tests.recipes import small

LEAST = 'task = "classify"\n[training]\nsteps = 3\n'

# ── What is right ──


def test_there_is_a_shipped_recipe_for_every_task() -> None:
    assert shipped_recipes() == sorted((*TASK_NAMES, "pronounce-again"))


def test_every_task_name_has_its_task() -> None:
    assert tuple(TASKS) == TASK_NAMES


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_parse_and_explain_themselves(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.task == name.partition("-")[0]
    assert recipe.source.startswith("# ")
    assert f"limelight train {name} --data" in recipe.source
    assert recipe.training.warmup < recipe.training.steps
    assert recipe.training.evaluate_every <= recipe.training.steps


def test_what_a_recipe_leaves_out_has_a_default() -> None:
    recipe = parse_recipe(LEAST)
    assert recipe.training.steps == 3
    assert recipe.prediction == Search()
    assert asdict(Search()) == DEFAULTS  # those of a model that was saved without
    assert recipe.text.vectors == ""


def test_a_recipe_is_read_from_a_file_and_keeps_its_text(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(small.recipe_text("translate"), encoding="utf-8")
    recipe = load_recipe(file)
    assert recipe.source == file.read_text(encoding="utf-8")
    assert recipe.text.shared
    assert recipe.model.width == 32
    assert recipe.prediction.longest == 12


def test_a_whole_number_counts_as_a_number() -> None:
    assert parse_recipe(f"{LEAST}rate = 1").training.rate == 1


def test_a_field_that_may_be_left_open_takes_a_number() -> None:
    assert parse_recipe(f"{LEAST}[model]\nkey_value_heads = 2").model.key_value_heads == 2


def test_clip_0_leaves_the_gradient_as_it_is() -> None:
    assert parse_recipe(f"{LEAST}clip = 0").training.clip == 0


def test_changed_replaces_what_is_given_and_nothing_else() -> None:
    recipe = small.recipe("classify")
    other = changed(recipe, steps=7, rate=None, seed=11)
    assert (other.training.steps, other.training.rate, other.training.seed) == (7, recipe.training.rate, 11)
    assert (other.model, other.text, other.prediction) == (recipe.model, recipe.text, recipe.prediction)


def test_an_unchanged_recipe_is_rendered_as_its_file() -> None:
    recipe = load_recipe("pronounce")
    assert changes(recipe) == {}
    assert rendered(recipe) == recipe.source
    assert recipe.name == "pronounce"


@pytest.mark.parametrize("name", TASK_NAMES)
def test_a_changed_recipe_is_rendered_with_what_it_says_now(name: str) -> None:
    recipe = changed(load_recipe(name), steps=7, rate=1e-5)
    assert changes(recipe) == {"training": {"steps": 7, "rate": 1e-5}}
    again = parse_recipe(rendered(recipe))
    for table in ("task", "text", "model", "training", "prediction"):
        assert getattr(again, table) == getattr(recipe, table)


# ── What is wrong ──


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[trainig]", "unknown entry 'trainig'; did you mean 'training'?"),
        ("[training]\nstep = 3", "[training]: unknown entry 'step'; did you mean 'steps'?"),
        ("[model]\nwidht = 3", "[model]: unknown entry 'widht'; did you mean 'width'?"),
        ("[text]\nzzz = 3", "[text]: unknown entry 'zzz'; known are source, target, size"),
        ("[model]\nwidth = 'wide'", "[model]: width must be a whole number; got 'wide'"),
        (
            "[training]\nsteps = 3\n[prediction]\nlength_penalty = 20",
            "length_penalty must be from -10 to 10; got 20",
        ),
        ("[model]\nwidth = 32.5", "[model]: width must be a whole number; got 32.5"),
        ("[model]\nkey_value_heads = 'two'", "key_value_heads must be a whole number; got 'two'"),
        ("[training]\nsteps = 3\nrate = '1e-3'", "[training]: rate must be a number; got '1e-3'"),
        ("[training]\nsteps = true", "[training]: steps must be a whole number; got True"),
        ("[text]\nshared = 1", "[text]: shared must be true or false; got 1"),
        ("[text]\nsource = 'letters'", "source must be one of bpe, characters, words; got 'letters'"),
        ("[text]\nvectors = 3", "vectors must be a text in quotes; got 3"),
        ("text = 3", "text must be a table, [text]; got 3"),
        ("[model]\nwidth = 8", "[training]: steps is missing; it must be a whole number"),
    ],
)
def test_unknown_words_and_wrong_types_are_named(text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(f'task = "classify"\n{text}', "mine.toml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("mine.toml")


@pytest.mark.parametrize(
    ("table", "line", "said"),
    [
        ("model", "width = 0", "width must be at least 1; got 0"),
        ("model", "heads = -2", "heads must be at least 1"),
        ("model", "heads = 3", "heads must divide the width: 256 is not a multiple of 3"),
        ("model", "key_value_heads = 3", "key_value_heads must divide heads: 4 is not a multiple of 3"),
        ("model", "width = 12", "the head width must be even; got 3"),
        ("model", "dropout = 1.5", "dropout must be from 0 to 1; got 1.5"),
        ("model", "dropout = nan", "dropout must be from 0 to 1; got nan"),
        ("model", "positions = 'rotory'", "positions must be one of rotary, sinusoidal"),
        ("model", "norm = 'middle'", "norm must be one of pre, post"),
        ("model", "activation = 'tanh'", "activation must be one of relu"),
        ("text", "window = 1", "window must be at least 2"),
        ("prediction", "beam = 0", "beam must be from 1 to 1000"),
        ("prediction", "longest = 0", "longest must be at least 1"),
        ("training", "tokens = 0", "tokens must be at least 1"),
        ("training", "rate = -1.0", "rate must be a number above 0"),
        ("training", "clip = -1.0", "clip must be at least 0"),
        ("training", "clip = nan", "clip must be at least 0"),
        ("training", "smoothing = 1.5", "smoothing must be from 0 to 1"),
        ("training", "rate = inf", "rate must be a number above 0"),
        ("training", "schedule = 'linear'", "schedule must be one of paper, trapezoid"),
        ("training", "precision = 'fp16'", "precision must be one of auto, float32, bf16"),
        ("training", "average = 1.0", "average must be a decay"),
        ("training", "patience = -1", "patience must be at least 0"),
    ],
)
def test_values_that_make_no_sense_are_refused_before_anything_runs(table: str, line: str, said: str) -> None:
    text = f"{LEAST}{line}" if table == "training" else f"{LEAST}[{table}]\n{line}"
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "mine.toml")
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"mine.toml [{table}]: ")


@pytest.mark.parametrize("change", [{"steps": 0}, {"rate": 0.0}, {"rate": float("nan")}, {"seed": -1}])
def test_changes_are_checked_as_the_file_is(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(change))} must be"):
        changed(small.recipe("classify"), **change)


@pytest.mark.parametrize("task", ["task = 'summarise'", "", "task = 3"])
def test_the_task_must_be_one_that_there_is(task: str) -> None:
    with pytest.raises(RecipeError, match="task must be one of pronounce, translate, language, classify"):
        parse_recipe(f"{task}\n[training]\nsteps = 3")


def test_broken_toml_is_reported_with_its_line() -> None:
    with pytest.raises(RecipeError, match="mine.toml is not valid TOML: .*line 2"):
        parse_recipe('task = "classify"\nsteps = = 3\n', "mine.toml")


def test_a_recipe_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    for name in ("transalte", str(tmp_path / "mine.toml")):
        with pytest.raises(RecipeError, match=r"No recipe .*one of classify, .*pronounce-again, translate"):
            load_recipe(name)


def test_a_recipe_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(b'task = "\xff"')
    with pytest.raises(TextError, match="must be UTF-8"):
        load_recipe(file)


def test_another_architecture_keeps_width_depth_and_dropout() -> None:
    recipe = load_recipe("translate")
    rival = with_architecture(recipe, "luong").model
    assert isinstance(rival, RecurrentConfig)
    assert (rival.cell, rival.attention) == ("lstm", "luong")
    kept = ("width", "encoder_layers", "decoder_layers", "dropout")
    assert [getattr(rival, word) for word in kept] == [getattr(recipe.model, word) for word in kept]
    assert with_architecture(recipe, "transformer") == recipe
    with pytest.raises(RecipeError, match="transformer, lstm, gru, bahdanau, luong"):
        with_architecture(recipe, "cnn")


def test_a_recurrent_recipe_knows_no_heads() -> None:
    text = 'task = "classify"\n[model]\narchitecture = "recurrent"\n[training]\nsteps = 3'
    assert parse_recipe(text).model == RecurrentConfig()
    with pytest.raises(RecipeError, match="unknown entry 'heads'"):
        parse_recipe(text.replace('"recurrent"', '"recurrent"\nheads = 4'))
    with pytest.raises(RecipeError, match="transformer, recurrent; got 'lstm'"):
        parse_recipe(text.replace('"recurrent"', '"lstm"'))
