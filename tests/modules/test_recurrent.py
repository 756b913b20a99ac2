"""Recurrent networks: the same doors as the Transformer's, padding that changes nothing, state that goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limelight.errors import InputError
from limelight.matrix import reference
from limelight.modules.attention import record_attention
from limelight.modules.model_io import SavedModel, load_model, save_model
from limelight.modules.recurrent import (
    RecurrentClassifier,
    RecurrentConfig,
    RecurrentLanguageModel,
    RecurrentTranslator,
)
from limelight.predicting.decoders import RecurrentDecoder, RecurrentLanguageDecoder
from limelight.predicting.predictor import Predictor
from limelight.text.tokenizers import Tokenizer

B, M, N, V, WIDTH = 3, 7, 5, 13, 10
SHAPES = {
    f"{cell}, {attention}, {layers} layers": RecurrentConfig(cell, attention, WIDTH, 2, layers, dropout=0.0)
    for cell in ("lstm", "gru")
    for attention in ("none", "bahdanau", "luong")
    for layers in (1, 2)
}
LENGTHS = torch.tensor([7, 4, 1])


def translator(shape: RecurrentConfig) -> RecurrentTranslator:
    torch.manual_seed(0)
    return RecurrentTranslator(shape, V, V + 2).eval()


def ids(*size: int) -> Tensor:
    return torch.randint(1, V, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", SHAPES)
def test_padding_changes_nothing(name: str) -> None:
    model, source, target = translator(SHAPES[name]), ids(B, M), ids(B, N)
    together = model(source, target, LENGTHS)
    assert together.shape == (B, N, V + 2)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = model(source[row : row + 1, :length], target[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone)


@pytest.mark.parametrize("name", SHAPES)
def test_token_by_token_is_the_same_as_at_once(name: str) -> None:
    model, source, target = translator(SHAPES[name]), ids(B, M), ids(B, N)
    at_once = model(source, target, LENGTHS)
    decoder = RecurrentDecoder(model, source, LENGTHS)
    steps = torch.stack([decoder.step(target[:, i : i + 1]) for i in range(N)], dim=1)
    torch.testing.assert_close(steps, at_once)


@pytest.mark.parametrize("name", SHAPES)
def test_no_token_knows_of_a_later_one(name: str) -> None:
    model, source, target = translator(SHAPES[name]), ids(B, M), ids(B, N)
    later = target.clone()
    later[:, 3:] = V + 1
    before, after = model(source, target), model(source, later)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3:], after[:, 3:])


@pytest.mark.parametrize("name", SHAPES)
def test_every_parameter_is_trained(name: str) -> None:
    model = translator(SHAPES[name])
    model(ids(B, M), ids(B, N), LENGTHS).logsumexp(-1).sum().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize("name", SHAPES)
def test_rows_that_are_chosen_keep_what_they_remember(name: str) -> None:
    model, source, target = translator(SHAPES[name]), ids(B, M), ids(B, N)
    rows = torch.tensor([2, 0, 0])
    decoder = RecurrentDecoder(model, source, LENGTHS)
    decoder.step(target[:, :1])
    decoder.select(rows, same_source=False)
    got = decoder.step(target[rows][:, 1:2])
    torch.testing.assert_close(got, model(source, target, LENGTHS)[rows, 1])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("attention", ["bahdanau", "luong"])
def test_the_weights_that_are_handed_out_are_those_of_the_forward(cell: Any, attention: Any) -> None:
    """Replace the memory that the attention reads by single ones: the context is then the weights themselves."""
    model = translator(RecurrentConfig(cell, attention, WIDTH, 1, 1, dropout=0.0))
    source, target = ids(B, M), ids(B, N)
    with record_attention(model) as seen:
        model(source, target, LENGTHS)
    matrix = seen["cross_attention"]
    assert matrix.shape == (B, 1, N, M)
    weights = matrix.dense()
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, 1, N))
    assert not weights[1, 0, :, 4:].any()
    contexts: list[Tensor] = []
    layer = model.first.cells if attention == "bahdanau" else model.cross_attention.Wc  # type: ignore[union-attr]
    part = slice(WIDTH, None) if attention == "bahdanau" else slice(0, WIDTH)
    hook = layer.register_forward_pre_hook(lambda module, args: contexts.append(args[0][..., part]))
    model(source, target, LENGTHS)
    hook.remove()
    memory, _ = model.encode(source, LENGTHS)
    torch.testing.assert_close(torch.cat(contexts, 1), weights[:, 0] @ memory)


def test_luongs_weights_are_the_softmax_of_the_general_score() -> None:
    model = translator(RecurrentConfig("lstm", "luong", WIDTH, 1, 1, dropout=0.0))
    with record_attention(model) as seen:
        model(ids(B, M), ids(B, N))
    states: list[Tensor] = []
    model.cross_attention.Wa.register_forward_hook(lambda m, args, out: states.append(out))  # type: ignore[union-attr]
    model(ids(B, M), ids(B, N))
    memory, _ = model.encode(ids(B, M))
    truth = reference.attention(states[0][:, None], memory[:, None], memory[:, None], scale=1.0)
    torch.testing.assert_close(
        seen["cross_attention"].dense().double(), truth.weights_BHNM, rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_language_model_goes_on_where_it_was(cell: Any) -> None:
    torch.manual_seed(0)
    model = RecurrentLanguageModel(RecurrentConfig(cell, width=WIDTH), V).eval()
    text = ids(B, N)
    decoder = RecurrentLanguageDecoder(model)
    first, rest = decoder.step(text[:, :2]), decoder.step(text[:, 2:])
    torch.testing.assert_close(torch.stack([first, rest], 1), model(text)[:, [1, N - 1]])


def test_a_classifier_reads_both_ways_and_no_padding() -> None:
    torch.manual_seed(0)
    model = RecurrentClassifier(RecurrentConfig(width=WIDTH), V, 4).eval()
    text = ids(B, M)
    together = model(text, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(together[row : row + 1], model(text[row : row + 1, :length]))
    assert not torch.allclose(model(text), model(text.flip(1)))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_forget_gates_begin_open(cell: Any) -> None:
    """With zero inputs and weights the share of the old state that stays is the sigmoid of the bias."""
    model = RecurrentLanguageModel(RecurrentConfig(cell, width=WIDTH, decoder_layers=1, forget_bias=2.0), V)
    cells = model.decoder.cells
    for name, parameter in cells.named_parameters():
        if name.startswith("weight"):
            nn.init.zeros_(parameter)
    zero, one = torch.zeros(1, 1, WIDTH), torch.ones(1, 1, WIDTH)
    stay = torch.tensor(2.0).sigmoid()
    if cell == "lstm":
        _, (_, remembered) = cells(zero, (zero, one))
    else:
        _, remembered = cells(zero, one)
    torch.testing.assert_close(remembered, stay * one)


@pytest.mark.parametrize("attention", ["none", "bahdanau", "luong"])
def test_a_saved_one_predicts_the_same(attention: Any, tmp_path: Any) -> None:
    tokenizer = Tokenizer.train(["a b c d e"], "words")
    model = RecurrentTranslator(
        RecurrentConfig("lstm", attention, WIDTH, 1, 2), len(tokenizer), len(tokenizer), True
    )
    saved = SavedModel("translate", model.eval(), tokenizer, tokenizer, prediction={"longest": 6})
    again = load_model(save_model(saved, tmp_path / "model"))
    assert again.model.shape == model.shape
    texts = ["a b c", "e", "d a"]
    answers = Predictor(saved).predict(texts)
    assert Predictor(again).predict(texts) == answers
    # Searched for alone, each is what it was in the batch.
    assert [Predictor(again).predict([text])[0].text for text in texts] == [each.text for each in answers]
    if attention != "none":
        assert list(Predictor(again).trace(answers[0]).matrices) == ["cross_attention"]


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="lstm, gru"):
        RecurrentConfig(cell="rnn")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="none, bahdanau or luong"):
        replace(RecurrentConfig(), attention="self")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="even"):
        RecurrentConfig(width=7)
