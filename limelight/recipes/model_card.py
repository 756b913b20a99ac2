"""Write the card of a trained model: data, licence, recipe, cost, results, limits.

It is a beginning, in Markdown: `card.md` in the model's folder is meant to be edited by whoever passes it on.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from torch import nn

from limelight.modules.model_io import SavedModel
from limelight.modules.recurrent import RecurrentConfig
from limelight.modules.transformer import Stack, TransformerConfig
from limelight.recipes.recipe import Recipe, changes, rendered
from limelight.training.loop import COUNTERS

NOTICE = "NOTICE"
"""The file beside the data that says whose it is."""

OPTIONS = {"steps", "rate", "seed"}
"""The words of [training] that `limelight train` has an option for."""


def trained_card(
    saved: SavedModel, data: Path, recipe: Recipe, line: str, start: str = "", went: Sequence[str] = ()
) -> str:
    """Markdown for a model that was just trained on the folder `data` by the command `line`.

    `recipe` has the settings as they were, whatever its file says; `start` names the model it began from; `went` are
    sentences about how the training went, where it did not make all its updates with one set of settings.
    """
    training = saved.training
    results = "\n".join(f"- {name}: {value:.4g}" for name, value in _measures(training["held out"]).items())
    classes = f" Classes: {', '.join(saved.classes)}." if saved.classes else ""
    cost = (
        f"Cost: {training['updates']:,} updates, {training['tokens']:,} labels, "
        f"{training['CPU minutes']:.1f} CPU-minutes."
    )
    kept = training["held out"].get("step", 0)
    course = f"\n\n{' '.join(went)}" if went else ""
    begun = f"\n\nStarted from {start}, whose shape and tokenizers it keeps." if start else ""
    return f"""\
# {saved.task}

{saved.parameters:,} parameters: {_shape(saved.model)}.{classes}{begun}

Command: `{line}`{_changed(recipe)}

Data: `{data}`, {training["rows"]:,} rows. Licence: {_licence(data)}

{cost}{course}

Held-out results of update {kept:,}, which was kept (`{data}`, part `valid`, greedy search):

{results}

Limits: it was chosen by these held-out rows and measured on nothing else. What differs from its data, in subject,
language or length, was not tried.

```toml
{rendered(recipe).strip()}
```
"""


def averaged_card(saved: SavedModel, data: Path, line: str) -> str:
    """Markdown for the mean of some models' weights, made by the command `line` and judged on the folder `data`."""
    training = saved.training
    rows = "\n".join(
        f"- {name}: {', '.join(f'{measure} {value:.4g}' for measure, value in _measures(held_out).items())}"
        for name, held_out in {**training["mean of"], "their mean": training["held out"]}.items()
    )
    return f"""\
# {saved.task}

{saved.parameters:,} parameters: {_shape(saved.model)}. The mean of the weights of {len(training["mean of"])} models.

Command: `{line}`

Data: that of the models, {training["rows"]:,} rows; judged on `{data}`. Licence: {_licence(data)}

Cost: {training["updates"]:,} updates, {training["tokens"]:,} labels, {training["CPU minutes"]:.1f} CPU-minutes, of
all models together, what they began from not counted.

Held-out results (`{data}`, part `valid`, greedy search):

{rows}

Limits: those of the models; it was measured on nothing but these held-out rows.
"""


def _measures(held_out: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in held_out.items() if name not in COUNTERS}


def _shape(model: nn.Module) -> str:
    """What the model is made of, in a line or two."""
    shape = cast(TransformerConfig | RecurrentConfig, model.shape)
    if isinstance(shape, RecurrentConfig):
        attention = {"none": "no", "bahdanau": "Bahdanau's", "luong": "Luong's"}[shape.attention]
        layers = f"{shape.encoder_layers} + {shape.decoder_layers} layers"
        return f"{shape.cell.upper()}, {layers}, width {shape.width}, {attention} attention"
    stacks = ", ".join(
        f"{name} with {len(stack.blocks)} layer{'s' * (len(stack.blocks) > 1)}"
        for name, stack in model.named_children()
        if isinstance(stack, Stack)
    )
    return f"{stacks}, width {shape.width}, {shape.heads} heads,\n{shape.positions} positions"


def command(recipe: Recipe, data: Path, out: Path, start: str = "") -> str:
    """The line that trains this again: by the recipe's name and options where these say it, else by the run's own
    recipe.toml."""
    differ = changes(recipe) if recipe.name else {}
    options = differ.get("training", {})
    by_name = recipe.name and differ.keys() <= {"training"} and options.keys() <= OPTIONS
    words = ["limelight", "train", recipe.name if by_name else str(out / "recipe.toml")]
    words += ["--data", str(data), "--out", str(out)]
    words += ["--from", start] if start else []
    words += [word for name, value in options.items() if by_name for word in (f"--{name}", str(value))]
    return shlex.join(words)


def _changed(recipe: Recipe) -> str:
    differ = changes(recipe) if recipe.source else {}
    listed = [f"{name} = {value}" for words in differ.values() for name, value in words.items()]
    return f"\n\nChanged from the recipe's file: {', '.join(listed)}." if listed else ""


def _licence(data: Path) -> str:
    notice = data / NOTICE
    if not notice.is_file():
        return f"that of the data, of which the folder says nothing (it has no `{NOTICE}`)."
    lines = notice.read_text(encoding="utf-8", errors="replace").splitlines()
    quoted = "\n".join(f"> {line}".rstrip() for line in lines)
    return f"that of the data, whose `{NOTICE}` says\n\n{quoted}"
