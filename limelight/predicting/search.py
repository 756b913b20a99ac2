"""Search: the likeliest answer. Beam 1 is greedy search.

An answer y of n tokens is ranked by log p(y) / ((5 + n) / 6)^α (Wu et al. 2016, arXiv:1609.08144, eq. 14; the
paper's §6.1 takes a beam of 4 and α = 0.6). With α = 0 it is the plain log-probability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limelight.errors import CheckpointError, InputError, check_whole
from limelight.predicting.decoders import Decoder
from limelight.text.tokenizers import END, PAD, START, UNKNOWN

NEVER = (PAD, UNKNOWN, START)
"""Tokens that no answer may hold."""
BEAM, LENGTH_PENALTY, LONGEST = 5, 0.6, 256
"""How to search where nobody says otherwise; LONGEST bounds an answer, in tokens."""
MOST_BEAM = 1000
"""A beam holds so many rows of the vocabulary at once."""
MOST_LONGEST = 1_000_000
"""Tokens of one answer, that anybody may allow."""
MOST_PENALTY = 10
"""Up or down: beyond it an answer's length alone would decide."""


@dataclass(frozen=True)
class Hypothesis:
    """An answer without START and END: its natural log-probability and the score that it is ranked by.

    `complete` says whether it ended by itself, and was not cut at the longest length allowed.
    """

    ids: list[int]
    log_probability: float
    score: float
    complete: bool = True


def search(
    decoder: Decoder,
    first_BN: Tensor,
    *,
    beam: int = BEAM,
    length_penalty: float = LENGTH_PENALTY,
    longest: int = LONGEST,
    given_B: Tensor | None = None,
    written: int = 0,
) -> list[list[Hypothesis]]:
    """The best answers for each row of the batch, best first, at most `beam` of them.

    first_BN holds what the decoder reads first: START, or a prompt. Where its last `written` tokens belong to the
    answer already, `given_B` are their log-probabilities: answers are ranked as wholes. An answer that does not end
    within `longest` more tokens is given as it is, after those that did. A search ends for a row when `beam` answers
    have ended. Raises InputError for options out of range, CheckpointError where the model gives no numbers.
    """
    check_search(beam, length_penalty, longest)
    batch, device = first_BN.shape[0], first_BN.device
    ended: list[list[Hypothesis]] = [[] for _ in range(batch)]
    open_rows = list(range(batch))
    logp_SV = _log_probabilities(decoder.step(first_BN))
    # One row a sentence has been read; from here on there are `beam` rows a sentence, the beams.
    decoder.select(torch.arange(batch, device=device).repeat_interleave(beam), same_source=False)
    score_SK = torch.full((batch, beam), -math.inf, device=device)
    score_SK[:, 0] = 0.0 if given_B is None else given_B
    logp_SKV = logp_SV[:, None].expand(-1, beam, -1)
    tokens_SKN = torch.empty(batch, beam, 0, dtype=torch.long, device=device)

    for length in range(1, longest + 1):
        vocabulary = logp_SKV.shape[2]
        # Twice the beam: even if `beam` of the candidates end here, `beam` others can go on.
        top_SC, place_SC = (score_SK[:, :, None] + logp_SKV).flatten(1).topk(2 * beam)
        parent_SC, token_SC = place_SC // vocabulary, place_SC % vocabulary
        ends_SC = token_SC == END
        for place, rank in (ends_SC & (top_SC > -math.inf))[:, :beam].nonzero().tolist():
            ids = tokens_SKN[place, parent_SC[place, rank]].tolist()
            ended[open_rows[place]].append(
                _hypothesis(ids, top_SC[place, rank], written + length, length_penalty)
            )
        kept_SK = top_SC.masked_fill(ends_SC, -math.inf).topk(beam).indices
        score_SK = top_SC.gather(1, kept_SK).masked_fill(ends_SC.gather(1, kept_SK), -math.inf)
        parent_SK, token_SK = parent_SC.gather(1, kept_SK), token_SC.gather(1, kept_SK)
        tokens_SKN = tokens_SKN.gather(1, parent_SK[:, :, None].expand(-1, -1, length - 1))
        tokens_SKN = torch.cat((tokens_SKN, token_SK[:, :, None]), dim=2)

        alive = [place for place, row in enumerate(open_rows) if len(ended[row]) < beam]
        base_S1 = torch.arange(len(open_rows), device=device)[:, None] * beam
        rows_SK = base_S1 + parent_SK
        finished = len(alive) < len(open_rows)
        if finished:
            keep_S = torch.tensor(alive, dtype=torch.long, device=device)
            rows_SK, score_SK, tokens_SKN, token_SK = (
                x[keep_S] for x in (rows_SK, score_SK, tokens_SKN, token_SK)
            )
            open_rows = [open_rows[place] for place in alive]
        if not open_rows or length == longest:
            break
        # Beams stay with their sentence, so only a batch that loses a sentence need move its sources.
        if beam > 1 or finished:  # one beam a sentence stays where it is
            decoder.select(rows_SK.flatten(), same_source=not finished)
        logp_SKV = _log_probabilities(decoder.step(token_SK.reshape(-1, 1))).unflatten(0, (-1, beam))

    for place, row in enumerate(open_rows):
        for rank in range(beam - len(ended[row])):
            cut = _hypothesis(
                tokens_SKN[place, rank].tolist(), score_SK[place, rank], written + longest, length_penalty
            )
            if cut.log_probability > -math.inf:
                ended[row].append(replace(cut, complete=False))
    # As many as `beam` may have ended after others had: only the best are given.
    return [
        sorted(answers, key=lambda answer: (answer.complete, answer.score), reverse=True)[:beam]
        for answers in ended
    ]


def check_search(beam: int, length_penalty: float, longest: int) -> None:
    """Raises InputError or ArgumentTypeError for options that no search can have."""
    check_whole("beam", beam)
    check_whole("longest", longest)
    if not 1 <= beam <= MOST_BEAM or longest < 1:
        raise InputError(
            f"beam must be from 1 to {MOST_BEAM:,}, longest at least 1; got beam = {beam}, longest = {longest}."
        )
    check_whole("longest", longest, 1, MOST_LONGEST)
    if not isinstance(length_penalty, int | float) or not abs(length_penalty) <= MOST_PENALTY:
        raise InputError(
            f"length_penalty must be from -{MOST_PENALTY} to {MOST_PENALTY}; got {length_penalty}. The paper has 0.6."
        )


def _hypothesis(ids: list[int], log_probability: Tensor, length: int, length_penalty: float) -> Hypothesis:
    """`length` counts END, as the log-probability does."""
    total = float(log_probability)
    return Hypothesis(ids, total, total / ((5 + length) / 6) ** length_penalty)


def _log_probabilities(scores_RV: Tensor) -> Tensor:
    scores_RV = all_numbers(scores_RV.float())
    scores_RV[:, list(NEVER)] = -math.inf
    return scores_RV.log_softmax(-1)


def all_numbers(scores: Tensor) -> Tensor:
    """The scores themselves. Raises CheckpointError where one is NaN or infinite: no answer follows from that."""
    if not bool((scores < math.inf).all()):
        raise CheckpointError(
            "A model must answer with numbers; this one gives NaN or infinity. Its weights are broken, as by a "
            "training that diverged: train it anew with a lower rate."
        )
    return scores
