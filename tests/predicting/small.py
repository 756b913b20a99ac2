"""Small models with known tokens, decoders without caches, and the answers that brute force finds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from limelight.modules.model_io import SavedModel
from limelight.modules.transformer import Classifier, LanguageModel, Transformer, TransformerConfig
from limelight.predicting.search import NEVER, Hypothesis
from limelight.text.tokenizers import END, PAD, START, Tokenizer

SHAPE = TransformerConfig(width=20, heads=2, feed_forward=29, encoder_layers=2, decoder_layers=2, dropout=0.1)
VOCABULARY = 7
WORDS = (4, 5, 6)
"""All tokens but the special ones: what answers are made of."""


def encoder_decoder(seed: int = 0) -> Transformer:
    """With sources of eleven tokens, and with scores that are far from even."""
    torch.manual_seed(seed)
    model = Transformer(SHAPE, 11, VOCABULARY).eval()
    with torch.no_grad():
        model.decoder.norm.weight.mul_(2.0)
    return model


def language_model(seed: int = 0) -> LanguageModel:
    torch.manual_seed(seed)
    return LanguageModel(SHAPE, VOCABULARY).eval()


def padded_sources() -> tuple[Tensor, Tensor]:
    """Three sources of different lengths."""
    return torch.tensor([[4, 9, 10, 5, END], [7, 7, END, PAD, PAD], [END] + [PAD] * 4]), torch.tensor(
        [5, 3, 1]
    )


# ── Saved models ──

TEXTS = ["the lime light lights the limelight", "a light in the dark", "dark limes in the light of day"]


def saved(kind: str, seed: int = 0, shape: TransformerConfig = SHAPE) -> SavedModel:
    """A model with tokenizers that were trained on TEXTS."""
    torch.manual_seed(seed)
    source, target = Tokenizer.train(TEXTS, "bpe", 280), Tokenizer.train(TEXTS, "characters")
    prediction = {"beam": 3, "length_penalty": 0.6, "longest": 9}
    if kind == "transformer":
        model = Transformer(shape, len(source), len(target))
        return SavedModel("translate", model, source, target, prediction=prediction)
    if kind == "language":
        return SavedModel(
            "language", LanguageModel(shape, len(target)), target, target, prediction=prediction
        )
    model = Classifier(shape, len(source), 3)
    return SavedModel("classify", model, source, source, ("dull", "fair", "bright"))


# ── Decoders that remember tokens only ──


@dataclass
class Forgetful:
    """Reads everything again at every step: the meaning of a decoder, without caches."""

    model: Transformer | LanguageModel
    source: Tensor | None = None
    lengths: Tensor | None = None
    tokens: Tensor | None = None

    def step(self, tokens_RN: Tensor) -> Tensor:
        self.tokens = tokens_RN if self.tokens is None else torch.cat((self.tokens, tokens_RN), 1)
        if self.source is None:
            return self.model(self.tokens)[:, -1]
        return self.model(self.source, self.tokens, self.lengths)[:, -1]

    def select(self, rows: Tensor, same_source: bool) -> None:
        self.tokens = self.tokens[rows]
        if self.source is not None:
            if same_source:  # then it must make no difference
                assert torch.equal(self.source[rows], self.source)
            self.source, self.lengths = self.source[rows], self.lengths[rows]


# ── Brute force ──


def log_probability(decoder: Forgetful, first: list[int], ids: list[int], complete: bool) -> float:
    """Of one answer, in one forward."""
    fresh = Forgetful(decoder.model, decoder.source, decoder.lengths)
    whole = torch.tensor([[*first, *ids]])
    scores = fresh.model(whole) if fresh.source is None else fresh.model(fresh.source, whole, fresh.lengths)
    scores = scores[0].double()
    scores[:, list(NEVER)] = -math.inf
    logp_NV = scores.log_softmax(-1)[len(first) - 1 :]
    wanted = [*ids, END] if complete else ids
    return float(sum(logp_NV[row, token] for row, token in enumerate(wanted)))


def every_answer(
    decoder: Forgetful, longest: int, length_penalty: float, first: list[int] | None = None
) -> list[Hypothesis]:
    """All answers of at most `longest` tokens (END counted), best first, then all that were cut there."""
    first = first or [START]
    answers = []
    for length in range(1, longest + 1):
        for ids in product(WORDS, repeat=length - 1):
            total = log_probability(decoder, first, list(ids), True)
            answers.append(Hypothesis(list(ids), total, total / ((5 + length) / 6) ** length_penalty))
    for ids in product(WORDS, repeat=longest):
        total = log_probability(decoder, first, list(ids), False)
        answers.append(Hypothesis(list(ids), total, total / ((5 + longest) / 6) ** length_penalty, False))
    return sorted(answers, key=lambda answer: (answer.complete, answer.score), reverse=True)
