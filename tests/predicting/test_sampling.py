"""What is drawn, and how often, against the definitions of temperature, top-k and top-p."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from limelight.errors import InputError
from limelight.predicting.decoders import TransformerDecoder
from limelight.predicting.sampling import Sampling, sample
from limelight.predicting.search import NEVER
from limelight.text.tokenizers import END, START
from tests.examples import mostly_slow
from tests.predicting.small import encoder_decoder, padded_sources

SCORES = torch.tensor([9.0, 9.0, 9.0, 0.3, 1.7, -0.4, 0.9, 1.1])
"""The first three belong to tokens that no answer may hold."""


def theory(temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> list[float]:
    """The probabilities in plain Python: temper, keep the k likeliest, keep the fewest that reach p."""
    logits = {token: score / temperature for token, score in enumerate(SCORES.tolist()) if token not in NEVER}
    kept = sorted(logits, key=logits.get, reverse=True)[: top_k or None]
    total = sum(math.exp(logits[token]) for token in kept)
    shares = {token: math.exp(logits[token]) / total for token in kept}
    nucleus, reached = {}, 0.0
    for token, share in shares.items():
        if reached >= top_p:
            break
        nucleus[token] = share
        reached += share
    return [nucleus.get(token, 0.0) / sum(nucleus.values()) for token in range(len(SCORES))]


@given(st.floats(0.1, 5.0), st.integers(0, 9), st.floats(0.01, 1.0))
def test_probabilities_are_the_theory(temperature: float, top_k: int, top_p: float) -> None:
    got = Sampling(temperature, top_k, top_p).probabilities(SCORES[None].clone())
    expected = torch.tensor([theory(temperature, top_k, top_p)], dtype=torch.float64)
    # Where the sum meets p to the last bit, two ways to add may disagree by one token.
    if torch.equal(got > 0, expected > 0):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
    else:
        assert abs(int((got > 0).sum()) - int((expected > 0).sum())) == 1
        assert theory(temperature, top_k, top_p + 1e-5) != theory(temperature, top_k, top_p - 1e-5)


def test_rows_are_independent_and_the_scores_stay() -> None:
    scores = torch.randn(3, 8)
    before = scores.clone()
    together = Sampling(0.7, 3, 0.8).probabilities(scores)
    assert torch.equal(scores, before)
    for row in range(3):
        assert torch.equal(Sampling(0.7, 3, 0.8).probabilities(scores[row : row + 1])[0], together[row])


class Constant:
    """The same scores for every row, whatever it has read."""

    def step(self, tokens_RN: Tensor) -> Tensor:
        return SCORES.repeat(len(tokens_RN), 1)

    def select(self, rows: Tensor, same_source: bool) -> None:
        raise AssertionError("sampling selects nothing")


@pytest.mark.parametrize(
    "options", mostly_slow([{}, {"temperature": 0.5}, {"top_k": 2}, {"top_p": 0.6}], {"top_p": 0.6})
)
def test_tokens_are_drawn_as_often_as_is_likely(options: dict[str, float]) -> None:
    draws = 20_011
    first = next(sample(Constant(), torch.full((draws, 1), START), Sampling(**options)))
    shares = first.bincount(minlength=len(SCORES)) / draws
    for share, p in zip(shares.tolist(), theory(**options), strict=True):
        assert abs(share - p) <= 5 * math.sqrt(p * (1 - p) / draws)


def test_one_seed_gives_one_answer_and_leaves_other_random_numbers_alone() -> None:
    def drawn(seed: int) -> list[list[int]]:
        return [
            token_B.tolist()
            for token_B in sample(Constant(), torch.full((5, 1), START), Sampling(seed=seed), 7)
        ]

    state = torch.get_rng_state()
    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_row_that_ended_stays_ended() -> None:
    steps = torch.stack(list(sample(Constant(), torch.full((101, 1), START), Sampling(seed=1), 50)), dim=1)
    ended = (steps == END).cumsum(1) > 0
    assert bool((steps[ended] == END).all())
    assert bool(ended[:, -1].all()) or steps.shape[1] == 50
    assert len(list(sample(Constant(), torch.full((101, 1), START), Sampling(), 2))) == 2


@torch.no_grad()
def test_the_likeliest_only_is_greedy_search() -> None:
    model, (source, lengths) = encoder_decoder(), padded_sources()
    likeliest = sample(
        TransformerDecoder(model, source, lengths), torch.full((3, 1), START), Sampling(top_k=1), 9
    )
    cold = sample(
        TransformerDecoder(model, source, lengths), torch.full((3, 1), START), Sampling(temperature=1e-3), 9
    )
    for one, other in zip(likeliest, cold, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "wrong", [{"temperature": 0.0}, {"temperature": math.nan}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}]
)
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="must be"):
        Sampling(**wrong)


def test_a_temperature_near_nothing_is_the_likeliest_token() -> None:
    probabilities = Sampling(temperature=1e-40).probabilities(SCORES[None].clone())[0]
    assert probabilities.tolist() == pytest.approx((SCORES[4:].max() == SCORES).double().tolist())
