"""Examples and the order in which training sees them.

The order is a pure function of (seed, epoch): a run that was killed finds its place again by two numbers.
Batches hold examples of nearly equal length, counted in tokens rather than rows, so that little is padding;
where every source of a batch is equally long, which is most of the time, the model needs no padding mask.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from limelight.errors import InputError
from limelight.text.tokenizers import END, PAD, START

IGNORE = -100
"""The label of padding: it takes no part in the loss."""


@dataclass(frozen=True)
class Batch:
    """What one forward is given, and what it should have said.

    `labels` is (B, N) token ids with IGNORE where there is padding, or (B,) classes; `tokens` is the number of
    labels that count.
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    tokens: int

    def to(self, device: torch.device) -> Batch:
        moved = {name: tensor.to(device) for name, tensor in self.inputs.items()}
        return Batch(moved, self.labels.to(device), self.tokens)


class Dataset(ABC):
    """What a data set must give to be trained on."""

    @abstractmethod
    def lengths(self) -> list[tuple[int, ...]]:
        """For each example its length in tokens on every side: (source, target) or (text,)."""

    @abstractmethod
    def batch(self, rows: Sequence[int]) -> Batch:
        """These examples, padded on the right to the longest of them."""


@dataclass(frozen=True)
class Pairs(Dataset):
    """A source and a target text each, as token ids without START and END, for an encoder-decoder."""

    sources: list[list[int]]
    targets: list[list[int]]

    def lengths(self) -> list[tuple[int, ...]]:
        return [
            (len(source) + 1, len(target) + 1)
            for source, target in zip(self.sources, self.targets, strict=True)
        ]

    def batch(self, rows: Sequence[int]) -> Batch:
        sources = [self.sources[row] + [END] for row in rows]
        targets = [self.targets[row] for row in rows]
        lengths = torch.tensor([len(source) for source in sources])
        labels = padded([target + [END] for target in targets], IGNORE)
        inputs = {
            "source": padded(sources),
            "target": padded([[START] + target for target in targets]),
            "source_lengths": lengths,
        }
        return Batch(inputs, labels, int((labels != IGNORE).sum()))


@dataclass(frozen=True)
class TextChunks(Dataset):
    """Pieces of running text, as token ids, for a language model: each predicts its own next tokens."""

    texts: list[list[int]]

    @classmethod
    def cut(cls, documents: Sequence[list[int]], longest: int) -> TextChunks:
        """Documents joined by END and cut into pieces of `longest` tokens, each beginning with START."""
        if longest < 2:
            raise InputError(f"A piece must hold START and one token at least; got longest = {longest}.")
        stream = [token for document in documents for token in (*document, END)]
        step = longest - 1
        return cls([stream[i : i + step] for i in range(0, len(stream), step)])

    def lengths(self) -> list[tuple[int, ...]]:
        return [(len(text),) for text in self.texts]

    def batch(self, rows: Sequence[int]) -> Batch:
        texts = [self.texts[row] for row in rows]
        labels = padded(texts, IGNORE)
        return Batch(
            {"target": padded([[START] + text[:-1] for text in texts])}, labels, sum(map(len, texts))
        )


@dataclass(frozen=True)
class LabelledTexts(Dataset):
    """A text, as token ids, and its class, for a classifier."""

    texts: list[list[int]]
    classes: list[int]

    def lengths(self) -> list[tuple[int, ...]]:
        return [(len(text) + 1,) for text in self.texts]

    def batch(self, rows: Sequence[int]) -> Batch:
        texts = [self.texts[row] + [END] for row in rows]
        inputs = {"source": padded(texts), "source_lengths": torch.tensor([len(text) for text in texts])}
        return Batch(inputs, torch.tensor([self.classes[row] for row in rows]), len(rows))


def padded(rows: Sequence[Sequence[int]], value: int = PAD) -> Tensor:
    """Rows of different lengths as one (B, longest) tensor.

    >>> padded([[5, 6, 7], [8]]).tolist()
    [[5, 6, 7], [8, 0, 0]]
    """
    longest = max(map(len, rows), default=0)
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows], dtype=torch.long)


@dataclass(frozen=True)
class BatchSampler:
    """Which examples make up which batch of which epoch.

    `tokens` bounds a batch: its rows times the sum of its longest sides, padding included. One example longer
    than that is a batch by itself.
    """

    lengths: list[tuple[int, ...]] = field(repr=False)
    tokens: int
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.lengths:
            raise InputError("Training needs at least one example; the data set is empty.")
        if self.tokens < 1:
            raise InputError(f"A batch must hold at least one token; got tokens = {self.tokens}.")

    def epoch(self, number: int, without: Collection[int] = ()) -> list[list[int]]:
        """The batches of one epoch as lists of example numbers: every example once, batches shuffled.

        Those in `without` were seen in this epoch already, in batches of another order.
        """
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + number) % 2**64)
        shuffled = torch.randperm(len(self.lengths), generator=generator).tolist()
        if without:
            shuffled = [row for row in shuffled if row not in without]
        by_length = sorted(shuffled, key=self.lengths.__getitem__)
        batches = self._cut(by_length)
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]

    def _cut(self, rows: list[int]) -> list[list[int]]:
        """Cut where the budget is full, and, once a batch is half full, where the first side grows."""
        batches: list[list[int]] = []
        batch: list[int] = []
        longest: tuple[int, ...] = ()
        for row in rows:
            length = self.lengths[row]
            grown = tuple(map(max, longest, length)) if batch else length
            full = len(batch) + 1, sum(grown)
            half_full = 2 * len(batch) * sum(longest) >= self.tokens
            if batch and (full[0] * full[1] > self.tokens or (half_full and length[0] != longest[0])):
                batches.append(batch)
                batch, grown = [], length
            batch.append(row)
            longest = grown
        return [*batches, batch] if batch else batches
