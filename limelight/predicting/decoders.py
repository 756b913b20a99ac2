"""A model that writes one token at a time, as search and sampling see it.

A decoder gives the scores of the next token for every row of its batch, and lets rows be kept, dropped and
repeated. It hides what the model remembers: key/value caches here, hidden states in a recurrent network.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from limelight.modules.attention import text_keys
from limelight.modules.recurrent import RecurrentLanguageModel, RecurrentState, RecurrentTranslator
from limelight.modules.transformer import LanguageModel, Transformer

READ_AT_ONCE = 1024
"""Tokens of a prompt: beyond a model's window the mask is a table, of so many rows."""


class Decoder(Protocol):
    """What search and sampling need."""

    def step(self, tokens_RN: Tensor) -> Tensor:
        """Read the newest tokens of each row; give the scores of what comes next, (R, V)."""

    def select(self, rows: Tensor, same_source: bool) -> None:
        """Keep these rows, in this order, some perhaps several times.

        `same_source` says that row i of the new batch has the source of row i of the old one.
        """


class TransformerDecoder:
    """The paper's decoder over encoded sources. Each row may have its own source."""

    def __init__(self, model: Transformer, source_BM: Tensor, source_lengths_B: Tensor) -> None:
        self.model = model
        self.memory_BME = model.encode(source_BM, source_lengths_B)
        self.lengths_B = source_lengths_B
        self.cache = model.new_cache()

    def step(self, tokens_RN: Tensor) -> Tensor:
        seen = text_keys(self.lengths_B, self.memory_BME.shape[1])
        return self.model.decode(tokens_RN, self.memory_BME, seen, self.cache)[:, -1]

    def select(self, rows: Tensor, same_source: bool) -> None:
        self.cache.select(rows, memory=not same_source)
        if not same_source:
            self.memory_BME = self.memory_BME.index_select(0, rows)
            self.lengths_B = self.lengths_B.index_select(0, rows)


class LanguageDecoder:
    """A language model. The first step may read a whole prompt, of one length for all rows."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self.cache = model.new_cache()

    def step(self, tokens_RN: Tensor) -> Tensor:
        for piece_RN in tokens_RN.split(READ_AT_ONCE, dim=1):
            last_RE = self.model.read(piece_RN, self.cache)[:, -1]
        return self.model.decoder.embedding.scores(last_RE)

    def select(self, rows: Tensor, same_source: bool) -> None:
        self.cache.select(rows)


class RecurrentDecoder:
    """A recurrent decoder over encoded sources. What it remembers does not grow with what it has written."""

    def __init__(self, model: RecurrentTranslator, source_BM: Tensor, source_lengths_B: Tensor) -> None:
        self.model = model
        self.memory_BME, self.state = model.encode(source_BM, source_lengths_B)
        self.lengths_B = source_lengths_B

    def step(self, tokens_RN: Tensor) -> Tensor:
        seen = text_keys(self.lengths_B, self.memory_BME.shape[1])
        return self.model.decode(tokens_RN, self.memory_BME, self.state, seen)[:, -1]

    def select(self, rows: Tensor, same_source: bool) -> None:
        self.state.select(rows)
        if not same_source:
            self.memory_BME = self.memory_BME.index_select(0, rows)
            self.lengths_B = self.lengths_B.index_select(0, rows)


class RecurrentLanguageDecoder:
    """A recurrent language model; the first step may read a whole prompt."""

    def __init__(self, model: RecurrentLanguageModel) -> None:
        self.model = model
        self.state: RecurrentState | None = None

    def step(self, tokens_RN: Tensor) -> Tensor:
        if self.state is None:
            self.state = self.model.new_state(len(tokens_RN))
        return self.model(tokens_RN, self.state)[:, -1]

    def select(self, rows: Tensor, same_source: bool) -> None:
        if self.state is not None:
            self.state.select(rows)


def pair_decoder(model: nn.Module, source_BM: Tensor, source_lengths_B: Tensor) -> Decoder:
    """The decoder of a model that maps a source to a target."""
    if isinstance(model, RecurrentTranslator):
        return RecurrentDecoder(model, source_BM, source_lengths_B)
    assert isinstance(model, Transformer)
    return TransformerDecoder(model, source_BM, source_lengths_B)


def language_decoder(model: nn.Module) -> Decoder:
    """The decoder of a language model."""
    if isinstance(model, RecurrentLanguageModel):
        return RecurrentLanguageDecoder(model)
    assert isinstance(model, LanguageModel)
    return LanguageDecoder(model)
