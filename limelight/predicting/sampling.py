"""Sampling: answers drawn at random from what the model holds likely, token by token.

The scores are divided by the temperature; of what remains, `top_k` keeps the k likeliest tokens and `top_p` the
smallest set whose probability reaches p (nucleus sampling, Holtzman et al. 2020, arXiv:1904.09751).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limelight.checked import checked_class
from limelight.errors import InputError, check_number, check_whole
from limelight.predicting.decoders import Decoder
from limelight.predicting.search import LONGEST, MOST_LONGEST, NEVER, all_numbers
from limelight.text.tokenizers import END

MOST_TEMPERATURE = 1e6
"""At which every token is about as likely as any other."""
MOST_SEED = 10**100
SEEDS = 2**64
"""So many differ; larger ones begin anew."""


@checked_class
@dataclass(frozen=True)
class Sampling:
    """How to draw. temperature > 0; top_k = 0 and top_p = 1 keep every token.

    One seed gives one answer: text number n of a list is drawn with seed + n, whatever stands beside it.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, -MOST_TEMPERATURE, MOST_TEMPERATURE)
        check_whole("top_k", self.top_k)
        check_number("top_p", self.top_p)
        if not self.temperature > 0:
            raise InputError(
                f"temperature must be above 0; got {self.temperature}. For the likeliest answer, search."
            )
        if self.top_k < 0 or not 0 < self.top_p <= 1:
            raise InputError(
                f"top_k must be 0 (all) or more and top_p above 0 up to 1; got {self.top_k}, {self.top_p}."
            )
        check_whole("seed", self.seed, -MOST_SEED, MOST_SEED)

    def probabilities(self, scores_RV: Tensor) -> Tensor:
        """Scores (R, V) → the probabilities that are drawn from, (R, V), float64."""
        scores_RV = all_numbers(scores_RV).to(torch.float64, copy=True)
        scores_RV[:, list(NEVER)] = -math.inf
        scores_RV = (scores_RV - scores_RV.amax(-1, keepdim=True)) / self.temperature
        if 0 < self.top_k < scores_RV.shape[1]:
            least_R1 = scores_RV.topk(self.top_k).values[:, -1:]
            scores_RV = scores_RV.masked_fill(scores_RV < least_R1, -math.inf)
        probability_RV = scores_RV.softmax(-1)
        if self.top_p < 1:
            sorted_RV, order_RV = probability_RV.sort(-1, descending=True)
            # A token stays while those before it have not reached p: the likeliest one always does.
            stays_RV = sorted_RV.cumsum(-1) - sorted_RV < self.top_p
            probability_RV = torch.zeros_like(probability_RV).scatter(-1, order_RV, sorted_RV * stays_RV)
            probability_RV = probability_RV / probability_RV.sum(-1, keepdim=True)
        return probability_RV


class _Draws:
    """A stream of random numbers for each row of a batch."""

    def __init__(self, sampling: Sampling, numbers: Sequence[int]) -> None:
        self.sampling = sampling
        self.streams = [torch.Generator().manual_seed((sampling.seed + number) % SEEDS) for number in numbers]

    def __call__(self, scores_RV: Tensor) -> Tensor:
        """One token a row, (R,)."""
        up_to_RV = self.sampling.probabilities(scores_RV).cumsum(-1)
        drawn = [torch.rand(1, dtype=torch.float64, generator=stream) for stream in self.streams]
        place_R1 = torch.stack(drawn).to(up_to_RV.device) * up_to_RV[:, -1:]
        last_R1 = torch.searchsorted(up_to_RV, up_to_RV[:, -1:].contiguous())  # of those that can be drawn
        return torch.searchsorted(up_to_RV, place_R1, right=True).minimum(last_R1)[:, 0]


def sample(
    decoder: Decoder,
    first_BN: Tensor,
    sampling: Sampling | None,
    longest: int = LONGEST,
    numbers: Sequence[int] | None = None,
) -> Iterator[Tensor]:
    """Write one token a row at a time: yields (B,) ids as they come, END from a row's end on.

    Without `sampling` each token is the likeliest one (greedy: a search with beam 1). Stops when every row has
    ended or after `longest` tokens. `numbers` are the rows' places in the list they come from: 0, 1, … if not given.
    """
    check_whole("longest", longest, 1, MOST_LONGEST)
    draw = None if sampling is None else _Draws(sampling, numbers or range(len(first_BN)))
    tokens_BN = first_BN
    ended_B = torch.zeros(first_BN.shape[0], dtype=torch.bool, device=first_BN.device)
    for _ in range(longest):
        scores_BV = decoder.step(tokens_BN)
        if draw is None:
            all_numbers(scores_BV)[:, list(NEVER)] = -math.inf
            token_B = scores_BV.argmax(-1)
        else:
            token_B = draw(scores_BV)
        token_B = token_B.masked_fill(ended_B, END)
        yield token_B
        ended_B = ended_B | (token_B == END)
        if bool(ended_B.all()):
            return
        tokens_BN = token_B[:, None]
