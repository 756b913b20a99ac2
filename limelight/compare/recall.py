"""Associative recall: records of a key and a value lie in noise, and the last token asks for one key's value.

    noise … (k3,v7) … noise … (k1,v2) … noise … k3?   →   v7

One record is one token, so that to read it takes no skill; to answer, two tokens must be related over a known
distance, and among the other records. A network that guesses is right once in `VALUES` times. Training asks
many questions a sequence, the test one. The task goes back to Graves et al. 2014 (arXiv:1410.5401, §4.3); with
many questions it is that of Arora et al. 2023 (arXiv:2312.04927).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from limelight.errors import InputError
from limelight.text.tokenizers import PAD
from limelight.training.batches import IGNORE, Batch, Examples

KEYS, VALUES, NOISE = 16, 16, 16
FIRST_RECORD = PAD + 1
FIRST_QUESTION = FIRST_RECORD + KEYS * VALUES
FIRST_NOISE = FIRST_QUESTION + KEYS
FIRST_VALUE = FIRST_NOISE + NOISE
VOCABULARY = FIRST_VALUE + VALUES


@dataclass(frozen=True)
class Recall:
    """Sequences of one length, the last token the question: ids (B, N), answers (B,) and how far the asked
    record is from the question (B,), in tokens."""

    ids_BN: Tensor
    answers_B: Tensor
    distances_B: Tensor


def recall(
    count: int, length: int, records: int, generator: torch.Generator, distance: int | None = None
) -> Recall:
    """`count` sequences with so many records each, of different keys; the asked one is `distance` tokens before the
    question, or anywhere.

    Raises InputError where the records do not fit into the length, or are more than there are keys.
    """
    places = length - 1
    if not 1 <= records <= min(KEYS, places):
        raise InputError(
            f"records must be from 1 to {KEYS} and fit before the question; got {records} in {places} places."
        )
    if distance is not None and not 1 <= distance <= places:
        raise InputError(f"distance must be from 1 to {places}, the tokens before it; got {distance}.")
    ids_BN = torch.randint(FIRST_NOISE, FIRST_NOISE + NOISE, (count, length), generator=generator)
    keys_BR = torch.rand(count, KEYS, generator=generator).argsort(1)[:, :records]
    values_BR = torch.randint(VALUES, (count, records), generator=generator)
    # Random places without repetition; the first record is the asked one.
    order_BP = torch.rand(count, places, generator=generator)
    if distance is not None:
        order_BP[:, places - distance] = -1.0
    places_BR = order_BP.argsort(1)[:, :records]
    ids_BN.scatter_(1, places_BR, FIRST_RECORD + keys_BR * VALUES + values_BR)
    ids_BN[:, -1] = FIRST_QUESTION + keys_BR[:, 0]
    return Recall(ids_BN, FIRST_VALUE + values_BR[:, 0], places - places_BR[:, 0])


def asked_throughout(one: Recall, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The same sequences with a `share` of the noise turned into questions about records that have come before.

    Gives the ids (B, N) and what should be answered at every place (B, N), IGNORE where nothing is asked.
    """
    ids_BN = one.ids_BN.clone()
    labels_BN = torch.full_like(ids_BN, IGNORE)
    labels_BN[:, -1] = one.answers_B
    record_BN = (ids_BN >= FIRST_RECORD) & (ids_BN < FIRST_QUESTION)
    before_BN = record_BN.long().cumsum(1)
    asks_BN = (torch.rand(ids_BN.shape, generator=generator) < share) & ~record_BN & (before_BN > 0)
    asks_BN[:, -1] = False
    # Which one: any of those before; the records of a row in their order stand in a table.
    order_BN = record_BN.int().argsort(dim=1, descending=True, stable=True)
    chosen_BN = (torch.rand(ids_BN.shape, generator=generator) * before_BN).long()
    contents_BN = ids_BN.gather(1, order_BN.gather(1, chosen_BN)) - FIRST_RECORD
    questions_BN = FIRST_QUESTION + contents_BN // VALUES
    return (
        ids_BN.where(~asks_BN, questions_BN),
        labels_BN.where(~asks_BN, FIRST_VALUE + contents_BN % VALUES),
    )


@dataclass(frozen=True)
class RecallExamples(Examples):
    """Training sequences, made when they are asked for: lengths from `shortest` to `longest`, as many short ones as
    long ones by their logarithm, with 1 to `records` records, and questions in up to half of the noise. Nothing
    is stored, and a number is always the same sequence.
    """

    count: int
    shortest: int
    longest: int
    records: int
    seed: int = 0

    def lengths(self) -> list[tuple[int, ...]]:
        return [(self._length(row),) for row in range(self.count)]

    def batch(self, rows: Sequence[int]) -> Batch:
        """Shorter rows end with padding, which nothing asks about."""
        ids, labels = [], []
        for row in rows:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + row)
            records = int(torch.randint(1, self.records + 1, (), generator=generator))
            share = 0.5 * float(torch.rand((), generator=generator))
            one = recall(1, self._length(row), records, generator)
            ids_BN, labels_BN = asked_throughout(one, share, generator)
            ids.append(ids_BN[0])
            labels.append(labels_BN[0])
        labels_BN = pad_sequence(labels, batch_first=True, padding_value=IGNORE)
        inputs = {"target": pad_sequence(ids, batch_first=True, padding_value=PAD)}
        return Batch(inputs, labels_BN, int((labels_BN != IGNORE).sum()))

    def _length(self, row: int) -> int:
        share = (row * 0.6180339887498949) % 1.0  # the golden ratio spreads any number of rows evenly
        return round(math.exp(math.log(self.shortest) + share * math.log(self.longest / self.shortest)))
