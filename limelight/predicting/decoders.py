"""A model that writes one token at a time, as search and sampling see it.

A decoder gives the scores of the next token for every row of its batch, and lets rows be kept, dropped and
repeated. It hides what the model remembers: key/value caches here, hidden states in a recurrent network.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from limelight.matrix import masks
from limelight.modules.transformer import LanguageModel, Transformer


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
        longest = self.memory_BME.shape[1]
        mask = None if bool((self.lengths_B == longest).all()) else masks.lengths(key=self.lengths_B)
        return self.model.decode(tokens_RN, self.memory_BME, mask, self.cache)[:, -1]

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
        return self.model(tokens_RN, self.cache)[:, -1]

    def select(self, rows: Tensor, same_source: bool) -> None:
        self.cache.select(rows)
