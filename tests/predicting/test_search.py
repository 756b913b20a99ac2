"""Greedy and beam search against brute force over all answers of a tiny vocabulary."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limelight.errors import InputError
from limelight.predicting.decoders import LanguageDecoder, TransformerDecoder
from limelight.predicting.search import NEVER, Hypothesis, search
from limelight.text.tokenizers import END, START
from tests.examples import mostly_slow
from tests.predicting.small import (
    Forgetful,
    encoder_decoder,
    every_answer,
    language_model,
    log_probability,
    padded_sources,
)

LONGEST = 3
EVERY = 1 + 3 + 9 + 27
"""Answers of no, one or two words, and of three words that are cut."""


def same(found: list[Hypothesis], truth: list[Hypothesis]) -> None:
    assert [(each.ids, each.complete) for each in found] == [(each.ids, each.complete) for each in truth]
    for name in ("log_probability", "score"):
        values = [getattr(each, name) for each in truth]
        assert [getattr(each, name) for each in found] == pytest.approx(values, abs=1e-5)


def start(batch: int) -> Tensor:
    return torch.full((batch, 1), START)


def alone(model: torch.nn.Module, row: int) -> Forgetful:
    """One source, without its padding."""
    source, lengths = padded_sources()
    length = int(lengths[row])
    return Forgetful(model, source[row : row + 1, :length], lengths[row : row + 1])


# ── Against brute force ──


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("length_penalty", mostly_slow([0.0, 0.6, 2.0], 0.6))
def test_a_beam_that_is_wide_enough_finds_every_answer_in_order(length_penalty: float) -> None:
    model, (source, lengths) = encoder_decoder(), padded_sources()
    decoder = TransformerDecoder(model, source, lengths)
    found = search(decoder, start(3), beam=EVERY, length_penalty=length_penalty, longest=LONGEST)
    for row in range(3):
        same(found[row], every_answer(alone(model, row), LONGEST, length_penalty))


@torch.no_grad()
def test_language_model_answers_to_a_prompt() -> None:
    model = language_model()
    prompts = [[START, 5, 4, 4], [START, 6, 6, 5]]
    found = search(LanguageDecoder(model), torch.tensor(prompts), beam=EVERY, longest=LONGEST)
    for prompt, answers in zip(prompts, found, strict=True):
        same(answers, every_answer(Forgetful(model), LONGEST, 0.6, prompt))


@torch.no_grad()
def test_greedy_takes_the_likeliest_token_each_time() -> None:
    for seed in range(3):
        model, (source, lengths) = encoder_decoder(seed), padded_sources()
        found = search(TransformerDecoder(model, source, lengths), start(3), beam=1, longest=11)
        for row in range(3):
            ids: list[int] = []
            while len(ids) < 11:
                decoder = alone(model, row)
                scores_V = decoder.step(torch.tensor([[START, *ids]]))[0]
                scores_V[list(NEVER)] = -torch.inf
                ids.append(int(scores_V.argmax()))
                if ids[-1] == END:
                    break
            complete = ids[-1] == END
            answer = ids[:-1] if complete else ids
            assert (found[row][0].ids, found[row][0].complete) == (answer, complete)
            assert len(found[row]) == 1
            expected = log_probability(alone(model, row), [START], answer, complete)
            assert found[row][0].log_probability == pytest.approx(expected, abs=1e-5)


def slow_beam(decoder: Forgetful, beam: int, length_penalty: float, longest: int) -> list[Hypothesis]:
    """The rule in plain lists: of all continuations the best 2·beam; those of the first beam that end are answers;
    the best beam of those that do not go on."""
    beams: list[tuple[float, list[int]]] = [(0.0, [])]
    answers: list[Hypothesis] = []
    for length in range(1, longest + 1):
        candidates = []
        for total, ids in beams:
            fresh = Forgetful(decoder.model, decoder.source, decoder.lengths)
            scores_V = fresh.step(torch.tensor([[START, *ids]]))[0].double()
            scores_V[list(NEVER)] = -torch.inf
            logp_V = scores_V.log_softmax(-1).tolist()
            candidates += [
                (total + logp, [*ids, token]) for token, logp in enumerate(logp_V) if logp > -torch.inf
            ]
        best = sorted(candidates, reverse=True)[: 2 * beam]
        for total, ids in best[:beam]:
            if ids[-1] == END:
                score = total / ((5 + length) / 6) ** length_penalty
                answers.append(Hypothesis(ids[:-1], total, score))
        beams = [(total, ids) for total, ids in best if ids[-1] != END][:beam]
        if len(answers) >= beam:
            break
    else:
        for total, ids in beams[: max(0, beam - len(answers))]:
            answers.append(Hypothesis(ids, total, total / ((5 + longest) / 6) ** length_penalty, False))
    return sorted(answers, key=lambda answer: (answer.complete, answer.score), reverse=True)[:beam]


@torch.no_grad()
@pytest.mark.parametrize("beam", mostly_slow([2, 3, 5], 3))
def test_a_narrow_beam_follows_the_rule(beam: int) -> None:
    for seed in range(2):
        model, (source, lengths) = encoder_decoder(seed), padded_sources()
        found = search(TransformerDecoder(model, source, lengths), start(3), beam=beam, longest=5)
        for row in range(3):
            same(found[row], slow_beam(alone(model, row), beam, 0.6, 5))


# ── Caches and batches change nothing ──


@torch.no_grad()
@pytest.mark.parametrize("beam", mostly_slow([1, 2, 4], 4))
def test_caches_change_nothing(beam: int) -> None:
    for seed in range(3):
        model, (source, lengths) = encoder_decoder(seed), padded_sources()
        cached = search(TransformerDecoder(model, source, lengths), start(3), beam=beam, longest=13)
        forgetful = search(Forgetful(model, source, lengths), start(3), beam=beam, longest=13)
        language, prompts = language_model(seed), torch.tensor([[START, 5], [START, 4]])
        cached += search(LanguageDecoder(language), prompts, beam=beam, longest=13)
        forgetful += search(Forgetful(language), prompts, beam=beam, longest=13)
        for one, other in zip(cached, forgetful, strict=True):
            same(one, other)


@torch.no_grad()
def test_a_batch_gives_what_its_rows_give_alone() -> None:
    different = 0
    for seed in range(4):
        model, (source, lengths) = encoder_decoder(seed), padded_sources()
        together = search(TransformerDecoder(model, source, lengths), start(3), beam=3, longest=11)
        different += len({max(len(answer.ids) for answer in answers) for answers in together}) > 1
        for row in range(3):
            length = int(lengths[row])
            decoder = TransformerDecoder(model, source[row : row + 1, :length], lengths[row : row + 1])
            same(search(decoder, start(1), beam=3, longest=11)[0], together[row])
    assert different, "in no batch do the rows end at different times"


# ── Length ──


class Scripted:
    """The same scores at every step."""

    def __init__(self, scores_V: list[float]) -> None:
        self.scores_V = torch.tensor(scores_V)

    def step(self, tokens_RN: Tensor) -> Tensor:
        self.rows = len(tokens_RN)
        return self.scores_V.repeat(self.rows, 1)

    def select(self, rows: Tensor, same_source: bool) -> None:
        assert int(rows.max()) < self.rows
        self.rows = len(rows)


def test_length_penalty_is_the_published_one() -> None:
    scores = [0.0, 0.0, 0.0, 1.0, 1.3, -9.0, -9.0]
    plain, long = (
        search(Scripted(scores), start(1), beam=4, length_penalty=a, longest=9)[0] for a in (0.0, 3.0)
    )
    for answers, alpha in ((plain, 0.0), (long, 3.0)):
        for answer in answers:
            penalty = ((5 + len(answer.ids) + 1) / 6) ** alpha  # eq. 14, END counted
            assert answer.score == pytest.approx(answer.log_probability / penalty, rel=1e-6)
    assert len(plain[0].ids) < len(long[0].ids)


def test_answers_are_cut_at_the_longest() -> None:
    endless = Scripted([0.0, 0.0, 0.0, -99.0, 2.0, 1.0, 0.0])
    answers = search(endless, start(2), beam=2, longest=5)
    for row in answers:
        assert [(len(answer.ids), answer.complete) for answer in row] == [(5, False)] * 2
        assert row[0].ids == [4] * 5


def test_no_answer_holds_a_token_that_none_may_hold() -> None:
    tempting = Scripted([50.0, 50.0, 50.0, 0.0, 0.0, -1.0, -2.0])
    for answer in search(tempting, start(1), beam=7, longest=4)[0]:
        assert not set(answer.ids) & {*NEVER, END}


@pytest.mark.parametrize("wrong", [{"beam": 0}, {"longest": 0}])
def test_nonsense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="at least 1"):
        search(Scripted([0.0] * 7), start(1), **wrong)


@pytest.mark.parametrize("penalty", [float("nan"), 11.0, -11.0])
def test_a_length_penalty_beyond_reason_is_refused(penalty: float) -> None:
    with pytest.raises(InputError, match="length_penalty must be from -10 to 10"):
        search(LanguageDecoder(language_model()), start(1), length_penalty=penalty)
