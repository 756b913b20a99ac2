"""What each backend means by its arguments, and backends that nobody knows. Flash attention needs a GPU: what it
computes is written down here, from its documentation, and compared."""

from __future__ import annotations

from shutil import which
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import limelight as ll
from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.capture.sources import transformers_backends
from limelight.capture.sources.torch_compile import uses_flex
from limelight.errors import CaptureError
from tests.capture import foreign
from tests.capture.foreign import transformers

B, H, G, N, M, D = 2, 6, 2, 5, 11, 4
COMPILERS = [name for name in ("g++", "clang++") if which(name)]


class Attention(nn.Module):
    is_causal = True


def flash_attention_forward(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    dropout: float = 0.0,
    scaling: Any = None,
    sliding_window: Any = None,
    softcap: Any = None,
    is_causal: Any = None,
    s_aux: Any = None,
    cache: Any = None,
    **rest: Any,
) -> None:
    """The parameters of the real one."""


def understood(N: int = N, M: int = M, texts: int = B, **given: Any) -> AttentionInputs:
    q, k, v = torch.randn(texts, H, N, D), torch.randn(texts, G, M, D), torch.randn(texts, G, M, D)
    mask = given.pop("attention_mask", None)
    words = transformers_backends.convention(flash_attention_forward, Attention)
    assert words == "flash"
    output = torch.zeros(texts, N, H, D)
    return transformers_backends.understand(
        flash_attention_forward,
        words,
        "flash_attention_2",
        Attention(),
        (q, k, v, mask),
        given,
        output,
        "self",
    )


def seen_by(inputs: AttentionInputs) -> Tensor:
    return (inputs.matrix().dense() > 0).all(1)


def test_flash_is_causal_from_the_bottom_right() -> None:
    i, j = torch.arange(N)[:, None], torch.arange(M)
    assert torch.equal(seen_by(understood()), (j <= i + M - N).expand(B, N, M))
    assert seen_by(understood(is_causal=False)).all()


def test_flash_counts_oneself_in_its_window_and_lets_short_texts_be() -> None:
    i, j = torch.arange(N)[:, None] + M - N, torch.arange(M)
    assert torch.equal(seen_by(understood(sliding_window=3)), ((j <= i) & (j > i - 3)).expand(B, N, M))
    assert torch.equal(seen_by(understood(sliding_window=M)), seen_by(understood()))


def test_flash_leaves_padding_out_of_queries_and_keys() -> None:
    real = torch.arange(M) >= torch.tensor([[0], [M - 3]])
    seen = seen_by(understood(N=M, attention_mask=real))
    i, j = torch.arange(M)[:, None], torch.arange(M)
    assert torch.equal(seen, (j <= i) & real[:, None, :] & real[:, :, None])
    step = seen_by(understood(N=1, attention_mask=real))
    assert torch.equal(step, real[:, None, :])


def test_flash_packs_texts() -> None:
    starts = torch.tensor([0, 2, 7, M], dtype=torch.int32)
    seen = seen_by(understood(N=M, cu_seq_lens_q=starts, cu_seq_lens_k=starts))
    text = torch.tensor([0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2])
    i, j = torch.arange(M)[:, None], torch.arange(M)
    assert torch.equal(seen[0], (j <= i) & (text[:, None] == text))
    with pytest.raises(CaptureError, match="as long in queries as in keys"):
        understood(N=M, cu_seq_lens_q=starts, cu_seq_lens_k=starts + 1)


def test_flash_packs_texts_whose_positions_begin_anew() -> None:
    """As DataCollatorWithFlattening gives them: batch 1, positions alone."""
    positions = torch.tensor([0, 1, 0, 1, 2, 3, 4, 0, 1, 2, 3])
    text = (positions == 0).cumsum(0)
    i, j = torch.arange(M)[:, None], torch.arange(M)
    causal = j <= i
    alone = understood(N=M, texts=1, position_ids=positions[None])
    assert torch.equal(seen_by(alone)[0], causal & (text[:, None] == text))
    for plain in (torch.arange(M), torch.arange(M) + 3):  # one text, from whichever position on
        assert torch.equal(seen_by(understood(N=M, texts=1, position_ids=plain[None]))[0], causal)
    # Of a batch the kernel packs nothing, whether its positions are shared or each has its own.
    for batch in (positions[None], positions.expand(B, -1)):
        assert torch.equal(seen_by(understood(N=M, position_ids=batch))[0], causal)


def test_flash_has_softcap_and_sinks() -> None:
    sinks = torch.randn(H)
    inputs = understood(softcap=2.0, s_aux=sinks, scaling=0.3, is_causal=False)
    q, k = inputs.query.double(), inputs.key.double().repeat_interleave(H // G, 1)
    scores = 2.0 * (0.3 * q @ k.mT / 2.0).tanh()
    scores = torch.cat([scores, sinks.double().view(1, H, 1, 1).expand(B, H, N, 1)], dim=-1)
    torch.testing.assert_close(
        inputs.matrix().dense().double(), scores.softmax(-1)[..., :-1], atol=1e-6, rtol=0
    )


def test_a_paged_cache_is_refused() -> None:
    with pytest.raises(CaptureError, match="Attention runs with a paged cache"):
        understood(cache=object())


def test_a_mask_with_two_axes_means_nothing_to_the_others() -> None:
    def sdpa_attention_forward(
        module: Any, query: Any, key: Any, value: Any, attention_mask: Any
    ) -> None: ...

    q, k = torch.randn(B, H, N, D), torch.randn(B, G, M, D)
    with pytest.raises(CaptureError, match=r"a mask with two axes, \(2, 11\)"):
        transformers_backends.understand(
            sdpa_attention_forward, "sdpa", "sdpa", Attention(), (q, k, k, torch.ones(B, M)), {}, q, "self"
        )


# ── Backends of one's own ──


@pytest.fixture
def registered() -> Any:
    """Registers a backend, and takes it back."""
    interface = transformers.modeling_utils.AttentionInterface
    known = dict(interface._global_mapping)
    masks = transformers.masking_utils.AttentionMaskInterface
    known_masks = dict(masks._global_mapping)

    def register(name: str, function: Any) -> None:
        interface.register(name, function)
        masks.register(name, known_masks["sdpa"])

    yield register
    interface._global_mapping = known
    masks._global_mapping = known_masks


def honest(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **given: Any) -> Any:
    """An attention function that a user has written."""
    output = nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attention_mask,
        is_causal=attention_mask is None,
        scale=given["scaling"],
        enable_gqa=True,
    )
    return output.transpose(1, 2), None


def test_an_unknown_backend_is_verified_unasked(registered: Any) -> None:
    registered("mine", honest)
    registered("twice", lambda *args, **given: (2 * honest(*args, **given)[0], None))
    model = foreign.llama(attn_implementation="mine")
    ids = torch.randint(3, foreign.VOCABULARY, (2, 7))
    with torch.no_grad():
        with ll.watch(model) as seen:
            model(ids)
        assert len(seen) == len(seen.verified) == 2 and next(iter(seen)).backend == "mine"
        model.set_attn_implementation("twice")
        with pytest.raises(CaptureError, match="must give the backend's own output"), ll.watch(model):
            model(ids)


@pytest.mark.slow  # the kernel is compiled, which takes a minute or two
@pytest.mark.skipif(not COMPILERS, reason="no C++ compiler for the kernel")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the parts that torch and transformers use
def test_flex_attention_stays_compiled() -> None:
    model = foreign.llama(hidden_size=48, num_attention_heads=4, attn_implementation="flex_attention")
    given = foreign.inputs(model)
    assert uses_flex(model.modules())
    with torch.no_grad():
        plain = model(**given).logits
        with ll.watch(model, verify=True) as seen:
            assert torch.equal(model(**given).logits, plain)
    assert [row.mask for row in seen.summary().rows] == ["function"] * 2
    assert len(seen.verified) == 2


def test_a_bool_mask_that_an_eager_function_adds_hides_nothing() -> None:
    """As in Grounding DINO, whose text encoder runs on eager with a bool mask: True adds 1 to the score."""
    from limelight.capture.sources.transformers_backends import understand

    def eager(
        module: torch.nn.Module, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float
    ) -> Any:
        scores = query @ key.transpose(2, 3) * scaling + attention_mask
        return (scores.softmax(-1) @ value).transpose(1, 2), scores.softmax(-1)

    query, key, value = (torch.randn(2, 3, 5, 7) for _ in range(3))
    mask = torch.rand(2, 1, 5, 5) < 0.5
    given = (query, key, value, mask)
    output, weights = eager(torch.nn.Identity(), *given, 0.3)
    inputs = understand(eager, "eager", "eager", torch.nn.Identity(), given, {"scaling": 0.3}, output, "self")
    assert (inputs.matrix().dense() - weights).abs().max() < 1e-6
