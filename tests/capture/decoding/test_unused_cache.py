"""Room in a cache is known from the cache: a token that does not see itself is none, whatever the mask."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import limelight as ll
from limelight.capture.decoding.unused_cache import without_room
from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.matrix import Mask, masks
from tests.capture import foreign, tiny
from tests.capture.foreign import VOCABULARY, transformers

CLOSE = 1e-6
LEAST = torch.finfo(torch.float32).min
ROOM = 17


def blind_mask(start: int, stop: int, columns: int) -> Tensor:
    """Of a text: what each of its tokens start:stop sees in a cache of so many columns. Not itself, from 5 on."""
    seen = torch.zeros(stop - start, columns, dtype=torch.bool)
    for row, token in enumerate(range(start, stop)):
        seen[row, : token + 1] = True
        if token >= 5:
            seen[row, 1::2] = False
            seen[row, token - 1 :] = False
    return torch.zeros(1, 1, stop - start, columns).masked_fill(~seen, LEAST)


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize("make", [foreign.llama, tiny.gemma2], ids=["llama", "gemma2"])
def test_tokens_that_do_not_see_themselves_stay_in_the_text(make: Any, static: bool) -> None:
    model, ids = make(), torch.randint(3, VOCABULARY, (1, 11))
    if make is tiny.gemma2:
        model.config.layer_types = ["full_attention"] * 2
    cache = (
        transformers.StaticCache(config=model.config, max_cache_len=ROOM)
        if static
        else transformers.DynamicCache(config=model.config)
    )

    def mask(start: int, stop: int, columns: int) -> Any:
        one = blind_mask(start, stop, columns)
        return {"full_attention": one, "sliding_attention": one} if make is tiny.gemma2 else one

    with torch.no_grad(), ll.watch(model, verify=True) as seen:
        for start, stop in ((0, 7), (7, 8), (8, 9), (9, 11)):
            model(
                ids[:, start:stop],
                past_key_values=cache,
                position_ids=torch.arange(start, stop)[None],
                attention_mask=mask(start, stop, ROOM if static else stop),
            )
    maps = tiny.official(model, input_ids=ids, attention_mask=mask(0, 11, 11))["attentions"]
    assert len(seen) == len(maps)
    for matrix, weights in zip(seen[:], maps, strict=True):
        torch.testing.assert_close(matrix.dense(), weights, atol=CLOSE, rtol=0)


def test_sparse_attention_of_few_keys_is_one_matrix_a_layer() -> None:
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 24, "num_hidden_layers": 2, "intermediate_size": 13}
    heads = {"num_attention_heads": 3, "num_key_value_heads": 3, "max_position_embeddings": 61, "head_dim": 8}
    latent = {"kv_lora_rank": 11, "q_lora_rank": 13, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8}
    experts = {"n_routed_experts": 2, "num_experts_per_tok": 1, "n_group": 1, "topk_group": 1}
    index = {"index_topk": 3, "index_head_dim": 16, "index_n_heads": 2, "v_head_dim": 8, "qk_head_dim": 16}
    more = {"moe_intermediate_size": 8, "first_k_dense_replace": 1, "eos_token_id": None, "pad_token_id": 0}
    config = transformers.DeepseekV32Config(**sizes | heads | latent | experts | index | more)
    model = transformers.DeepseekV32ForCausalLM(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.3)
    ids = torch.randint(3, VOCABULARY, (1, 7))
    with torch.no_grad(), ll.watch(model, verify=True) as seen:
        tokens = model.generate(ids, max_new_tokens=6, do_sample=False)
    with foreign.eager(model), torch.no_grad():
        written = model.generate(
            ids, max_new_tokens=6, do_sample=False, output_attentions=True, return_dict_in_generate=True
        )
    assert torch.equal(written.sequences, tokens)
    assert [matrix.shape for matrix in seen[:]] == [(1, 3, 12, 12)] * 2
    for layer, matrix in enumerate(seen[:]):
        captured, row = matrix.dense(), 0
        for step in written.attentions:
            N, M = step[layer].shape[2:]
            rows = captured[:, :, row : row + N]
            torch.testing.assert_close(rows[..., :M], step[layer], atol=1e-5, rtol=0)
            assert not rows[..., M:].any()
            row += N


# ---- caches of one's own ------------------------------------------------------------------------------


class Cached(nn.Module):
    """Attention with memory for ROOM keys, all of which it gives to the kernel."""

    def __init__(self, heads: int = 3, width: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(heads * width, 3 * heads * width)
        self.register_buffer("memory", torch.zeros(2, 1, heads, ROOM, width))

    def split(self, x: Tensor) -> list[Tensor]:
        return [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)]

    def forward(self, x: Tensor, start: int, seen: Tensor) -> Tensor:
        query, key, value = self.split(x)
        self.memory[0, :, :, start : start + x.shape[1]] = key
        self.memory[1, :, :, start : start + x.shape[1]] = value
        keys, values = self.memory
        return nn.functional.scaled_dot_product_attention(query, keys, values, attn_mask=seen)


def truth(model: Cached, x: Tensor, seen: Tensor) -> Tensor:
    """In double precision: the weights of all tokens among each other."""
    query, key, _ = (part.double() for part in model.split(x))
    scores = query @ key.transpose(-1, -2) * key.shape[-1] ** -0.5
    return scores.masked_fill(~seen, -torch.inf).softmax(-1)


@pytest.mark.parametrize("used_before", [False, True], ids=["zeros", "used before"])
@pytest.mark.parametrize("blind", [False, True], ids=["sees itself", "does not"])
@pytest.mark.parametrize("one", [False, True], ids=["heads", "one head"])
def test_room_in_a_cache_of_ones_own(used_before: bool, blind: bool, one: bool) -> None:
    model = Cached(heads=1) if one else Cached()
    width = model.qkv.in_features
    if used_before:
        model.memory.normal_()
    x = torch.randn(1, 11, width)
    seen_NM = torch.ones(11, ROOM, dtype=torch.bool).tril()
    if blind:
        for token in range(7, 11):
            seen_NM[token, token - 2 :] = False
    with torch.no_grad(), ll.watch(model, verify=True) as seen:
        for start, stop in ((0, 7), (7, 8), (8, 9), (9, 11)):
            model(x[:, start:stop], start, seen_NM[start:stop])
    assert len(seen) == 1
    expected = truth(model, x, seen_NM[:, :11])
    assert seen[0].shape == expected.shape
    torch.testing.assert_close(seen[0].dense().double(), expected, atol=1e-6, rtol=0)


def test_what_is_in_doubt_stays_and_is_told() -> None:
    """A text that began before the watch, in memory that had been used, and a token that does not see itself."""
    model = Cached()
    model.memory.normal_()
    x = torch.randn(1, 2, model.qkv.in_features)
    seen_NM = torch.zeros(2, ROOM, dtype=torch.bool)
    seen_NM[0, :5] = seen_NM[1, :4] = True
    with torch.no_grad(), ll.watch(model, verify=True) as seen:
        model(x[:, :1], 7, seen_NM[:1])
        model(x[:, 1:], 8, seen_NM[1:])
    assert [matrix.shape[2:] for matrix in seen[:]] == [(1, ROOM), (1, ROOM)]
    assert bool((seen[0].dense()[..., 5:] == 0).all())
    assert "what the columns of each are is known to its cache alone" in seen.why()


# ---- the cut itself -----------------------------------------------------------------------------------


def a_call(mask: Mask | None, bias: Tensor | None = None, N: int = 3, M: int = 11) -> AttentionInputs:
    query, key, value = torch.randn(1, 2, N, 4), torch.randn(1, 2, M, 4), torch.randn(1, 2, M, 4)
    return AttentionInputs(query=query, key=key, value=value, mask=mask, bias=bias)


def test_room_is_cut_only_where_no_query_sees_it() -> None:
    table = torch.ones(1, 1, 3, 11, dtype=torch.bool).tril(4)
    cut = without_room(a_call(masks.dense(table)), 7)
    assert cut.key.shape[2] == cut.value.shape[2] == 7  # type: ignore[union-attr]
    assert torch.equal(cut.matrix().dense() > 0, table[..., :7].expand(1, 2, -1, -1))
    seen_behind = table.clone()
    seen_behind[..., 9] = True
    assert without_room(a_call(masks.dense(seen_behind)), 7).key.shape[2] == 11
    assert without_room(a_call(None), 7).key.shape[2] == 11
    assert without_room(a_call(masks.dense(table)), 2).key.shape[2] in (7, 11)  # a length that cannot be
    by_function = masks.function(lambda b, h, i, j: j <= i + 4)
    assert without_room(a_call(by_function), 7).key.shape[2] == 7


def test_a_row_of_padding_looks_at_nothing_of_the_text() -> None:
    """It looked at the room as much as at the text."""
    bias = torch.zeros(1, 1, 3, 11).masked_fill(~torch.ones(3, 11, dtype=torch.bool).tril(4), LEAST)
    bias[:, :, 0] = LEAST
    whole, cut = a_call(None, bias), without_room(a_call(None, bias), 7)
    assert whole.matrix().dense()[0, 0, 0].gt(0).all()
    weights = cut.matrix().dense()
    assert cut.key.shape[2] == 7
    assert not weights[:, :, 0].any()
    torch.testing.assert_close(weights[:, :, 1:].sum(-1), torch.ones(1, 2, 2))
