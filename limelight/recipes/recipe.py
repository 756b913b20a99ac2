"""A recipe: one short TOML file that says all of a training run. The shipped ones are in `limelight/recipes/`.

task = "translate"                     pronounce, translate, language or classify
[text]       how text becomes tokens
[model]      the fields of `modules.transformer.Shape`; with architecture = "recurrent" those of
             `modules.recurrent.Recurrence`
[training]   the fields of `training.loop.Settings`
[prediction] how answers are searched for, when the model is judged and later
"""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from limelight.checked import checked
from limelight.errors import InputError, RecipeError, one_of
from limelight.modules.positions import KINDS
from limelight.modules.recurrent import RecurrentConfig
from limelight.modules.transformer import TransformerConfig
from limelight.predicting.search import BEAM, LENGTH_PENALTY, LONGEST, MOST_BEAM, MOST_PENALTY
from limelight.text.readers import read_text
from limelight.text.tokenizers import Kind
from limelight.training.loop import TrainConfig
from limelight.training.number_ranges import check_recipe_number

TASK_NAMES = ("pronounce", "translate", "language", "classify")


@dataclass(frozen=True)
class Text:
    """How text becomes tokens: the kind of tokenizer on each side, the size of a bpe vocabulary, one for both?

    A language model reads its text in windows of `window` tokens. `vectors` names a file in the word2vec text
    format to start the source's embedding table from (a path as the command's own folder sees it).
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

    beam: int = BEAM
    length_penalty: float = LENGTH_PENALTY
    longest: int = LONGEST


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe. `source` is the file's own text, `name` what it was asked for by: a shipped name or a path."""

    task: str
    text: Text
    model: TransformerConfig | RecurrentConfig
    training: TrainConfig
    prediction: Search = field(default_factory=Search)
    source: str = ""
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        for table in (self.text, self.model, self.prediction):
            _within_limits(table)


LEAST: dict[str, float] = {
    **dict.fromkeys(("encoder_layers", "decoder_layers", "key_value_heads", "beam", "longest"), 1),
    **dict.fromkeys(("dropout", "attention_dropout"), 0),
    "window": 2,  # START and one token
    "length_penalty": -MOST_PENALTY,
    "forget_bias": -100,
}
MOST: dict[str, float] = {
    **dict.fromkeys(("dropout", "attention_dropout"), 1),
    "beam": MOST_BEAM,
    "length_penalty": MOST_PENALTY,
    "forget_bias": 100,
}
REASON: dict[str, float] = {
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 1000),
    **dict.fromkeys(("width", "heads", "key_value_heads"), 2**16),
    **dict.fromkeys(("feed_forward", "longest", "size", "window"), 10**7),
}
"""Sizes beyond which a number is a slip of the keyboard."""
WORDS: dict[str, tuple[str, ...]] = {"positions": KINDS}
"""What the words of [text], [model] and [prediction] may be, where neither their type nor `TransformerConfig`
itself says it; `TrainConfig` checks all of [training]."""

ARCHITECTURES = ("transformer", "recurrent")

Table = TypeVar("Table", Text, TransformerConfig, RecurrentConfig, TrainConfig, Search)


@checked
def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe from a TOML file, or a shipped one by its name (`pronounce`, `translate`, …)."""
    path = Path(name)
    shipped = files("limelight") / "recipes" / f"{name}.toml"
    if path.suffix == ".toml" and path.is_file():
        return replace(parse_recipe(read_text(path), str(path)), name=str(path))
    if shipped.is_file():
        return replace(parse_recipe(shipped.read_text(encoding="utf-8"), f"recipe {name}"), name=str(name))
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
    if data.get("task") not in TASK_NAMES:
        raise RecipeError(one_of(f"{origin}: task", TASK_NAMES, data.get("task")))
    return Recipe(
        data["task"],
        _table(Text, data, "text", origin),
        _model(data, origin),
        _table(TrainConfig, data, "training", origin),
        _table(Search, data, "prediction", origin),
        text,
    )


def changed(recipe: Recipe, **training: Any) -> Recipe:
    """The recipe with some words of its [training] table replaced; None leaves a word as it is."""
    words = {name: value for name, value in training.items() if value is not None}
    return replace(recipe, training=replace(recipe.training, **words))


RIVALS = {
    "lstm": ("lstm", "none"),
    "gru": ("gru", "none"),
    "bahdanau": ("lstm", "bahdanau"),
    "luong": ("lstm", "luong"),
}
"""Recurrent networks by name: their cell and the decoder's attention."""


def with_architecture(recipe: Recipe, name: str) -> Recipe:
    """The recipe with another kind of network, as wide, as deep and with as much dropout as its own.

    `name` is "transformer" or one of `RIVALS`. Recurrence knows no positions, heads or feed-forward layers: what
    the recipe says of them falls away.
    """
    if name != "transformer" and name not in RIVALS:
        raise RecipeError(one_of("architecture", ("transformer", *RIVALS), name))
    words = vars(recipe.model)
    kept = {word: words[word] for word in ("width", "encoder_layers", "decoder_layers", "dropout")}
    if name == "transformer":
        return (
            recipe
            if isinstance(recipe.model, TransformerConfig)
            else replace(recipe, model=TransformerConfig(**kept))
        )
    cell, attention = RIVALS[name]
    return replace(recipe, model=RecurrentConfig(cell=cell, attention=attention, **kept))  # type: ignore[arg-type]


def changes(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """What differs from the recipe's own text, by table: {"training": {"steps": 7}}; {} where the text is true."""
    own = parse_recipe(recipe.source)
    found = {
        table: {word: value for word, value in words.items() if value != before.get(word)}
        for (table, words), before in zip(_tables(recipe).items(), _tables(own).values(), strict=True)
    }
    return {table: words for table, words in found.items() if words}


def rendered(recipe: Recipe) -> str:
    """The settings as they are, in TOML: the recipe's own text while that says them, else every word of every table.

    >>> print(rendered(changed(parse_recipe('task = "classify"\\n[training]\\nsteps = 3'), steps=7))[:67])
    task = "classify"
    <BLANKLINE>
    [text]
    source = "bpe"
    target = "bpe"
    size = 6000
    """
    if recipe.source and not changes(recipe):
        return recipe.source
    parts = [f"task = {json.dumps(recipe.task)}\n"]
    for table, words in _tables(recipe).items():
        lines = (
            f"{word} = {json.dumps(value, ensure_ascii=False)}\n"  # TOML writes these values as JSON does
            for word, value in words.items()
            if value is not None
        )
        parts.append(f"[{table}]\n{''.join(lines)}")
    return "\n".join(parts)


def _tables(recipe: Recipe) -> dict[str, dict[str, Any]]:
    return {name: asdict(getattr(recipe, name)) for name in ("text", "model", "training", "prediction")}


def _model(data: dict[str, Any], origin: str) -> TransformerConfig | RecurrentConfig:
    table = data.get("model")
    architecture = table.get("architecture", "transformer") if isinstance(table, dict) else "transformer"
    if architecture not in ARCHITECTURES:
        raise RecipeError(one_of(f"{origin} [model]: architecture", ARCHITECTURES, architecture))
    if architecture == "recurrent":
        return _table(RecurrentConfig, data, "model", origin)
    return _table(TransformerConfig, data, "model", origin)


def _table(kind: type[Table], data: dict[str, Any], name: str, origin: str) -> Table:
    table = data.get(name, {})
    if not isinstance(table, dict):
        raise RecipeError(f"{origin}: {name} must be a table, [{name}]; got {table!r}.")
    where, hints = f"{origin} [{name}]", get_type_hints(kind)
    _known(table, tuple(hints), where)
    for entry in fields(kind):
        if entry.name in table and not _fits(table[entry.name], hints[entry.name]):
            wanted = _in_words(hints[entry.name])
            raise RecipeError(f"{where}: {entry.name} must be {wanted}; got {table[entry.name]!r}.")
        if entry.name not in table and entry.default is MISSING:
            raise RecipeError(f"{where}: {entry.name} is missing; it must be {_in_words(hints[entry.name])}.")
    try:
        made = kind(**table)
        if not isinstance(made, TrainConfig):
            _within_limits(made)
    except InputError as error:
        raise RecipeError(f"{where}: {error}") from error
    return made


def _fits(value: Any, hint: Any) -> bool:
    """Whether a TOML value has the type of a field: a whole number counts as a number, true and false do not."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if isinstance(hint, UnionType):
        return any(_fits(value, each) for each in get_args(hint))
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def _in_words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(get_args(hint))}"
    if isinstance(hint, UnionType):
        return _in_words(get_args(hint)[0])
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text in quotes"}[hint]


def _within_limits(table: Text | TransformerConfig | RecurrentConfig | Search) -> None:
    for name, value in vars(table).items():
        if name in WORDS and value not in WORDS[name]:
            raise InputError(one_of(name, WORDS[name], value))
        if isinstance(value, int | float) and not isinstance(value, bool):
            least, most = LEAST.get(name, -math.inf), MOST.get(name, math.inf)
            check_recipe_number(name, value, least, most)
            if value > (reason := REASON.get(name, math.inf)):
                raise InputError(f"{name} must be at most {reason:,}; got {value:,}.")


def _known(table: dict[str, Any], names: tuple[str, ...], origin: str) -> None:
    for word in table:
        if word not in names:
            near = difflib.get_close_matches(word, names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}."
            raise RecipeError(f"{origin}: unknown entry {word!r}; {hint}")
