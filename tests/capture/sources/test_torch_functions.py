"""watch on plain PyTorch: nn.MultiheadAttention, nn.Transformer, scaled_dot_product_attention by any name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import scaled_dot_product_attention as bound_early

import limelight as ll
from limelight.errors import CaptureError

B, N, M, E, H = 2, 7, 11, 12, 3
CLOSE = {"atol": 1e-6, "rtol": 0.0}


@pytest.mark.parametrize("weights", [True, False], ids=["with weights", "fused"])
@pytest.mark.parametrize("masked", ["nothing", "padding", "causal", "both", "per head"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_multihead_attention(weights: bool, masked: str, training: bool) -> None:
    attention = nn.MultiheadAttention(E, H, batch_first=True).train(training)
    x = torch.randn(B, N, E)
    given: dict[str, Any] = {}
    if masked in ("padding", "both"):
        given["key_padding_mask"] = torch.arange(N) >= torch.tensor([[N], [N - 3]])
    if masked in ("causal", "both"):
        given["attn_mask"] = nn.Transformer.generate_square_subsequent_mask(N).isinf()
    if masked == "per head":
        given["attn_mask"] = torch.randn(B * H, N, N)
    with torch.no_grad():
        plain, expected = attention(x, x, x, average_attn_weights=False, **given)
        with ll.watch(attention, verify=True) as seen:
            found, told = attention(x, x, x, need_weights=weights, average_attn_weights=False, **given)
    torch.testing.assert_close(found, plain, **CLOSE)
    assert (told is not None) == weights
    torch.testing.assert_close(seen[0].dense(), expected, **CLOSE)
    assert seen[""] is seen[0] and len(seen) == 1
    call = next(iter(seen))
    assert call.kind == "self" and seen.verified[""].error < 1e-5  # type: ignore[union-attr]
    assert not weights or torch.equal(found, plain)
    assert len(seen.why()) == 1  # that it was verified


def test_cross_attention_and_texts_without_a_batch() -> None:
    attention = nn.MultiheadAttention(E, H).eval()
    query, memory = torch.randn(N, E), torch.randn(M, E)
    with torch.no_grad():
        _, expected = attention(query, memory, memory, average_attn_weights=False)
        with ll.watch(attention, verify=True) as seen:
            attention(query, memory, memory)
    assert next(iter(seen)).kind == "cross"
    torch.testing.assert_close(seen[0].dense()[0], expected, **CLOSE)


def test_a_whole_transformer() -> None:
    model = nn.Transformer(E, 2, 2, 2, 13, batch_first=True).eval()
    source, target = torch.randn(B, M, E), torch.randn(B, N, E)
    causal = nn.Transformer.generate_square_subsequent_mask(N)
    with torch.no_grad():
        plain = model(source, target, tgt_mask=causal, tgt_is_causal=True)
        with ll.watch(model, verify=True) as seen:
            found = model(source, target, tgt_mask=causal, tgt_is_causal=True)
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=0)
    assert seen.names()[2:4] == ["decoder.layers.0.self_attn", "decoder.layers.0.multihead_attn"]
    assert [call.kind for call in seen] == ["self", "self", "self", "cross", "self", "cross"]
    assert [row.mask for row in seen.summary().rows] == ["all", "all", "causal", "all", "causal", "all"]
    assert seen["decoder.layers.1.multihead_attn"].shape == (B, 2, N, M)


class Functional(nn.Module):
    """What is multiplied, and how, is told by the test."""

    def __init__(self, early: bool, **how: Any) -> None:
        super().__init__()
        self.early, self.how = early, how

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        attend = bound_early if self.early else functional.scaled_dot_product_attention
        return attend(q, k, v, **self.how)


@pytest.mark.parametrize("early", [True, False], ids=["bound early", "by its name"])
@pytest.mark.parametrize(
    ("shape", "keys", "how"),
    [
        ((B, H, N, 4), (B, H, M, 4), {"scale": 0.7}),
        ((B, H, N, 4), (B, H, M, 4), {"is_causal": True}),
        ((B, 6, N, 4), (B, 2, M, 4), {"enable_gqa": True}),
        ((B, N, 4), (B, M, 4), {"attn_mask": torch.rand(N, M) < 0.8}),
        ((N, 4), (M, 4), {"attn_mask": torch.randn(N, M)}),
        ((2, B, H, N, 4), (2, B, H, M, 4), {"attn_mask": torch.randn(2, B, 1, N, M)}),
    ],
    ids=["plain", "causal", "grouped", "three axes", "two axes", "five axes"],
)
def test_the_function_itself(
    early: bool, shape: tuple[int, ...], keys: tuple[int, ...], how: dict[str, Any]
) -> None:
    model = Functional(early, **how)
    q, k, v = torch.randn(shape), torch.randn(keys), torch.randn(keys)
    with ll.watch(model, verify=True) as seen:
        output = model(q, k, v)
    assert torch.equal(output, functional.scaled_dot_product_attention(q, k, v, **how))
    assert seen[0].shape[2:] == (N, M)
    assert seen.verified[""].error < 1e-5  # type: ignore[union-attr]


def test_another_model_is_not_heard() -> None:
    mine, other = Functional(True), Functional(True)
    x = torch.randn(1, 1, N, 4)
    with ll.watch(mine) as seen:
        other(x, x, x)
        functional.scaled_dot_product_attention(x, x, x)
        mine(x, x, x)
    assert len(seen) == 1


def test_our_own_modules_tell_of_themselves() -> None:
    model = ll.MultiHeadAttention(E, H, key_value_heads=1).eval()
    x, memory = torch.randn(B, N, E), torch.randn(B, M, E)
    window = ll.masks.causal() & ll.masks.window(3)
    with torch.no_grad(), ll.watch(model) as seen:
        model(x, mask=window)
        with ll.record_attention(model) as kept:
            model(x, memory)
        model(x)
    assert [call.kind for call in seen] == ["self", "cross", "self"]
    assert [row.mask for row in seen.summary().rows] == ["causal & window of 3", "all", "all"]
    assert torch.equal(kept[""].dense(), seen[1].dense())
    assert model.keep is None and "keep" not in model.__dict__
    assert "Not verified" not in seen.why()


class CausalAttention(nn.Module):
    """As it stands in many a tutorial."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(E, 3 * E)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(2, (H, E // H)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        scores = q @ k.transpose(-2, -1) / (E // H) ** 0.5
        hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        self.weights = scores.masked_fill(hidden, float("-inf")).softmax(dim=-1)
        return (self.weights @ v).transpose(1, 2).flatten(2)


class Wrapped(nn.Module):
    """A class that speaks of attention around one that is heard anyway."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = SelfAttentionBlock()

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x)


class SelfAttentionBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(E, H, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x)[0]


def test_attention_by_hand_is_followed() -> None:
    model, x = nn.Sequential(CausalAttention(), CausalAttention()), torch.randn(B, N, E)
    with torch.no_grad(), ll.watch(model, verify=True) as seen:
        model(x)
    assert seen.names() == ["0", "1"] and [call.layer for call in seen] == [0, 1]
    for matrix, module in zip(seen[:], model, strict=True):
        torch.testing.assert_close(matrix.dense(), module.weights, **CLOSE)
    wrapped = Wrapped().eval()
    with torch.no_grad(), ll.watch(wrapped) as seen:
        wrapped(x)
    assert seen.names() == ["attention.inner"] and not seen.missed


@pytest.mark.parametrize("flash", [True, False], ids=["fused", "by hand"])
def test_x_transformers(flash: bool) -> None:
    x_transformers = pytest.importorskip("x_transformers")
    layers = x_transformers.Decoder(dim=E, depth=2, heads=H, attn_dim_head=4, attn_flash=flash)
    model = x_transformers.TransformerWrapper(num_tokens=31, max_seq_len=19, attn_layers=layers).eval()
    ids = torch.randint(0, 31, (B, N))
    with torch.no_grad():
        plain = model(ids)
        with ll.watch(model, verify=True) as seen:
            assert torch.equal(model(ids), plain)
    assert [call.layer for call in seen] == [0, 1]
    assert all(row.mask.startswith("causal") for row in seen.summary().rows)


class Decoder(nn.Module):
    """Attention as a loop of one's own calls it, with a mask of its own."""

    def forward(self, query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
        return functional.scaled_dot_product_attention(query, key, key, attn_mask=mask)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_mask_that_is_written_into_is_read_at_every_step(mode: Any) -> None:
    decoder = Decoder()
    with mode():
        key, queries = torch.randn(1, H, 6, 8), torch.randn(1, H, 4, 8)
        mask = torch.zeros(1, 1, 1, 6, dtype=torch.bool)
        mask[..., 0] = True
        with ll.watch(decoder) as seen:
            for place in range(1, 4):
                mask[..., place] = True
                decoder(queries[:, :, place : place + 1], key, mask)
        expected = ((queries[:, :, 3:] @ key.mT) / 8**0.5).masked_fill(~mask, -torch.inf).softmax(-1)
        found = seen[-1].dense()[:, :, -1:]
        torch.testing.assert_close(found, expected[..., : found.shape[-1]], **CLOSE)
        assert float(expected[..., found.shape[-1] :].sum()) == 0


def test_a_mask_that_is_written_into_afterwards_is_refused() -> None:
    mask = (torch.rand(1, 1, N, N) > 0.4) | torch.eye(N, dtype=torch.bool)
    with torch.no_grad(), ll.watch(model := Decoder()) as seen:
        model(torch.randn(1, H, N, 8), torch.randn(1, H, N, 8), mask)
    assert seen[0].shape == (1, H, N, N)
    mask[...] = True
    with pytest.raises(CaptureError, match="has written to it since"):
        seen[0]


def test_a_forward_that_is_called_by_its_name_begins_anew() -> None:
    model = nn.TransformerEncoderLayer(E, H, batch_first=True, dropout=0.0)
    texts = torch.randn(2, B, N, E)
    with torch.no_grad(), ll.watch(model) as seen:
        for text in texts:
            model.forward(text)
    assert seen.names() == ["self_attn", "self_attn"]
    assert [call.layer for call in seen] == [0, 0]
    with torch.no_grad(), ll.watch(model) as alone:
        model(texts[1])
    torch.testing.assert_close(seen["self_attn"].dense(), alone[0].dense(), **CLOSE)


@pytest.mark.parametrize("batch_first", [True, False])
def test_queries_and_keys_of_one_memory_are_self_attention(batch_first: bool) -> None:
    attention = nn.MultiheadAttention(E, H, batch_first=batch_first).eval()
    x, place = torch.randn(B, N, E), torch.randn(B, N, E)
    with torch.no_grad(), ll.watch(attention) as seen:
        attention(x + place, placed := x + place, x)
        attention(placed, placed, x)
        attention(placed, placed, x, need_weights=False)
    assert [call.kind for call in seen] == ["cross", "self", "self"]


def test_keys_that_padding_hides_from_all_queries_stay() -> None:
    memory = torch.arange(M)[None, None, None] < M - 3
    with torch.no_grad(), ll.watch(model := Decoder()) as seen:
        model(torch.randn(1, H, 4, 8), torch.randn(1, H, M, 8), memory)
    assert seen[0].shape == (1, H, 4, M)
    assert float(seen[0].dense()[..., M - 3 :].abs().max()) == 0


@pytest.mark.parametrize("shape", [(2, 1, 1, N, N), (1, N, N), (N, N)])
def test_attention_in_windows_has_its_mask_and_keys_spread(shape: tuple[int, ...]) -> None:
    query, key = torch.randn(2, 3, H, N, 8), torch.randn(2, 1, H, N, 8)
    mask = (torch.rand(shape) > 0.4) | torch.eye(N, dtype=torch.bool)
    with torch.no_grad(), ll.watch(model := Decoder(), verify=True) as seen:
        model(query, key, mask)
    expected = ((query @ key.mT) / 8**0.5).masked_fill(~mask, -torch.inf).softmax(-1)
    torch.testing.assert_close(seen[0].dense(), expected.flatten(0, 1), **CLOSE)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_tensors_that_cannot_be_followed_do_not_stop_the_model() -> None:
    model = Decoder()
    nested = torch.nested.nested_tensor(
        [torch.randn(n, H, 8) for n in (3, 5)], layout=torch.jagged
    ).transpose(1, 2)
    for given, said in (
        (nested, "nested tensors"),
        (torch.randn(1, H, N, 8, device="meta"), "device 'meta'"),
    ):
        with pytest.raises(CaptureError, match=said), torch.no_grad(), ll.watch(model):
            assert model(given, given).shape == given.shape
