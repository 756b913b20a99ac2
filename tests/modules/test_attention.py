"""Multi-head attention against the float64 truth, with its cache, and the matrices that it hands out."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limelight.errors import ArgumentTypeError, InputError, ShapeError
from limelight.matrix import AttentionMatrix, masks, reference
from limelight.matrix.biases.distance import Alibi
from limelight.modules import attention as module
from limelight.modules.attention import LayerCache, MultiHeadAttention, record_attention
from limelight.modules.positions import KINDS, positions
from limelight.modules.transformer import Transformer, TransformerConfig
from tests.modules.truth import Truth
from tests.tolerance import check

B, N, M = 2, 11, 13
SHAPE = TransformerConfig(width=36, heads=6)  # heads of six features, an even number, as rotary wants it
SEEN = torch.rand(B, 1, N, M, generator=torch.Generator().manual_seed(3)) > 0.4
SEEN[..., 0] = True

MASKS = {
    "all": (None, None),
    "causal": (masks.causal(), masks.causal()),
    "lengths": (masks.lengths(key=[7, N]), masks.lengths(key=[5, M])),
    "causal and lengths": (
        masks.causal() & masks.lengths(key=[7, N]),
        masks.causal() & masks.lengths(key=[5, M]),
    ),
    "dense": (masks.dense(SEEN[..., :N]), masks.dense(SEEN)),
}


def attention(shape: TransformerConfig = SHAPE, dtype: torch.dtype = torch.float32) -> MultiHeadAttention:
    layer = MultiHeadAttention(
        shape.width,
        shape.heads,
        key_value_heads=shape.key_value_heads,
        positions=positions(shape.positions, shape.width, shape.width // shape.heads, shape.longest),
        bias=shape.attention_bias,
    ).to(dtype)
    if shape.attention_bias:
        for projection in (layer.Wq, layer.Wk, layer.Wv, layer.Wo):
            nn.init.normal_(projection.bias)
    return layer


def inputs(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return torch.randn(B, N, SHAPE.width, dtype=dtype), torch.randn(B, M, SHAPE.width, dtype=dtype)


# ── The truth ──


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("groups", [None, 3, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_forward_is_the_truth(kind: str, groups: int | None, dtype: torch.dtype) -> None:
    shape = replace(SHAPE, positions=kind, key_value_heads=groups, attention_bias=groups == 3)
    layer, (x, memory) = attention(shape, dtype), inputs(dtype)
    truth = Truth.of(layer, shape)
    for own_mask, cross_mask in MASKS.values():
        check("output", layer(x, mask=own_mask).detach(), truth.attention(x, None, own_mask))
        check("output", layer(x, memory, mask=cross_mask).detach(), truth.attention(x, memory, cross_mask))


def _other_scale(layer: MultiHeadAttention, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        module, "scaled_dot_product_attention", partial(module.scaled_dot_product_attention, scale=0.41)
    )


def _no_mask(layer: MultiHeadAttention, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "_fused_mask", lambda *_: {})


def _keys_for_values(layer: MultiHeadAttention, patch: pytest.MonkeyPatch) -> None:
    layer.Wv = layer.Wk


def _later_queries(layer: MultiHeadAttention, patch: pytest.MonkeyPatch) -> None:
    rotate = layer.positions.rotate
    patch.setattr(layer.positions, "rotate", lambda q, start: rotate(q, start + (q.shape[1] == layer.heads)))


def _mixed_heads(layer: MultiHeadAttention, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layer, "_split", lambda x, heads: x.unflatten(2, (-1, heads)).movedim(3, 1))


@pytest.mark.parametrize("mutate", [_other_scale, _no_mask, _keys_for_values, _later_queries, _mixed_heads])
def test_the_comparison_sees_a_wrong_module(mutate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = replace(SHAPE, key_value_heads=3)
    layer, (x, _) = attention(shape), inputs()
    truth = Truth.of(layer, shape).attention(x, None, masks.causal())
    check("output", layer(x, mask=masks.causal()).detach(), truth)
    mutate(layer, monkeypatch)
    with pytest.raises(AssertionError, match="output"):
        check("output", layer(x, mask=masks.causal()).detach(), truth)


def test_a_query_that_may_look_at_nothing_gets_nothing() -> None:
    layer, (x, memory) = attention(replace(SHAPE, positions="none")), inputs()
    output = layer(x, memory, mask=masks.lengths(key=[0, M]))
    assert bool((output[0] == 0).all())
    assert not output.isnan().any()


def test_gradients_are_those_of_the_truth() -> None:
    shape = replace(SHAPE, positions="none")
    layer, (x, memory) = attention(shape), inputs()
    layer(x, memory, mask=MASKS["lengths"][1]).square().sum().backward()
    exact = {name: p.detach().double().requires_grad_() for name, p in layer.named_parameters()}
    Truth(exact, shape).attention(x.double(), memory.double(), MASKS["lengths"][1]).square().sum().backward()
    for name, parameter in layer.named_parameters():
        check("gradient", parameter.grad, exact[name].grad)


def test_bf16_autocast_stays_near_and_attends_in_float32() -> None:
    layer, (x, _) = attention(), inputs()
    truth = layer(x, mask=masks.causal()).detach()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = layer(x, mask=masks.causal()).detach()
    assert (rounded.float() - truth).square().mean().sqrt() < 0.02 * truth.square().mean().sqrt()


def test_dropout_acts_in_training_only() -> None:
    layer, (x, _) = attention(), inputs()
    layer.dropout = 0.5
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))


# ── The cache ──


@pytest.mark.parametrize("groups", [None, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_step_by_step_with_a_cache_is_one_forward(kind: str, groups: int | None) -> None:
    layer, (x, memory) = attention(replace(SHAPE, positions=kind, key_value_heads=groups)), inputs()
    whole = layer(x, mask=masks.causal()).detach()
    across = layer(x, memory, mask=masks.lengths(key=[5, M])).detach()
    for cuts in ([1] * N, [4, 1, 6], [N]):
        own, other = LayerCache(), LayerCache()
        start, parts, across_parts = 0, [], []
        for count in cuts:
            piece = x[:, start : start + count]
            parts.append(layer(piece, mask=masks.causal(), cache=own, start=start))
            mask = masks.lengths(key=[5, M])
            across_parts.append(layer(piece, memory, mask=mask, cache=other, start=start))
            start += count
        assert (own.length, other.length) == (N, M)
        check("output", torch.cat(parts, 1).detach(), whole.double())
        check("output", torch.cat(across_parts, 1).detach(), across.double())


def test_cross_attention_computes_its_keys_once() -> None:
    layer, (x, memory) = attention(), inputs()
    cache, calls = LayerCache(), []
    layer.Wk.register_forward_hook(lambda *_: calls.append(1))
    for position in range(3):
        layer(x[:, position : position + 1], memory, cache=cache, start=position)
    assert len(calls) == 1


def test_select_keeps_rows_and_later_steps_go_on_from_them() -> None:
    layer, (x, _) = attention(), inputs()
    cache = LayerCache()
    layer(x[:, :4], mask=masks.causal(), cache=cache)
    rows = torch.tensor([1, 0, 1])
    cache.select(rows)
    next_ones = layer(x[rows, 4:5], mask=masks.causal(), cache=cache, start=4)
    check("output", next_ones.detach(), layer(x[rows, :5], mask=masks.causal())[:, 4:].detach().double())


def test_cache_grows_by_doubling() -> None:
    cache, buffers = LayerCache(), set()
    for _ in range(300):
        cache.append(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2))
        buffers.add(cache.key_BGMD.data_ptr())
    assert cache.length == 300
    assert len(buffers) < 8


# ── The matrices ──


@pytest.mark.parametrize("kind", KINDS)
def test_kept_matrices_are_the_truth_and_give_the_output(kind: str) -> None:
    shape = replace(SHAPE, positions=kind, key_value_heads=3)
    layer, (x, memory) = attention(shape), inputs()
    before_Wo: list[Tensor] = []
    layer.Wo.register_forward_pre_hook(lambda _, given: before_Wo.append(given[0].detach()))
    truth = Truth.of(layer, shape)
    for own_mask, cross_mask in MASKS.values():
        for other, mask in ((None, own_mask), (memory, cross_mask)):
            with record_attention(layer) as seen:
                layer(x, other, mask=mask)
            stages = truth.attention_stages(x, other, mask)
            check("weights", seen[""].dense(), stages.weights_BHNM)
            check("weights", seen[""][1, 2, 3:7], stages.weights_BHNM[1, 2, 3:7])
            mixed = reference.concatenate(reference.weigh_values(seen[""].dense().double(), seen[""].value))
            check("output", before_Wo[-1], mixed)


def test_with_a_cache_the_matrix_has_the_new_rows() -> None:
    layer, (x, _) = attention(), inputs()
    cache = LayerCache()
    with record_attention(layer) as seen:
        layer(x, mask=masks.causal())
        whole = seen[""].dense()
        layer(x[:, :8], mask=masks.causal(), cache=cache)
        layer(x[:, 8:], mask=masks.causal(), cache=cache, start=8)
        assert seen[""].shape == (B, 6, N - 8, N)
        check("weights", seen[""].dense(), whole[:, :, 8:].double())


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls of the fused kernel and of every linear map from here on."""
    calls: list[str] = []
    fused, linear = module.scaled_dot_product_attention, nn.Linear.forward

    def attend(*args: Any, **keywords: Any) -> Tensor:
        calls.append("attention")
        return fused(*args, **keywords)

    def project(self: nn.Linear, x: Tensor) -> Tensor:
        calls.append("linear")
        return linear(self, x)

    monkeypatch.setattr(module, "scaled_dot_product_attention", attend)
    monkeypatch.setattr(nn.Linear, "forward", project)
    return calls


def test_keeping_costs_no_second_forward_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = TransformerConfig(36, 6, 29, 2, 3)
    model = Transformer(shape, 17, 19).eval()
    source, target = torch.randint(4, 17, (B, M)), torch.randint(4, 19, (B, N))
    calls = counted(monkeypatch)
    plain = model(source, target)
    without = list(calls)
    calls.clear()
    with record_attention(model) as seen:
        assert torch.equal(model(source, target), plain)
        for matrix in seen.values():
            matrix[0, 0, 0]
    assert calls == without
    assert calls.count("attention") == len(seen) == 2 + 3 + 3

    layers = [layer for layer in model.modules() if isinstance(layer, MultiHeadAttention)]
    assert len(layers) == 8
    assert not any(layer.wanted for layer in layers)
    kept = dict(seen)
    model(source, target)
    assert seen == kept, "a forward after the block changed what was kept"


def test_kept_matrices_stand_in_the_order_of_execution() -> None:
    model = Transformer(TransformerConfig(36, 6, 29, 2, 2), 17, 19).eval()
    with record_attention(model) as seen:
        model(torch.randint(4, 17, (B, M)), torch.randint(4, 19, (B, N)))
    assert list(seen) == [
        "encoder.blocks.0.self_attention",
        "encoder.blocks.1.self_attention",
        "decoder.blocks.0.self_attention",
        "decoder.blocks.0.cross_attention",
        "decoder.blocks.1.self_attention",
        "decoder.blocks.1.cross_attention",
    ]
    assert [matrix.shape[2:] for matrix in seen.values()] == [(M, M), (M, M), (N, N), (N, M), (N, N), (N, M)]


def test_an_error_inside_the_block_leaves_nothing_kept() -> None:
    layer = attention()
    with pytest.raises(ShapeError), record_attention(layer):
        layer(torch.ones(3, 4))
    assert not layer.wanted


def test_threads_keep_each_their_own() -> None:
    layer = attention()
    lengths = [3, 5, 7, 11] * 4
    begun = threading.Barrier(4)

    def kept(tokens: int) -> int:
        with record_attention(layer) as seen:
            begun.wait()
            layer(torch.ones(1, tokens, layer.Wq.in_features))
            begun.wait()
        return seen[""].shape[2]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(kept, lengths)) == lengths
    assert not layer.wanted


def test_blocks_within_one_another_both_keep() -> None:
    layer, (x, _) = attention(), inputs()
    with record_attention(layer) as outer:
        with record_attention(layer) as inner:
            layer(x)
        assert outer[""] is inner[""]
        layer(x)
    assert outer[""] is not inner[""]


def test_of_alibi_the_rule_is_kept_and_no_table() -> None:
    layer, (x, _) = attention(replace(SHAPE, positions="alibi")), inputs()
    with record_attention(layer) as seen:
        layer(x)
    assert isinstance(seen[""]._scores.bias, Alibi)


def test_a_kept_matrix_carries_no_gradient() -> None:
    layer, (x, _) = attention(), inputs()
    with record_attention(layer) as seen:
        layer(x.requires_grad_())
    assert isinstance(seen[""], AttentionMatrix)
    assert not seen[""].dense().requires_grad


# ── What is refused ──


def test_a_table_of_bools_is_no_mask() -> None:
    layer, (x, _) = attention(), inputs()
    with pytest.raises(ArgumentTypeError, match=r"masks\.dense\(table\)"):
        layer(x, mask=torch.ones(N, N, dtype=torch.bool))


@pytest.mark.parametrize(
    ("width", "heads", "groups", "message"),
    [
        (36, 5, None, "36 is not a multiple of 5"),
        (36, 6, 4, "6 is not a multiple of 4"),
        (36, 0, None, "at least 1"),
        (36, 6, 0, "at least 1"),
    ],
)
def test_heads_must_divide(width: int, heads: int, groups: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MultiHeadAttention(width, heads, key_value_heads=groups)


def test_inputs_must_have_three_axes_and_agree() -> None:
    layer, (x, memory) = attention(), inputs()
    with pytest.raises(ShapeError, match="x must have 3 axes"):
        layer(x[0])
    with pytest.raises(ShapeError, match="must agree on B"):
        layer(x, memory[:1])


def test_a_width_that_no_memory_holds_is_refused_before_it_is_made() -> None:
    with pytest.raises(InputError, match="width must be from 1 to"):
        MultiHeadAttention(width=2**62, heads=2)
