"""What differs between tasks: reading data, building the model, measuring it.

PairTask        source text → target text
  PronounceTask   letters → sounds
  TranslateTask   one language → another
LanguageTask    text → its next token
ClassifyTask    text → one of several classes
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from limelight.errors import InputError, RecipeError
from limelight.modules.attention import Role
from limelight.modules.embeddings import TokenEmbedding
from limelight.modules.model_io import SavedModel, architecture, build
from limelight.modules.word_vectors import WordVectors
from limelight.predicting.predictor import Predictor
from limelight.recipes.data_rows import DataPart, few, find_part
from limelight.recipes.metrics import (
    accuracy,
    bleu,
    chrf,
    macro_f1,
    pronunciation_errors,
    references_of,
)
from limelight.recipes.recipe import Recipe
from limelight.text.decoding import trimmed
from limelight.text.lookalikes import told_apart, twins
from limelight.text.readers import read_labelled, read_pairs, read_texts
from limelight.text.tokenizers import Tokenizer
from limelight.training.batches import BatchSampler, Dataset, LabelledTexts, Pairs, TextChunks
from limelight.training.loop import Evaluation, loss_of

Rows = list[tuple[str, str]]


class Task(ABC):
    """One recipe bound to what it needs to be trained and judged."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    # ---- must give --------------------------------------------------------------------------------

    role: ClassVar[Role]
    """What its models do with a text."""
    endings: ClassVar[tuple[str, ...]]
    """Of the files that a data folder may hold a part in; "" is a folder of text files."""

    @abstractmethod
    def rows(self, path: Path) -> Rows:
        """The rows of a file."""

    @abstractmethod
    def examples(self, saved: SavedModel, rows: Rows) -> Dataset:
        """Rows as token ids."""

    @abstractmethod
    def judge(self, saved: SavedModel, rows: Rows) -> Evaluation:
        """The task's own measures of a model on rows it was not trained on; greedy search."""

    # ---- may give ---------------------------------------------------------------------------------

    def tokenizers(self, rows: Rows) -> tuple[Tokenizer, Tokenizer]:
        """Fresh ones for these training rows, for what goes in and what comes out; one for both unless given."""
        text = self.recipe.text
        tokenizer = Tokenizer.train([source for source, _ in rows], text.source, text.size)
        return tokenizer, tokenizer

    def classes(self, rows: Rows) -> tuple[str, ...]:
        """Those that these rows name; none unless given."""
        return ()

    # ---- inherits ---------------------------------------------------------------------------------

    def part(self, folder: Path, part: str) -> DataPart:
        """Where the rows of `train`, `valid` or `test` stand in a data folder. Raises TextError where that is not
        one file."""
        return find_part(folder, part, self.endings)

    def read(self, folder: Path, part: str) -> Rows:
        """The rows of `train`, `valid` or `test` in a data folder."""
        return self.rows(self.part(folder, part).path)

    def new(self, rows: Rows) -> SavedModel:
        """Fresh tokenizers for these training rows and a fresh model for them."""
        classes, (source, target) = self.classes(rows), self.tokenizers(rows)
        shape, sizes = self.recipe.model, (len(source), len(target))
        kind, window = architecture(self.role, shape), self.recipe.text.window
        model = build(kind, shape, *sizes, source is target, len(classes), window)
        self.start_table(model, source)
        prediction = {} if classes else asdict(self.recipe.prediction)  # a class is not searched for
        return SavedModel(self.recipe.task, model, source, target, classes, prediction)

    def loss(self, saved: SavedModel, rows: Rows) -> float:
        """Mean cross-entropy a label, in nats, without smoothing or dropout."""
        return mean_loss(saved.model, self.examples(saved, rows), self.recipe.training.tokens)

    def start_table(self, model: nn.Module, tokenizer: Tokenizer) -> None:
        """Start the source's embedding table from the word vectors that the recipe names, if it names any."""
        path, width = self.recipe.text.vectors, self.recipe.model.width
        if not path:
            return
        vectors = WordVectors.load(path)
        if vectors.vectors.shape[1] != width:
            raise RecipeError(
                f"The vectors must be as wide as the model; {path} has {vectors.vectors.shape[1]} numbers a word, "
                f"[model] says width = {width}. Make them with: limelight embed train --width {width}"
            )
        names = _TokenNames(tokenizer, any(word.startswith(SPACE_BEFORE) for word in vectors.words))
        source_table = next(module for module in model.modules() if isinstance(module, TokenEmbedding))
        source_table.start_from(vectors.embedding_table(names, self.recipe.training.seed).table)


SPACE_BEFORE = "▁"


@dataclass(frozen=True)
class _TokenNames:
    """The names of a tokenizer's tokens as word vectors know them.

    Vectors of words have no sign for the space before a word, so a bpe piece that begins a word is looked up
    without it, and a piece from within a word has none. Vectors of tokens are looked up as they are.
    """

    tokenizer: Tokenizer
    of_tokens: bool

    def __len__(self) -> int:
        return len(self.tokenizer)

    def token(self, id: int) -> str:
        name = self.tokenizer.token(id)
        if self.of_tokens or self.tokenizer.kind != "bpe":
            return name
        return name[1:] if name.startswith(SPACE_BEFORE) else f" {name}"  # no word has a space in it


@torch.no_grad()
def mean_loss(model: nn.Module, examples: Dataset, tokens: int) -> float:
    """Mean cross-entropy a label, in nats, over all examples."""
    device = next(model.parameters()).device
    total, count = 0.0, 0
    for rows in BatchSampler(examples.lengths(), tokens).epoch(0):
        batch = examples.batch(rows).to(device)
        total += loss_of(model(**batch.inputs), batch.labels).item()
        count += batch.tokens
    return total / max(count, 1)


class PairTask(Task):
    """Source text → target text, by an encoder-decoder."""

    role = "pairs"
    endings = (".tsv",)

    def rows(self, path: Path) -> Rows:
        return read_pairs(path)

    def tokenizers(self, rows: Rows) -> tuple[Tokenizer, Tokenizer]:
        text = self.recipe.text
        sources, targets = [source for source, _ in rows], [target for _, target in rows]
        if text.shared:
            shared = Tokenizer.train(sources + targets, text.source, text.size)
            return shared, shared
        return (
            Tokenizer.train(sources, text.source, text.size),
            Tokenizer.train(targets, text.target, text.size),
        )

    def examples(self, saved: SavedModel, rows: Rows) -> Pairs:
        sources = saved.source.encode_batch([source for source, _ in rows])
        targets = saved.target.encode_batch([target for _, target in rows])
        return Pairs([encoded.ids for encoded in sources], [encoded.ids for encoded in targets])

    def answers(self, saved: SavedModel, sources: list[str]) -> list[str]:
        search = self.recipe.prediction
        found = Predictor(saved).predict(
            sources, beam=1, length_penalty=search.length_penalty, longest=search.longest
        )
        return [prediction.text for prediction in found]


class PronounceTask(PairTask):
    """Letters → sounds, judged by word and phoneme error rate."""

    def judge(self, saved: SavedModel, rows: Rows) -> Evaluation:
        references = references_of(rows)
        answers = self.answers(saved, list(references))
        wer, per = pronunciation_errors(answers, list(references.values()))
        measures = {"loss": self.loss(saved, rows), "word error rate": wer, "phoneme error rate": per}
        return Evaluation(measures, -wer)


class TranslateTask(PairTask):
    """One language → another, judged by BLEU and chrF."""

    def judge(self, saved: SavedModel, rows: Rows) -> Evaluation:
        answers = self.answers(saved, [source for source, _ in rows])
        references = [target for _, target in rows]
        score = bleu(answers, references)
        measures = {"loss": self.loss(saved, rows), "BLEU": score, "chrF": chrf(answers, references)}
        return Evaluation(measures, score)


class LanguageTask(Task):
    """Running text → its next token, judged by perplexity.

    The data folder holds train.txt and valid.txt, or folders `train/` and `valid/` of text files.
    """

    role = "language"
    endings = ("", ".txt")

    def rows(self, path: Path) -> Rows:
        return [(text, "") for text in read_texts(path).values()]

    def examples(self, saved: SavedModel, rows: Rows) -> TextChunks:
        documents = saved.source.encode_batch([text for text, _ in rows])
        return TextChunks.cut([document.ids for document in documents], self.recipe.text.window)

    def judge(self, saved: SavedModel, rows: Rows) -> Evaluation:
        loss = self.loss(saved, rows)
        return Evaluation({"loss": loss, "perplexity": math.exp(min(loss, 700.0))}, -loss)


class ClassifyTask(Task):
    """Text → one of several classes, judged by accuracy and macro F1. Rows are text, tab, class; or JSON lines
    with "text" and "label" in train.jsonl and valid.jsonl."""

    role = "classes"
    endings = (".jsonl", ".tsv")

    def rows(self, path: Path) -> Rows:
        if path.suffix != ".jsonl":
            return read_pairs(path)
        return [(trimmed(text), label) for text, label in read_labelled(path)]

    def classes(self, rows: Rows) -> tuple[str, ...]:
        classes = tuple(sorted({label for _, label in rows}))
        if len(classes) < 2:
            raise InputError(
                f"Classification needs at least two classes in the training data; got {list(classes)}."
            )
        for _, twin in twins(classes):
            raise InputError(
                f"Two classes of the training data look alike: {twin!r}. {told_apart(twin, classes)}"
            )
        return classes

    def examples(self, saved: SavedModel, rows: Rows) -> LabelledTexts:
        number = {label: place for place, label in enumerate(saved.classes)}
        for _, label in rows:
            if label not in number:
                raise InputError(
                    f"The class {label!r} is not one that the model knows: {few(saved.classes)}. "
                    f"{told_apart(label, saved.classes)}".rstrip()
                )
        texts = saved.source.encode_batch([text for text, _ in rows])
        return LabelledTexts([encoded.ids for encoded in texts], [number[label] for _, label in rows])

    def judge(self, saved: SavedModel, rows: Rows) -> Evaluation:
        answers = [prediction.text for prediction in Predictor(saved).predict([text for text, _ in rows])]
        labels = [label for _, label in rows]
        share = accuracy(answers, labels)
        measures = {"loss": self.loss(saved, rows), "accuracy": share, "macro F1": macro_f1(answers, labels)}
        return Evaluation(measures, share)


TASKS: dict[str, type[Task]] = {
    "pronounce": PronounceTask,
    "translate": TranslateTask,
    "language": LanguageTask,
    "classify": ClassifyTask,
}
