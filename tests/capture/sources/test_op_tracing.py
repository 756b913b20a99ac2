"""The tape: attention written by hand, in the ways that people write it, against the weights that it computed."""

from __future__ import annotations

import gc
import math
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.capture.sources.op_tracing.module_tape import follow
from limelight.matrix import masks
from tests.tolerance import check

B, H, N, M, D = 2, 3, 5, 7, 11

Hidden = Callable[["ByHand", Tensor], Tensor]


class ByHand(nn.Module):
    """softmax(…)·V, with a way of its own to get there; keeps its weights."""

    num_heads = H

    def __init__(
        self, weigh: Callable[[Tensor, Tensor], Tensor], apply: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.weigh, self.apply_to = weigh, apply

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.weights = self.weigh(q, k)
        return self.apply_to(self.weights, v)


def watched(module: nn.Module, *inputs: Tensor) -> tuple[list[AttentionInputs], list[str], Tensor]:
    heard: list[AttentionInputs] = []
    missed: list[str] = []
    with torch.no_grad(), follow(module, lambda _, one: heard.append(one), lambda _, why: missed.append(why)):
        output = module(*inputs)
    return heard, missed, output


def plain(scores: Callable[[Tensor, Tensor], Tensor]) -> ByHand:
    return ByHand(lambda q, k: torch.softmax(scores(q, k), dim=-1), torch.matmul)


def product(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-1, -2)


def smallest(hidden: Tensor) -> Tensor:
    return torch.zeros(hidden.shape).masked_fill(hidden, torch.finfo(torch.float32).min)


AHEAD = torch.ones(N, M).triu(1 + M - N).bool()
PADDED = torch.zeros(B, 1, 1, M).bool()
PADDED[1, ..., -2:] = True
BIAS = torch.randn(1, H, N, M, generator=torch.Generator().manual_seed(5))
SLOPES = torch.linspace(-1, 1, H)[:, None, None] * torch.arange(M)
FACTORS = torch.rand(H, 1, 1, generator=torch.Generator().manual_seed(6)) + 0.5


def in_place(q: Tensor, k: Tensor) -> Tensor:
    scores = product(q, k)
    scores /= math.sqrt(D)
    scores += BIAS
    return scores.masked_fill_(PADDED, -torch.inf)


def folded(q: Tensor, k: Tensor) -> Tensor:
    """Heads and batches in one axis, the bias by baddbmm."""
    slopes = SLOPES.repeat(B, 1, 1)
    scores = slopes.baddbmm(
        q.flatten(0, 1), k.flatten(0, 1).transpose(1, 2), beta=0.5, alpha=1 / math.sqrt(D)
    )
    return scores.view(B, H, N, M) + smallest(PADDED)


WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "no scale": product,
    "divided": lambda q, k: product(q, k) / math.sqrt(D),
    "queries scaled before": lambda q, k: product(q * D**-0.5, k),
    "in place": in_place,
    "folded, alibi": folded,
    "softcap": lambda q, k: torch.tanh(product(q, k) / 7.0) * 7.0 + BIAS,
    "bias and then scale": lambda q, k: (product(q, k) + SLOPES) * 0.3,
    "causal and padded": lambda q, k: product(q, k) / 2 + smallest(AHEAD) + smallest(PADDED),
    "where": lambda q, k: torch.where(AHEAD, torch.tensor(-1e9), product(q, k)),
    "zero and then far": lambda q, k: product(q, k) * (~AHEAD).float() + -1e4 * AHEAD.float(),
    "a factor a head": lambda q, k: product(q, k) * FACTORS + BIAS,
    "einsum": lambda q, k: torch.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(D),
    "minus": lambda q, k: product(q, k) - BIAS - 3.0,
    "lifted by clamp": lambda q, k: (product(q, k) + smallest(AHEAD)).clamp(min=-65504.0),
    "lifted": lambda q, k: torch.max(
        product(q, k) + smallest(AHEAD), torch.tensor(torch.finfo(torch.float32).min)
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_weights_are_those_that_were_computed(way: str) -> None:
    module = plain(WAYS[way])
    q, k, v = torch.randn(B, H, N, D), torch.randn(B, H, M, D), torch.randn(B, H, M, D + 2)
    alone = module(q, k, v)
    (heard,), missed, output = watched(module, q, k, v)
    assert not missed
    assert torch.equal(output, alone)
    check("weights", heard.matrix().dense(), module.weights)
    check("output", heard.matrix() @ v, output)
    assert heard.output is not None
    assert torch.equal(heard.output, output)


def test_einsum_of_other_orders_of_axes() -> None:
    module = ByHand(
        lambda q, k: torch.softmax(torch.einsum("ibnd,jbnd->bnij", q, k), dim=3),
        lambda weights, v: torch.einsum("bnij,jbnd->ibnd", weights, v),
    )
    q, k, v = torch.randn(N, B, H, D), torch.randn(M, B, H, D), torch.randn(M, B, H, D)
    (heard,), _, output = watched(module, q, k, v)
    check("weights", heard.matrix().dense(), module.weights)
    check("output", heard.matrix() @ heard.value, output.permute(1, 2, 0, 3))


def test_one_key_head_for_all_stays_one() -> None:
    module = plain(product)
    q, k, v = torch.randn(B, H, N, D), torch.randn(B, 1, M, D), torch.randn(B, 1, M, D)
    (heard,), _, _ = watched(module, q, k, v)
    assert heard.key.shape == (B, 1, M, D)
    check("weights", heard.matrix().dense(), module.weights)


def test_a_causal_table_becomes_a_rule() -> None:
    (heard,), _, _ = watched(
        plain(WAYS["causal and padded"]), *(torch.randn(B, H, size, D) for size in (N, M, M))
    )
    assert heard.bias is None
    seen = heard.mask.block(0, N, 0, M, N, M)
    assert torch.equal(seen, ~(AHEAD | PADDED))
    assert isinstance(heard.mask, type(masks.causal() & masks.dense(seen)))


ADDED = smallest(AHEAD)


@pytest.mark.parametrize(
    ("mask", "scores"),
    [
        (ADDED, lambda q, k, mask: product(q, k) + mask),
        pytest.param(AHEAD, lambda q, k, mask: product(q, k).masked_fill(mask, -1e9), marks=pytest.mark.slow),
        (AHEAD, lambda q, k, mask: product(q, k).masked_fill(mask, -1e9).masked_fill(mask, -1e9)),
    ],
    ids=["added", "filled", "filled twice"],
)
def test_layers_that_share_a_mask_share_its_rule_and_let_it_go(
    mask: Tensor, scores: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> None:
    held = [mask.clone()]
    inputs = [torch.randn(B, H, size, D) for size in (N, M, M)]
    layers = [watched(plain(lambda q, k: scores(q, k, held[0])), *inputs)[0] for _ in range(2)]
    [[first], [second]] = layers
    assert first.mask is second.mask
    kept = weakref.ref(held[0])
    held.clear()
    del layers, first, second
    gc.collect()
    assert kept() is None


def test_a_query_that_may_look_at_nothing_is_spread_as_the_model_spreads_it() -> None:
    hidden = AHEAD.clone()
    hidden[2] = True
    module = plain(lambda q, k: product(q, k) + smallest(hidden))
    (heard,), _, _ = watched(module, *(torch.randn(B, H, size, D) for size in (N, M, M)))
    check("weights", heard.matrix().dense(), module.weights)
    check("weights", heard.matrix()[0, 0, 2], torch.full((M,), 1 / M))


def test_weights_that_are_set_to_zero_after_softmax() -> None:
    hidden = AHEAD.clone()
    hidden[2] = True
    lowest = torch.finfo(torch.float32).min
    module = ByHand(
        lambda q, k: torch.softmax(product(q, k).masked_fill(hidden, lowest), -1).masked_fill(hidden, 0.0),
        torch.matmul,
    )
    (heard,), _, _ = watched(module, *(torch.randn(B, H, size, D) for size in (N, M, M)))
    check("weights", heard.matrix().dense(), module.weights)


@pytest.mark.parametrize(
    ("scores", "named"),
    [
        (lambda q, k: torch.sin(product(q, k)), "sin"),
        (lambda q, k: product(q, k).masked_fill(AHEAD, -1.0), "hide nothing"),
        (lambda q, k: (product(q, k) + 1).abs(), "abs"),
        (lambda q, k: product(q, k).clamp(-5, 5), "clamp"),
        (lambda q, k: product(q, k).clamp(min=-5), "clamp"),
        (lambda q, k: product(q, k).clamp(max=5), "clamp"),
        (lambda q, k: torch.maximum(product(q, k), torch.zeros(())), "maximum"),
        (lambda q, k: torch.maximum(product(q, k), torch.zeros(N, M)), "maximum"),
    ],
)
def test_what_cannot_be_followed_is_named(scores: Callable[[Tensor, Tensor], Tensor], named: str) -> None:
    heard, (why,), _ = watched(plain(scores), *(torch.randn(B, H, size, D) for size in (N, M, M)))
    assert not heard
    assert named in why


def hidden_by(write: Callable[[Tensor], object]) -> Callable[[Tensor, Tensor], Tensor]:
    """Scores into which something is written."""

    def scores(q: Tensor, k: Tensor) -> Tensor:
        made = product(q, k)
        write(made)
        return made

    return scores


WRITES: dict[str, Callable[[Tensor], object]] = {
    "an index": lambda scores: scores.__setitem__((..., AHEAD), -torch.inf),
    "a slice": lambda scores: scores[..., :1].__iadd__(3.0),
    "a view": lambda scores: scores.flatten().fill_(0.5),
    "out=": lambda scores: torch.mul(scores[:1], 2.0, out=scores[:1]),
    "a part of it": lambda scores: scores[..., 0].masked_fill_(PADDED[..., 0, 1:2], -1e9),
}


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("write", WRITES)
def test_scores_that_are_written_into_are_lost_not_wrong(write: str, inference: bool) -> None:
    inputs = [torch.randn(B, H, size, D) for size in (N, M, M)]
    with torch.inference_mode(inference):
        heard, (why,), _ = watched(plain(hidden_by(WRITES[write])), *inputs)
    assert not heard
    assert "a write into their memory" in why


def into(write: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Scores that somebody writes where one of their parts lies: queries, keys, or a bias or mask of their size."""

    def scores(q: Tensor, k: Tensor) -> Tensor:
        return write(q, k, BIAS.expand(B, H, N, M).clone())

    return scores


def written_after(of: Callable[[Tensor, Tensor, Tensor], Tensor], which: int) -> Any:
    """The same, where a part is written into when the scores have been made of it."""

    def write(*parts: Tensor) -> Tensor:
        made = of(*parts)
        parts[which].mul_(0.5)
        return made

    return write


OVER: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "added into the bias": lambda q, k, bias: bias.__iadd__(product(q, k)),
    "product into the bias": lambda q, k, bias: (
        bias.flatten(0, 1).baddbmm_(q.flatten(0, 1), k.flatten(0, 1).mT, alpha=0.3).view_as(bias)
    ),
    "product into the bias by out=": lambda q, k, bias: torch.baddbmm(
        flat := bias.flatten(0, 1), q.flatten(0, 1), k.flatten(0, 1).mT, out=flat
    ).view_as(bias),
    "queries": written_after(lambda q, k, _: product(q, k), 0),
    "keys": written_after(lambda q, k, _: product(q, k), 1),
    "bias": written_after(lambda q, k, bias: product(q, k) + bias, 2),
    "what the bias was made of": written_after(lambda q, k, bias: product(q, k) + bias * 2, 2),
}


def test_values_of_the_same_product_may_be_written_into() -> None:
    """Q, K and V cut out of one projection share storage, and no entry."""

    class Attend(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = x.unflatten(-1, (3, H, D)).permute(2, 0, 3, 1, 4)
            weights = (q @ k.mT * 0.5).softmax(-1)
            v[:, :, -1] = 0
            return weights @ v

    x = torch.randn(B, N, 3 * H * D)
    heard, missed, _ = watched(Attend(), x.clone())
    assert not missed and len(heard) == 1
    q, k, _ = x.double().unflatten(-1, (3, H, D)).permute(2, 0, 3, 1, 4)
    check("weights", heard[0].matrix().dense(), (q @ k.mT * 0.5).softmax(-1))


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("over", OVER)
def test_scores_whose_parts_are_written_into_are_lost_not_wrong(over: str, inference: bool) -> None:
    inputs = [torch.randn(B, H, size, D) for size in (N, M, M)]
    with torch.inference_mode(inference):
        heard, missed, _ = watched(plain(into(OVER[over])), *inputs)
    if over == "what the bias was made of":  # a new tensor was added, the old one may change
        assert len(heard) == 1 and not missed
    else:
        assert not heard and "written into after the scores were computed" in missed[0]


def test_a_bias_that_is_written_into_after_softmax_is_lost_not_wrong() -> None:
    bias = BIAS.clone()

    def weigh(q: Tensor, k: Tensor) -> Tensor:
        weights = (product(q, k) + bias).softmax(-1)
        bias.zero_()
        return weights

    inputs = [torch.randn(B, H, size, D) for size in (N, M, M)]
    heard, (why,), _ = watched(ByHand(weigh, torch.matmul), *inputs)
    assert not heard and "written into after the scores were computed" in why


def test_weights_that_are_multiplied_in_place_are_lost_not_wrong() -> None:
    def weigh(q: Tensor, k: Tensor) -> Tensor:
        weights = torch.softmax(product(q, k), -1)
        weights *= (~AHEAD).float()
        return weights

    heard, (why,), _ = watched(
        ByHand(weigh, torch.matmul), *(torch.randn(B, H, size, D) for size in (N, M, M))
    )
    assert not heard
    assert "mul after softmax" in why


def test_what_is_written_elsewhere_changes_nothing() -> None:
    def scores(q: Tensor, k: Tensor) -> Tensor:
        made = product(q, k)
        other = torch.zeros(3)
        other[1] = 2.0
        other += 1.0
        return made

    (heard,), _, _ = watched(plain(scores), *(torch.randn(B, H, size, D) for size in (N, M, M)))
    assert heard.mask is None


def test_another_input_makes_it_cross_attention() -> None:
    class CrossAttention(nn.Module):
        def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
            keys = x if context is None else context
            return torch.softmax(product(x, keys), -1) @ keys

    x, context = torch.randn(B, H, N, D), torch.randn(B, H, M, D)
    (heard,), _, _ = watched(CrossAttention(), x, context)
    assert heard.kind == "cross"

    class Attention(CrossAttention):
        pass

    (heard,), _, _ = watched(Attention(), x)
    assert heard.kind == "self"
    (heard,), _, _ = watched(Attention(), x, context)
    assert heard.kind == "cross"


def test_dropout_is_told_and_the_weights_are_those_before() -> None:
    module = ByHand(
        lambda q, k: torch.softmax(product(q, k), -1),
        lambda weights, v: nn.functional.dropout(weights, 0.5, training=True) @ v,
    )
    (heard,), _, _ = watched(module, *(torch.randn(B, H, size, D) for size in (N, M, M)))
    assert heard.dropout == 0.5
    check("weights", heard.matrix().dense(), module.weights)


def test_nothing_stays_on_the_module_and_errors_pass() -> None:
    module = plain(lambda q, k: product(q, k) + torch.ones(999))
    with pytest.raises(RuntimeError):
        watched(module, *(torch.randn(B, H, size, D) for size in (N, M, M)))
    assert not module._forward_hooks
    assert not module._forward_pre_hooks
    assert torch.overrides._get_current_function_mode() is None


def test_a_module_that_runs_in_another_thread() -> None:
    module, heard = plain(product), list[AttentionInputs]()
    with follow(module, lambda _, one: heard.append(one), lambda *_: None):
        thread = threading.Thread(target=module, args=[torch.randn(B, H, size, D) for size in (N, M, M)])
        thread.start()
        thread.join()
    check("weights", heard[0].matrix().dense(), module.weights)
