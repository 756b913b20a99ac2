"""Blocks, stacks and models against the float64 truth; padding and caches change nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from limelight.errors import InputError
from limelight.matrix import masks
from limelight.modules.positions import KINDS
from limelight.modules.transformer import (
    PRESETS,
    Block,
    Classifier,
    FeedForward,
    LanguageModel,
    Stack,
    TokenEmbedding,
    Transformer,
    TransformerConfig,
)
from tests.modules.truth import Truth
from tests.tolerance import check

B, N, M, SOURCES, TARGETS = 3, 7, 11, 19, 23
SHAPE = TransformerConfig(width=20, heads=2, feed_forward=29, encoder_layers=2, decoder_layers=3)
LENGTHS = torch.tensor([5, M, 1])
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
NORMS = pytest.mark.parametrize("norm", ["pre", "post"])


def randomised(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Norms and biases away from ones and zeros, so that a forgotten one shows; eval mode."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return module.to(dtype).eval()


def ids() -> tuple[Tensor, Tensor]:
    """Sources with padding, and targets."""
    source = torch.randint(4, SOURCES, (B, M))
    return source * (torch.arange(M) < LENGTHS[:, None]), torch.randint(4, TARGETS, (B, N))


# ── The truth ──


@DTYPES
@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
def test_feed_forward(activation: str, dtype: torch.dtype) -> None:
    shape = replace(SHAPE, activation=activation)
    layer = randomised(FeedForward(shape), dtype)
    x = torch.randn(B, N, shape.width, dtype=dtype)
    check("output", layer(x).detach(), Truth.of(layer, shape).feed_forward(x.double()))


@DTYPES
@NORMS
@pytest.mark.parametrize("cross", [False, True])
def test_block(cross: bool, norm: str, dtype: torch.dtype) -> None:
    shape = replace(SHAPE, norm=norm, attention_bias=cross)
    block = randomised(Block(shape, cross), dtype)
    x, memory = torch.randn(B, N, shape.width, dtype=dtype), torch.randn(B, M, shape.width, dtype=dtype)
    own, other = masks.causal(), masks.lengths(key=LENGTHS)
    given = (memory, {"mask": own, "memory_mask": other}) if cross else (None, {"mask": own})
    truth = Truth.of(block, shape).block(x.double(), memory.double() if cross else None, own, other)
    check("output", block(x, given[0], **given[1]).detach(), truth)


@DTYPES
@NORMS
@pytest.mark.parametrize("kind", KINDS)
def test_stack(kind: str, norm: str, dtype: torch.dtype) -> None:
    shape = replace(SHAPE, norm=norm, positions=kind, longest=M)
    stack = randomised(Stack(shape, TokenEmbedding(SOURCES, shape.width), layers=2), dtype)
    source, _ = ids()
    mask = masks.lengths(key=LENGTHS)
    check("output", stack(source, mask=mask).detach(), Truth.of(stack, shape).stack(source, 2, mask=mask))
    check("output", stack.embed(source).detach(), Truth.of(stack, shape).embedded(source))


@DTYPES
@NORMS
@pytest.mark.parametrize("kind", KINDS)
def test_encoder_decoder(kind: str, norm: str, dtype: torch.dtype) -> None:
    groups = 1 if kind == "rotary" else None
    shape = replace(SHAPE, norm=norm, positions=kind, key_value_heads=groups, longest=M)
    model = randomised(Transformer(shape, SOURCES, TARGETS), dtype)
    source, target = ids()
    truth = Truth.of(model, shape).transformer(source, target, LENGTHS)
    check("output", model(source, target, LENGTHS).detach(), truth)


@DTYPES
def test_encoder_decoder_with_one_table(dtype: torch.dtype) -> None:
    model = randomised(Transformer(SHAPE, TARGETS, TARGETS, share=True), dtype)
    source, target = ids()
    check(
        "output",
        model(source, target, LENGTHS).detach(),
        Truth.of(model, SHAPE).transformer(source, target, LENGTHS),
    )
    assert model.encoder.embedding is model.decoder.embedding
    names = [name for name, _ in model.named_parameters()]
    assert sum("embedding" in name for name in names) == 1


@DTYPES
@NORMS
def test_language_model(norm: str, dtype: torch.dtype) -> None:
    shape = replace(SHAPE, norm=norm)
    model = randomised(LanguageModel(shape, TARGETS), dtype)
    _, target = ids()
    check("output", model(target).detach(), Truth.of(model, shape).language_model(target))


@DTYPES
@NORMS
def test_classifier(norm: str, dtype: torch.dtype) -> None:
    shape = replace(SHAPE, norm=norm)
    model = randomised(Classifier(shape, SOURCES, 5), dtype)
    source, _ = ids()
    truth = Truth.of(model, shape)
    check("output", model(source, LENGTHS).detach(), truth.classifier(source, LENGTHS))
    full = source[1:2]
    check("output", model(full).detach(), truth.classifier(full, LENGTHS[1:2]))


def _unscaled(model: Transformer) -> None:
    model.decoder.embedding.scale = 1.0


def _no_last_norm(model: Transformer) -> None:
    model.decoder.norm = nn.Identity()


def _paper_order(model: Transformer) -> None:
    model.encoder.blocks[1].pre = False


def _blocks_swapped(model: Transformer) -> None:
    model.decoder.blocks = nn.ModuleList(model.decoder.blocks[number] for number in (1, 0, 2))


def _memory_of_another(model: Transformer) -> None:
    encode = model.encode
    model.encode = lambda source, lengths: encode(source, None)


@pytest.mark.parametrize(
    "mutate",
    [_unscaled, _no_last_norm, _paper_order, _blocks_swapped, _memory_of_another],
    ids=lambda m: m.__name__,
)
def test_the_comparison_sees_a_wrong_model(mutate: Callable[[Transformer], None]) -> None:
    model = randomised(Transformer(SHAPE, SOURCES, TARGETS), torch.float32)
    source, target = ids()
    truth = Truth.of(model, SHAPE).transformer(source, target, LENGTHS)
    mutate(model)
    with pytest.raises(AssertionError, match="output"):
        check("output", model(source, target, LENGTHS).detach(), truth)


# ── Padding ──


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind: str) -> None:
    shape = replace(SHAPE, positions=kind, longest=M + 5)
    model = Transformer(shape, SOURCES, TARGETS).double().eval()
    classifier = Classifier(shape, SOURCES, 5).double().eval()
    source, target = ids()
    together = model(source, target, LENGTHS)
    classes = classifier(source, LENGTHS)
    more = torch.nn.functional.pad(source, (0, 5), value=17)  # whatever stands there
    check("output", model(more, target, LENGTHS).detach(), together.detach())
    check("output", classifier(more, LENGTHS).detach(), classes.detach())
    for row, length in enumerate(LENGTHS.tolist()):
        alone = source[row : row + 1, :length]
        check("output", model(alone, target[row : row + 1])[0].detach(), together[row].detach())
        check("output", classifier(alone)[0].detach(), classes[row].detach())


def test_full_rows_are_given_no_mask() -> None:
    model = Transformer(SHAPE, SOURCES, TARGETS).eval()
    source, target = ids()
    assert torch.equal(model(source, target, torch.tensor([M] * B)), model(source, target))


def test_no_token_sees_a_later_one() -> None:
    model = Transformer(SHAPE, SOURCES, TARGETS).eval()
    language = LanguageModel(SHAPE, TARGETS).eval()
    source, target = ids()
    other = target.clone()
    other[:, 4:] = 5
    torch.testing.assert_close(model(source, target)[:, :4], model(source, other)[:, :4], rtol=0, atol=1e-6)
    torch.testing.assert_close(language(target)[:, :4], language(other)[:, :4], rtol=0, atol=1e-6)
    assert not torch.allclose(model(source, target)[:, 4:], model(source, other)[:, 4:], atol=1e-2)


# ── Caches ──


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cuts", [[1] * N, [3, 1, 3]], ids=["one by one", "in pieces"])
def test_decoding_with_a_cache_is_one_forward(kind: str, cuts: list[int]) -> None:
    shape = replace(SHAPE, positions=kind, longest=M)
    model, language = Transformer(shape, SOURCES, TARGETS).eval(), LanguageModel(shape, TARGETS).eval()
    source, target = ids()
    memory, seen = model.encode(source, LENGTHS), masks.lengths(key=LENGTHS)
    cache, language_cache = model.new_cache(), language.new_cache()
    pieces = target.split(cuts, dim=1)
    steps = [model.decode(piece, memory, seen, cache) for piece in pieces]
    language_steps = [language(piece, language_cache) for piece in pieces]
    assert cache.length == language_cache.length == N
    check("output", torch.cat(steps, 1).detach(), Truth.of(model, shape).transformer(source, target, LENGTHS))
    check("output", torch.cat(language_steps, 1).detach(), Truth.of(language, shape).language_model(target))


# ── Shapes ──


@pytest.mark.parametrize(("name", "millions"), [("base", 65), ("big", 213)])
def test_named_shapes_are_those_of_table_3(name: str, millions: int) -> None:
    shape = PRESETS[name]
    assert (shape.norm, shape.positions) == ("post", "sinusoidal")
    with torch.device("meta"):
        model = Transformer(shape, 37_000, 37_000, share=True)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(
        millions, rel=0.04
    )


def test_one_table_needs_one_vocabulary() -> None:
    with pytest.raises(InputError, match="got 19 and 23 tokens"):
        Transformer(SHAPE, SOURCES, TARGETS, share=True)
