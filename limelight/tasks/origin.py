"""What a run was begun with: told in its card, kept beside it, and the same when it is gone on with.

`origin.json` in the run's folder holds a digest of the training rows, the recipe's [text] and [model], and the
name of the model that the run began from. The words of [training] are not in it: a run may go on to more updates.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from limelight.errors import RecipeError
from limelight.files import write_text
from limelight.modules.recurrent import Recurrence
from limelight.modules.saved import SavedModel, load_model
from limelight.modules.transformer import Shape
from limelight.tasks.recipe import Recipe, Search, changed
from limelight.tasks.task import Rows
from limelight.tasks.transfer import NEW_OUTPUT_RATE

ORIGIN = "origin.json"


@dataclass(frozen=True)
class Start:
    """The model that a run begins from, and what to call it; None and "" for a fresh one."""

    model: SavedModel | None = None
    name: str = ""

    @classmethod
    def of(cls, start: SavedModel | str | Path | None) -> Start:
        """A model by its name or folder, or one that is loaded already: that one is known by its weights."""
        if start is None:
            return cls()
        if isinstance(start, SavedModel):
            digest = hashlib.sha256()
            for parameter in start.model.parameters():
                digest.update(parameter.detach().cpu().contiguous().float().numpy().tobytes())
            return cls(start, f"model-{digest.hexdigest()[:12]}")
        return cls(load_model(start), str(start))


def effective(recipe: Recipe, saved: SavedModel, start: Start) -> Recipe:
    """The recipe with what a run really has: its model's shape, and that of a `start`, its tokenizers and search;
    the rate of a last layer that is new."""
    recipe = replace(recipe, model=cast(Shape | Recurrence, saved.model.shape))
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
    search = {word.name for word in fields(Search)} & saved.prediction.keys()
    prediction = replace(recipe.prediction, **{name: saved.prediction[name] for name in search})
    return replace(recipe, text=text, prediction=prediction)


def keep(out: Path, recipe: Recipe, rows: Rows, start: Start) -> None:
    """Write what a new run in `out` is begun with."""
    write_text(out / ORIGIN, json.dumps(_origin(recipe, rows, start), indent=1) + "\n")


def check_same(out: Path, recipe: Recipe, rows: Rows, start: Start) -> None:
    """Raise RecipeError where the run in `out` was begun with something else; a run that kept nothing may go on."""
    file = out / ORIGIN
    if not file.is_file():
        return
    then, now = json.loads(file.read_text(encoding="utf-8")), _origin(recipe, rows, start)
    # Words that the run did not know of, a later version's, have their defaults and change nothing.
    differ = [name for name, value in then.items() if now.get(name) != value]
    # A model to begin from brings its text and shape along: what differs follows from it.
    if "start" in differ:
        differ = [name for name in differ if name in ("start", "training rows")]
    if not differ:
        return
    told = "; ".join(
        "other training rows"
        if name == "training rows"
        else f"{name} was {then[name] or 'none'!s}, is {now.get(name) or 'none'!s}"
        for name in differ
    )
    raise RecipeError(
        f"{out} holds a run that was begun differently: {told}. "
        "Give what it was begun with to go on with it, or another output folder for a new run."
    )


def _origin(recipe: Recipe, rows: Rows, start: Start) -> dict[str, Any]:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row).encode())
    text, shape = asdict(recipe.text), asdict(recipe.model)
    if (
        start.model is not None
    ):  # its own tokenizers and shape are taken, whatever the recipe says, but for dropout
        text, shape = {"window": recipe.text.window}, {"dropout": recipe.model.dropout}
    return {
        "start": start.name,
        "training rows": digest.hexdigest(),
        **{f"[text] {word}": value for word, value in text.items()},
        **{f"[model] {word}": value for word, value in shape.items()},
    }
