"""A recipe: one short TOML file that says all of a training run. The shipped ones are in `limelight/recipes/`.

task = "translate"                     pronounce, translate, language or classify
[text]       how text becomes tokens
[model]      the fields of `modules.transformer.Shape`
[training]   the fields of `training.loop.Settings`
[prediction] how answers are searched for, when the model is judged and later
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from limelight.errors import InputError, RecipeError
from limelight.modules.transformer import Shape
from limelight.text.tokenizers import Kind
from limelight.training.loop import Settings

TASKS = ("pronounce", "translate", "language", "classify")


@dataclass(frozen=True)
class Text:
    """How text becomes tokens: the kind of tokenizer on each side, the size of a bpe vocabulary, one for both?

    A language model reads its text in windows of `window` tokens. `vectors` names a file in the word2vec text
    format to start the source's embedding table from.
    """

    source: Kind = "bpe"
    target: Kind = "bpe"
    size: int = 6000
    shared: bool = False
    window: int = 256
    vectors: str = ""


@dataclass(frozen=True)
class Search:
    """How answers are searched for: beam 1 is greedy. `longest` bounds an answer, in tokens."""

    beam: int = 5
    length_penalty: float = 0.6
    longest: int = 256


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe. `source` is the file's own text, kept with the run."""

    task: str
    text: Text
    model: Shape
    training: Settings
    prediction: Search = field(default_factory=Search)
    source: str = ""


Table = TypeVar("Table", Text, Shape, Settings, Search)


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe from a TOML file, or a shipped one by its name (`pronounce`, `translate`, …)."""
    path = Path(name)
    shipped = files("limelight") / "recipes" / f"{name}.toml"
    if path.suffix == ".toml" and path.is_file():
        return parse_recipe(path.read_text(encoding="utf-8"), str(path))
    if shipped.is_file():
        return parse_recipe(shipped.read_text(encoding="utf-8"), f"recipe {name}")
    raise RecipeError(
        f"No recipe {str(name)!r}: give a .toml file, or one of {', '.join(shipped_recipes())}."
    )


def shipped_recipes() -> list[str]:
    return sorted(
        file.name[:-5] for file in (files("limelight") / "recipes").iterdir() if file.name.endswith(".toml")
    )


def parse_recipe(text: str, origin: str = "recipe") -> Recipe:
    """Recipe text → Recipe; every unknown word is an error that names the nearest known one."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{origin} is not valid TOML: {error}.") from error
    _known(data, ("task", "text", "model", "training", "prediction"), origin)
    if data.get("task") not in TASKS:
        raise RecipeError(f"{origin}: task must be one of {', '.join(TASKS)}; got {data.get('task')!r}.")
    try:
        return Recipe(
            data["task"],
            _table(Text, data, "text", origin),
            _table(Shape, data, "model", origin),
            _table(Settings, data, "training", origin),
            _table(Search, data, "prediction", origin),
            text,
        )
    except (TypeError, InputError) as error:
        if isinstance(error, RecipeError):
            raise
        raise RecipeError(f"{origin}: {error}") from error


def changed(recipe: Recipe, **training: Any) -> Recipe:
    """The recipe with some words of its [training] table replaced; None leaves a word as it is."""
    words = {name: value for name, value in training.items() if value is not None}
    return replace(recipe, training=replace(recipe.training, **words))


def _table(kind: type[Table], data: dict[str, Any], name: str, origin: str) -> Table:
    table = data.get(name, {})
    if not isinstance(table, dict):
        raise RecipeError(f"{origin}: {name} must be a table, [{name}]; got {table!r}.")
    _known(table, tuple(entry.name for entry in fields(kind)), f"{origin} [{name}]")
    return kind(**table)


def _known(table: dict[str, Any], names: tuple[str, ...], origin: str) -> None:
    for word in table:
        if word not in names:
            near = difflib.get_close_matches(word, names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}."
            raise RecipeError(f"{origin}: unknown entry {word!r}; {hint}")
