"""generate(): the steps are joined to the one matrix that a forward over the whole text would have made."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import limelight as ll
from limelight.capture.decoding.joined_steps import JoinedSteps
from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.errors import CaptureError
from tests.capture import foreign, tiny
from tests.examples import mostly_slow
from tests.tolerance import check

NEW = 7
CLOSE = 1e-6  # two forwards of one model differ by as much, in their hidden states


def prompt(padded: bool) -> dict[str, torch.Tensor]:
    ids = torch.randint(3, foreign.VOCABULARY, (2, 5))
    mask = torch.ones_like(ids)
    if padded:
        mask[1, :2] = 0
    return {"input_ids": ids, "attention_mask": mask}


def written(
    model: Any, given: dict[str, torch.Tensor], **how: Any
) -> tuple[torch.Tensor, ll.capture.CapturedAttention]:  # type: ignore[name-defined]
    model.generation_config.eos_token_id = None
    with ll.watch(model, verify=True) as seen:
        tokens = model.generate(**given, max_new_tokens=NEW, do_sample=False, pad_token_id=0, **how)
    return tokens, seen


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("padded", mostly_slow([False, True], True), ids=["full", "padded"])
@pytest.mark.parametrize(
    "make", [foreign.llama, tiny.mistral, tiny.gemma2], ids=["llama", "mistral", "gemma2"]
)
def test_steps_are_rows_of_one_forward(make: Callable[[], Any], padded: bool, cache: str) -> None:
    model, given = make(), prompt(padded)
    tokens, seen = written(model, given, cache_implementation=cache)
    whole_mask = torch.cat([given["attention_mask"], torch.ones(2, NEW - 1, dtype=torch.long)], dim=1)
    with torch.no_grad(), ll.watch(model) as whole:
        model(tokens[:, :-1], attention_mask=whole_mask)
    assert seen.names() == whole.names()
    real = whole_mask.bool()  # what padding attends to is nobody's business, and no two caches agree on it
    for joined, at_once in zip(seen[:], whole[:], strict=True):
        assert joined.shape == at_once.shape == (2, 6, 11, 11)
        found, expected = joined.dense().transpose(1, 2)[real], at_once.dense().transpose(1, 2)[real]
        torch.testing.assert_close(found, expected, atol=CLOSE, rtol=0)
        received = joined.read(ll.Received()).raw
        if not padded:
            torch.testing.assert_close(received, at_once.read(ll.Received()).raw, atol=1e-5, rtol=0)


def test_a_growing_text_is_one_rule() -> None:
    _, seen = written(foreign.llama(), prompt(padded=False))
    assert [row.mask for row in seen.summary().rows] == ["causal", "causal"]
    _, seen = written(foreign.llama(), prompt(padded=True))
    assert [row.mask for row in seen.summary().rows] == ["causal & padding"] * 2
    _, seen = written(tiny.mistral(), prompt(padded=False))
    assert seen.summary().rows[0].mask.endswith("steps")


@pytest.mark.parametrize("make", [foreign.t5, tiny.bart], ids=["t5", "bart"])
def test_an_encoder_decoder_gives_cross_attention_per_written_token(make: Callable[[], Any]) -> None:
    model = make()
    given = prompt(padded=False)
    given["attention_mask"][1, 3:] = 0
    tokens, seen = written(model, given, num_beams=1)
    with torch.no_grad(), ll.watch(model) as whole:
        model(**given, decoder_input_ids=tokens[:, :-1])
    assert seen.names() == whole.names()
    shapes = {(call.kind, call.matrix.shape[2:]) for call in seen}
    assert shapes == {("self", (5, 5)), ("self", (NEW, NEW)), ("cross", (NEW, 5))}
    for joined, at_once in zip(seen[:], whole[:], strict=True):
        torch.testing.assert_close(joined.dense(), at_once.dense(), atol=CLOSE, rtol=0)


def test_tokens_that_a_helper_guessed_wrong_are_forgotten() -> None:
    model, helper = foreign.llama(), foreign.llama(num_hidden_layers=1)
    given = {name: tensor[:1] for name, tensor in prompt(padded=False).items()}
    for one in (model, helper):
        one.generation_config.eos_token_id = None
    tokens, seen = written(model, given, assistant_model=helper)
    with torch.no_grad(), ll.watch(model) as whole:
        model(tokens[:, :-1])
    assert seen.names() == whole.names()
    for joined, at_once in zip(seen[:], whole[:], strict=True):
        torch.testing.assert_close(joined.dense(), at_once.dense(), atol=CLOSE, rtol=0)


def test_a_cache_that_is_copied_for_several_questions_gives_a_matrix_each() -> None:
    model, ids = foreign.llama(), prompt(padded=False)["input_ids"]
    questions = [torch.tensor([[7, 8, 9]] * len(ids)), torch.tensor([[9, 7]] * len(ids))]
    with torch.no_grad(), ll.watch(model) as seen:
        past = model(ids, use_cache=True).past_key_values
        for question in questions:
            model(question, past_key_values=deepcopy(past))
    layers = len(seen[:]) // 2
    N = ids.shape[1]
    first, second = seen[:][:layers], seen[:][layers:]
    for question, matrices in zip(questions, (first, second), strict=True):
        with torch.no_grad(), ll.watch(model) as whole:
            model(torch.cat([ids, question], 1))
        for kept, at_once in zip(matrices, whole[:], strict=True):
            torch.testing.assert_close(
                kept.dense()[:, :, -question.shape[1] :], at_once.dense()[:, :, N:], atol=CLOSE, rtol=0
            )


def test_cross_attention_that_was_moved_is_joined_where_its_memory_is_the_same() -> None:
    query, key, value = torch.randn(3, 1, 2, 5, 4).unbind()

    def moved(row: int, key: Tensor = key, memory: Tensor = key) -> AttentionInputs:
        inputs = AttentionInputs(query=query[:, :, row : row + 1], key=key, value=value, kind="cross")
        return replace(inputs, key=key.clone(), memory=memory.data_ptr())

    steps = JoinedSteps(moved(0))
    assert steps.takes(moved(1))
    assert not steps.takes(moved(2, memory=value))
    assert not steps.takes(moved(2, key=value))  # the same memory, used again for another text
    check(
        "weights",
        steps.inputs().matrix().dense(),
        AttentionInputs(query=query[:, :, :2], key=key).matrix().dense(),
    )


@pytest.mark.parametrize("make", [foreign.llama, tiny.bart], ids=["llama", "bart"])
def test_beams_are_refused_with_a_way_out(make: Callable[[], Any]) -> None:
    model, given = make(), prompt(padded=False)
    with pytest.raises(
        CaptureError, match=r"beam search does, .* Generate outside of the block, then watch one"
    ):
        written(model, given, num_beams=3)
    sequences = model.generate(**given, max_new_tokens=NEW, do_sample=False, pad_token_id=0, num_beams=3)
    way_out = (
        {**given, "decoder_input_ids": sequences}
        if model.config.is_encoder_decoder
        else {"input_ids": sequences}
    )
    with torch.no_grad(), ll.watch(model, verify=True) as seen:
        model(**way_out)
    assert seen[-1].shape[2] == sequences.shape[1] and len(seen.verified) == len(seen)


def test_forwards_of_different_texts_stay_apart() -> None:
    model = foreign.llama()
    with torch.no_grad(), ll.watch(model) as seen:
        model(prompt(False)["input_ids"])
        model(prompt(False)["input_ids"])
    assert [matrix.shape[2:] for matrix in seen[:]] == [(5, 5)] * 4
    assert not torch.equal(seen[0].dense(), seen[2].dense())


def test_a_text_that_began_before_the_watch() -> None:
    model, ids = foreign.llama(), prompt(False)["input_ids"]
    with torch.no_grad():
        past = model(ids[:, :3], use_cache=True).past_key_values
        with ll.watch(model) as seen:
            past = model(ids[:, 3:4], past_key_values=past).past_key_values
            middle = seen[0]  # may be read in between
            assert middle.shape == (2, 6, 1, 4)
            model(ids[:, 4:], past_key_values=past)
        with ll.watch(model) as whole:
            model(ids)
    assert len(seen) == 2
    for joined, at_once in zip(seen[:], whole[:], strict=True):
        torch.testing.assert_close(joined.dense(), at_once.dense()[:, :, 3:], atol=CLOSE, rtol=0)


def test_without_a_cache_every_step_is_a_forward() -> None:
    model = foreign.llama()
    _, seen = written(model, prompt(False), use_cache=False)
    assert [call.matrix.shape[2] for call in seen if call.layer == 0] == list(range(5, 5 + NEW))


def test_our_own_decoder_is_joined_too() -> None:
    from limelight.modules.attention import LayerCache

    attention, cache = ll.MultiHeadAttention(20, heads=5, key_value_heads=5).eval(), LayerCache()
    x = torch.randn(2, 7, 20)
    causal = ll.masks.causal()
    with torch.no_grad(), ll.watch(attention) as seen:
        attention(x[:, :4], mask=causal, cache=cache)
        for t in range(4, 7):
            attention(x[:, t : t + 1], mask=causal, cache=cache, start=t)
    with torch.no_grad(), ll.watch(attention) as whole:
        attention(x, mask=causal)
    assert len(seen) == 1
    torch.testing.assert_close(seen[0].dense(), whole[0].dense(), atol=CLOSE, rtol=0)
