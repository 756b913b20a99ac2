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

from limelight.errors import InputError
from limelight.text.tokenizers import PAD
from limelight.training.batches import IGNORE, Batch, Dataset

KEYS, VALUES, NOISE = 16, 16, 16
FIRST_RECORD = PAD + 1
FIRST_QUESTION = FIRST_RECORD + KEYS * VALUES
FIRST_NOISE = FIRST_QUESTION + KEYS
FIRST_VALUE = FIRST_NOISE + NOISE
VOCABULARY = FIRST_VALUE + VALUES
DRAWS = 4
"""Random numbers for each token: its noise, and the order of keys, values and places."""
LENGTHS = 48
"""So many different lengths has training, so that a batch is of one length."""


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
    draws_BDN = torch.rand(count, DRAWS, max(length, KEYS), generator=generator)
    return _laid(draws_BDN, length, torch.full((count,), records), distance)


def _laid(draws_BDN: Tensor, length: int, records_B: Tensor, distance: int | None = None) -> Recall:
    """Sequences out of random numbers from 0 to 1, each by its own and with its own number of records."""
    noise_BN, keys_BN, values_BN, order_BN = draws_BDN[:, :DRAWS].unbind(1)
    places = length - 1
    most = min(KEYS, places)
    keys_BR = keys_BN[:, :KEYS].argsort(1)[:, :most]
    values_BR = (values_BN[:, :most] * VALUES).long()
    # Random places without repetition; the first record is the asked one.
    order_BP = order_BN[:, :places]
    if distance is not None:
        order_BP[:, places - distance] = -1.0
    places_BR = order_BP.argsort(1)[:, :most]
    ids_BN = FIRST_NOISE + (noise_BN[:, :length] * NOISE).long()
    ids_BN[:, -1] = FIRST_QUESTION + keys_BR[:, 0]
    # What a row has no more of goes to one place too many, which is cut off.
    lost_BR = torch.arange(most) >= records_B[:, None]
    ids_BN = torch.cat([ids_BN, ids_BN[:, :1]], 1)
    ids_BN.scatter_(1, places_BR.masked_fill(lost_BR, length), FIRST_RECORD + keys_BR * VALUES + values_BR)
    return Recall(ids_BN[:, :length], FIRST_VALUE + values_BR[:, 0], places - places_BR[:, 0])


def asked_throughout(one: Recall, draws_BDN: Tensor, share_B1: Tensor) -> tuple[Tensor, Tensor]:
    """The same sequences with a share of the noise turned into questions about records that have come before.

    `draws_BDN` are two random numbers from 0 to 1 for every token: does it ask, and for which record.

    Gives the ids (B, N) and what should be answered at every place (B, N), IGNORE where nothing is asked.
    """
    ids_BN = one.ids_BN.clone()
    labels_BN = torch.full_like(ids_BN, IGNORE)
    labels_BN[:, -1] = one.answers_B
    record_BN = (ids_BN >= FIRST_RECORD) & (ids_BN < FIRST_QUESTION)
    before_BN = record_BN.long().cumsum(1)
    asks_BN = (draws_BDN[:, 0] < share_B1) & ~record_BN & (before_BN > 0)
    asks_BN[:, -1] = False
    # Which one: any of those before; the records of a row in their order stand in a table.
    order_BN = record_BN.int().argsort(dim=1, descending=True, stable=True)
    chosen_BN = (draws_BDN[:, 1] * before_BN).long()
    contents_BN = ids_BN.gather(1, order_BN.gather(1, chosen_BN)) - FIRST_RECORD
    questions_BN = FIRST_QUESTION + contents_BN // VALUES
    return (
        ids_BN.where(~asks_BN, questions_BN),
        labels_BN.where(~asks_BN, FIRST_VALUE + contents_BN % VALUES),
    )


@dataclass(frozen=True)
class RecallExamples(Dataset):
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
        by_length: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            by_length.setdefault(self._length(row), []).append(place)
        ids_BN = torch.full((len(rows), max(by_length)), PAD)
        labels_BN = torch.full_like(ids_BN, IGNORE)
        for length, places in by_length.items():
            ids_BN[places, :length], labels_BN[places, :length] = self._of_one_length(
                [rows[place] for place in places], length
            )
        return Batch({"target": ids_BN}, labels_BN, int((labels_BN != IGNORE).sum()))

    def _of_one_length(self, rows: Sequence[int], length: int) -> tuple[Tensor, Tensor]:
        """Each row from random numbers of its own, so that it is the same whatever it is batched with."""
        width = max(length, KEYS)
        draws_BDN = torch.stack(
            [
                torch.rand(
                    DRAWS + 3, width, generator=torch.Generator().manual_seed(self.seed * 1_000_003 + row)
                )
                for row in rows
            ]
        )
        records_B = 1 + (draws_BDN[:, -1, 0] * self.records).long()
        share_B1 = 0.5 * draws_BDN[:, -1, 1:2]
        one = _laid(draws_BDN, length, records_B.clamp_max(length - 1))
        return asked_throughout(one, draws_BDN[:, DRAWS : DRAWS + 2, :length], share_B1)

    def _length(self, row: int) -> int:
        share = (row * 0.6180339887498949) % 1.0  # the golden ratio spreads any number of rows evenly
        share = round(share * (LENGTHS - 1)) / (LENGTHS - 1)
        return round(math.exp(math.log(self.shortest) + share * math.log(self.longest / self.shortest)))
