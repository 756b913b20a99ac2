"""A loss on lazy weights gives the gradients of an eager model; what cannot be had is refused with the way out."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from limelight.capture import watch
from limelight.capture.inputs.autograd import Graph
from limelight.capture.lazy.context import lazy_attentions
from limelight.capture.lazy.tensor import LazyAttentionTensor
from limelight.errors import CaptureError
from limelight.matrix import AttentionMatrix, masks
from tests.capture import foreign
from tests.examples import mostly_slow

transformers = foreign.transformers
Loss = Callable[[Tensor], Tensor]


MODELS: dict[str, Callable[[], Any]] = {
    "gpt2": foreign.gpt2,
    "llama": foreign.llama,
    "bert": foreign.bert,
    "t5": foreign.t5,
}
LOSSES: dict[str, Loss] = {
    "whole": lambda weights: weights.square().sum(),
    "one row": lambda weights: weights[0, 1, 3].pow(3).sum(),
    "one column": lambda weights: weights[0, :, :, 1].square().sum(),
    "rows here and there": lambda weights: weights[:, 1, [0, 3]].square().sum(),
    "entropy": lambda weights: (weights * (weights + 1e-3).log()).sum(),
}


def gradients(model: Any, run: Callable[[], Any], loss: Loss) -> Tensor:
    model.zero_grad(set_to_none=True)
    found = run()
    logits = found.logits if hasattr(found, "logits") else found.last_hidden_state
    total = logits.square().mean()
    for field in ("attentions", "decoder_attentions", "encoder_attentions", "cross_attentions"):
        for weights in getattr(found, field, None) or ():
            total = total + loss(weights)
    total.backward()
    return torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None])


@pytest.mark.parametrize("loss", mostly_slow(LOSSES, "entropy", "rows here and there"))
@pytest.mark.parametrize("name", MODELS)
def test_a_loss_on_the_weights_has_the_gradients_of_an_eager_model(name: str, loss: str) -> None:
    torch.manual_seed(3)
    model = MODELS[name]().double()
    inputs = foreign.inputs(model)
    with foreign.eager(model):
        expected = gradients(model, lambda: model(**inputs, output_attentions=True), LOSSES[loss])

    def lent() -> Any:
        with lazy_attentions(model):
            return model(**inputs, output_attentions=True)

    found = gradients(model, lent, LOSSES[loss])
    without = gradients(model, lambda: model(**inputs), LOSSES[loss])
    # Some eager models take their softmax in float32, whatever their dtype.
    torch.testing.assert_close(found, expected, atol=3e-7, rtol=0)
    assert float((found - without).abs().max()) > 1e-5  # the term counts


def test_the_output_is_that_of_the_model_alone() -> None:
    model = foreign.llama()
    inputs = foreign.inputs(model)
    expected = model(**inputs).logits
    with lazy_attentions(model):
        found = model(**inputs, output_attentions=True)
    assert torch.equal(found.logits, expected)
    assert found.attentions[0].requires_grad and not found.attentions[0].is_leaf


def test_what_needs_no_gradient_needs_no_detach() -> None:
    model = foreign.gpt2()
    with lazy_attentions(model):
        weights = model(**foreign.inputs(model), output_attentions=True).attentions[0]
    with torch.no_grad():
        stored = weights.clone()
    assert not stored.requires_grad
    assert np.array_equal(np.asarray(weights), stored.numpy())
    assert weights.tolist() == stored.tolist()
    assert torch.equal(copy.deepcopy(weights), stored)
    assert not weights.detach().requires_grad and isinstance(weights.detach(), LazyAttentionTensor)
    assert torch.equal(weights.detach()[0, 1], stored[0, 1])


# ── Refused ──

ASKED: dict[str, Callable[[Any, Tensor], Any]] = {
    "retain_grad": lambda found, weights: weights.retain_grad(),
    "requires_grad_": lambda found, weights: weights.requires_grad_(),
    "requires_grad": lambda found, weights: setattr(weights, "requires_grad", True),
    "hook": lambda found, weights: weights.register_hook(print),
    "grad": lambda found, weights: weights.grad,
    "autograd": lambda found, weights: torch.autograd.grad(found.logits.sum(), weights),
    "autograd of several": lambda found, weights: torch.autograd.grad(found.logits.sum(), [weights]),
}


@pytest.mark.parametrize("asked", ASKED)
def test_gradients_of_the_output_at_the_weights_are_refused(asked: str) -> None:
    model = foreign.llama()
    with lazy_attentions(model):
        found = model(**foreign.inputs(model), output_attentions=True)
    with pytest.raises(CaptureError, match="attn_implementation='eager'"):
        ASKED[asked](found, found.attentions[0])


def test_the_gradient_of_a_loss_is_kept_at_a_copy() -> None:
    model = foreign.llama()
    with lazy_attentions(model):
        found = model(**foreign.inputs(model), output_attentions=True)
    weights = found.attentions[0].clone()
    weights.retain_grad()
    weights.square().sum().backward()
    torch.testing.assert_close(weights.grad, 2 * weights.detach())


def test_a_gradient_that_cannot_be_followed_is_refused() -> None:
    query, key = torch.randn(1, 2, 5, 3, requires_grad=True), torch.randn(1, 2, 7, 3)
    matrix = AttentionMatrix(query.detach(), key, mask=masks.causal())
    lost = LazyAttentionTensor(matrix, graph=Graph(query, key, lost="owe something to a mask"))
    assert float(lost.detach().sum()) == pytest.approx(10)
    with pytest.raises(CaptureError, match=r"owe something to a mask\. .*detach\(\)"):
        (lost.square().sum() + query.sum()).backward()

    model = foreign.bert()
    ids = torch.randint(3, foreign.VOCABULARY, (1, 5))
    learned = torch.zeros(1, 1, 5, 5, requires_grad=True)
    with lazy_attentions(model):
        found = model(ids, attention_mask=learned, output_attentions=True)
    with pytest.raises(CaptureError, match="a bias or a mask with a gradient"):
        found.attentions[0].square().sum().backward()


def test_a_checkpoint_that_drops_the_graph_is_told() -> None:
    model = foreign.llama().train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # newer versions have another name for it
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    inputs = foreign.inputs(model)
    with lazy_attentions(model):
        embedded = model.get_input_embeddings()(inputs.pop("input_ids"))
        found = model(**inputs, inputs_embeds=embedded, output_attentions=True, use_cache=False)
    if not isinstance(found.attentions[0], LazyAttentionTensor):
        pytest.skip("this version of transformers hands out nothing there")
    with pytest.raises(CaptureError, match="checkpoint"):
        (found.logits.sum() + torch.stack(list(found.attentions)).square().sum()).backward()


def test_a_watch_keeps_no_graph_alive() -> None:
    model = foreign.llama()
    with watch(model) as seen:
        model(**foreign.inputs(model))
    assert all(entry.steps._first.graph is None for entry in seen.entries if entry.steps is not None)
