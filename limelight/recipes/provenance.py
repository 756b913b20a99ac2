"""origin.json: what a run began from (row digest, recipe, seed, weights), compared when it is resumed.

`origin.json` in the run's folder holds a digest of the training rows, the recipe's [text] and [model], the seed, and
the weights of the model that the run began from. The other words of [training] are not in it: a run may go on by
others, which the checkpoints keep, and so they do a digest of the rows that the scores were measured on.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from limelight.errors import CheckpointError, RecipeError
from limelight.files import write_text
from limelight.modules.model_io import SavedModel, load_model
from limelight.modules.recurrent import RecurrentConfig
from limelight.modules.transformer import TransformerConfig
from limelight.recipes.fine_tune import NEW_OUTPUT_RATE
from limelight.recipes.recipe import Recipe, changed
from limelight.recipes.run_folder import ORIGIN
from limelight.recipes.task import Rows

STARTED = "start is called"
"""What the model that a run began from was called; it is known by its weights."""


@dataclass(frozen=True)
class Start:
    """The model that a run begins from, what to call it, and a digest of its weights; none of
    them for a fresh one.

    It is known by its weights, wherever its folder is and whatever becomes of it.
    """

    model: SavedModel | None = None
    name: str = ""
    weights: str = ""

    @classmethod
    def of(cls, start: SavedModel | str | Path | None) -> Start:
        """A model by its name or folder, or one that is loaded already, which is called by its digest."""
        if start is None:
            return cls()
        model = start if isinstance(start, SavedModel) else load_model(start)
        digest = hashlib.sha256()
        for parameter in model.model.parameters():
            digest.update(parameter.detach().cpu().contiguous().float().numpy().tobytes())
        weights = f"model-{digest.hexdigest()[:12]}"
        return cls(model, weights if isinstance(start, SavedModel) else str(start), weights)


def effective(recipe: Recipe, saved: SavedModel, start: Start) -> Recipe:
    """The recipe with what a run really has: its model's shape, and the tokenizers of a `start`; the rate of a last
    layer that is new."""
    recipe = replace(recipe, model=cast(TransformerConfig | RecurrentConfig, saved.model.shape))
    if start.model is None:
        return recipe
    if start.model.task != recipe.task and not recipe.training.output_rate:
        recipe = changed(recipe, output_rate=NEW_OUTPUT_RATE)
    text = replace(
        recipe.text,
        source=saved.source.kind,
        target=saved.target.kind,
        size=len(saved.source),
        shared=saved.shared,
        vectors="",
    )
    return replace(recipe, text=text)


def measured_on(recipe: Recipe, valid: Rows) -> str:
    """A digest of what the scores of a run depend on besides its weights: the held-out rows and how it answers."""
    search = recipe.prediction
    return _digest([*valid, (str(search.length_penalty), str(search.longest))])[:16]


def keep(out: Path, recipe: Recipe, rows: Rows, start: Start) -> None:
    """Write what a new run in `out` is begun with."""
    write_text(out / ORIGIN, json.dumps(_origin(recipe, rows, start), indent=1) + "\n")


def check_same_origin(out: Path, recipe: Recipe, rows: Rows, start: Start) -> None:
    """Raise RecipeError where the run in `out` was begun with something else; a run that kept nothing may go on."""
    file = out / ORIGIN
    if not file.is_file():
        return
    then, now = _kept(file), _origin(recipe, rows, start)
    if then.get("start") and then["start"] == start.name:  # an older version knew it by its name
        then["start"] = start.weights
    # Words that the run did not know of, a later version's, have their defaults and change nothing.
    differ = [name for name, value in then.items() if now.get(name) != value and name != STARTED]
    # A model to begin from brings its text and shape along: what differs follows from it.
    if "start" in differ:
        differ = [name for name in differ if name in ("start", "training rows", "seed")]
    if not differ:
        return
    told = "; ".join(_told(name, then, now) for name in differ)
    raise RecipeError(
        f"{out} holds a run that was begun differently: {told}. "
        "Give what it was begun with to go on with it, or another output folder for a new run."
    )


def _told(name: str, then: dict[str, Any], now: dict[str, Any]) -> str:
    if name == "training rows":
        return "other training rows"
    if name == "start":
        was, now_is = (
            f"{called} ({each[name]})"
            if (called := each.get(STARTED)) not in (None, "", each[name])
            else each[name]
            for each in (then, now)
        )
    else:
        was, now_is = then[name], now.get(name)
    none = ("", None)
    return f"{name} was {'none' if was in none else was}, is {'none' if now_is in none else now_is}"


def _kept(file: Path) -> dict[str, Any]:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{file} must say what the run was begun with; it cannot be read: {error}."
        ) from error
    if not isinstance(kept, dict):
        raise CheckpointError(f"{file} must say what the run was begun with; it holds other JSON.")
    return kept


def _origin(recipe: Recipe, rows: Rows, start: Start) -> dict[str, Any]:
    text, shape = asdict(recipe.text), asdict(recipe.model)
    if (
        start.model is not None
    ):  # its own tokenizers and shape are taken, whatever the recipe says, but for dropout
        text, shape = {"window": recipe.text.window}, {"dropout": recipe.model.dropout}
    return {
        "start": start.weights,
        STARTED: start.name,
        "training rows": _digest(rows),
        "seed": recipe.training.seed,
        **{f"[text] {word}": value for word, value in text.items()},
        **{f"[model] {word}": value for word, value in shape.items()},
    }


def _digest(rows: Rows) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()
