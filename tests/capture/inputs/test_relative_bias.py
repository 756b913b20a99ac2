"""A large table that is alike along its diagonals is kept as a number a distance; the weights stay what they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import limelight as ll
from benchmarks.coverage_check import check as compare
from limelight.capture.inputs import relative_bias
from limelight.capture.inputs.relative_bias import Diagonals, as_diagonals, laid_out
from limelight.matrix.biases import alibi, relative
from tests.capture import foreign
from tests.tolerance import check

H, N, M = 3, 13, 17


@pytest.fixture(autouse=True)
def all_tables_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relative_bias, "LARGE", 2)


def table(heads: int = H) -> torch.Tensor:
    return laid_out(Diagonals(torch.randn(heads, N + M - 1), N), M)


@pytest.mark.parametrize("heads", [1, H])
def test_a_table_of_distances_is_its_diagonals(heads: int) -> None:
    given = table(heads)
    short = as_diagonals(given)
    assert isinstance(short, Diagonals)
    assert torch.equal(laid_out(short, M), given)
    query, key = torch.randn(2, H, N, 5), torch.randn(2, H, M, 5)
    of_table, of_short = (ll.AttentionMatrix(query, key, bias=bias) for bias in (given, short))
    check("weights", of_short.dense(), of_table.dense())
    check("weights", of_short[1, 2, 3:11, 5:9], of_table.dense()[1, 2, 3:11, 5:9])


@pytest.mark.parametrize("bias", [alibi(H), relative(torch.randn(8, H))], ids=["alibi", "relative"])
def test_our_own_biases_of_distance_laid_out_are_found_again(bias: Any) -> None:
    zero = torch.zeros(1, H, N, M)
    place = relative_bias.TileIndex(range(1), range(H), range(N), range(M), N, M)
    given = bias.apply(zero, place)
    short = as_diagonals(given)
    assert isinstance(short, Diagonals) and torch.equal(laid_out(short, M), given)


def test_whatever_else_it_says_it_stays_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = table()
    broken[0, 1, 7, 5] += 1
    several = torch.cat([table(), table()])
    for given in (broken, several, table()[:, :, :1], table()[:, :, :, :1], table()[0]):
        assert as_diagonals(given) is given
    monkeypatch.setattr(relative_bias, "LARGE", 2**20)
    small = table()
    assert as_diagonals(small) is small


def test_a_table_that_was_written_to_is_looked_at_again() -> None:
    given = table()
    assert as_diagonals(given) is as_diagonals(given)
    given[0, 0, 3, 4] += 1
    assert as_diagonals(given) is given


def test_t5_holds_what_grows_with_its_text() -> None:
    model, tokens = foreign.t5(), 53
    given = {
        "input_ids": torch.randint(3, 99, (1, tokens)),
        "decoder_input_ids": torch.randint(3, 99, (1, 7)),
    }
    with torch.no_grad(), ll.watch(model, verify=True) as seen:
        model(**given)
    biases = [seen[name]._scores.bias for name in seen.names() if name.startswith("encoder")]
    assert len(biases) == foreign.LAYERS and all(isinstance(bias, Diagonals) for bias in biases)
    assert biases[0] is biases[1]
    with torch.no_grad(), foreign.eager(model):
        official = model(**given, output_attentions=True).encoder_attentions
    for call, weights in zip(seen, official, strict=False):
        check("weights", call.matrix.dense(), weights)


def test_steps_go_on_after_a_beginning_that_was_given() -> None:
    model = foreign.t5()
    model.generation_config.eos_token_id = None
    ids, begun = torch.randint(3, 99, (2, 11)), torch.randint(3, 99, (2, 3))
    with ll.watch(model, verify=True) as seen:
        written = model.generate(ids, decoder_input_ids=begun, max_new_tokens=5, do_sample=False, num_beams=1)
    with torch.no_grad(), ll.watch(model) as whole:
        model(input_ids=ids, decoder_input_ids=written[:, :-1])
    assert seen.names() == whole.names()
    for joined, at_once in zip(seen[:], whole[:], strict=True):
        torch.testing.assert_close(joined.dense(), at_once.dense(), atol=2e-6, rtol=0)


def test_a_family_that_is_followed_by_tape() -> None:
    assert compare("mpnet").outcome == "exact"
