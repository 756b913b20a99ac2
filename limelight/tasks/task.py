"""What is different from task to task, and nothing else: reading the data, the model, the measure.

    PairTask       source text → target text      pronounce, translate
    LanguageTask   text → its next token          language
    ClassifyTask   text → one of several classes  classify
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from limelight.errors import TextError
from limelight.modules.saved import SavedModel, build
from limelight.tasks.recipe import Recipe
from limelight.text.readers import read_pairs, read_texts
from limelight.text.tokenizers import Tokenizer
from limelight.training.batches import Examples, Labelled, Order, Pairs, Windows
from limelight.training.loop import Evaluation, loss_of

Rows = list[tuple[str, str]]


class Task(ABC):
    """One recipe bound to what it needs to be trained and judged."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    # ---- must give --------------------------------------------------------------------------------

    @abstractmethod
    def read(self, folder: Path, part: str) -> Rows:
        """The rows of `train`, `valid` or `test` in a data folder."""

    @abstractmethod
    def new(self, rows: Rows) -> SavedModel:
        """Fresh tokenizers for these training rows and a fresh model for them."""

    @abstractmethod
    def examples(self, saved: SavedModel, rows: Rows) -> Examples:
        """Rows as token ids."""

    @abstractmethod
    def judge(self, saved: SavedModel, rows: Rows) -> Evaluation:
        """The task's own measures of a model on rows it was not trained on."""

    # ---- inherits ---------------------------------------------------------------------------------

    def loss(self, saved: SavedModel, rows: Rows) -> float:
        """Mean cross-entropy a label, in nats, without smoothing or dropout."""
        return mean_loss(saved.model, self.examples(saved, rows), self.recipe.training.tokens)


@torch.no_grad()
def mean_loss(model: nn.Module, examples: Examples, tokens: int) -> float:
    """Mean cross-entropy a label, in nats, over all examples."""
    device = next(model.parameters()).device
    total, count = 0.0, 0
    for rows in Order(examples.lengths(), tokens).epoch(0):
        batch = examples.batch(rows).to(device)
        total += loss_of(model(**batch.inputs), batch.labels).item()
        count += batch.tokens
    return total / max(count, 1)


class PairTask(Task):
    """Source text → target text, by an encoder-decoder."""

    def read(self, folder: Path, part: str) -> Rows:
        return _pairs(folder, part)

    def new(self, rows: Rows) -> SavedModel:
        text = self.recipe.text
        sources, targets = [source for source, _ in rows], [target for _, target in rows]
        if text.shared:
            source = target = Tokenizer.train(sources + targets, text.source, text.size)
        else:
            source = Tokenizer.train(sources, text.source, text.size)
            target = Tokenizer.train(targets, text.target, text.size)
        model = build("transformer", self.recipe.model, len(source), len(target), text.shared, 0)
        return SavedModel(self.recipe.task, model, source, target, prediction=asdict(self.recipe.prediction))

    def examples(self, saved: SavedModel, rows: Rows) -> Pairs:
        sources = saved.source.encode_batch([source for source, _ in rows])
        targets = saved.target.encode_batch([target for _, target in rows])
        return Pairs([encoded.ids for encoded in sources], [encoded.ids for encoded in targets])

    def judge(self, saved: SavedModel, rows: Rows) -> Evaluation:
        loss = self.loss(saved, rows)
        return Evaluation({"loss": loss}, -loss)


def _pairs(folder: Path, part: str) -> Rows:
    path = folder / f"{part}.tsv"
    if not path.is_file():
        raise TextError(
            f"The data folder must hold train.tsv and valid.tsv (test.tsv at will); {path} is missing. "
            "`limelight data` makes the default ones."
        )
    return read_pairs(path)


TASKS: dict[str, type[Task]] = {"pronounce": PairTask, "translate": PairTask}
