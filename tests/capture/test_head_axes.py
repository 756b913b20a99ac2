"""Heads in one axis with the batch: apart where the module tells how many it has, and told where it does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from limelight.capture import watch

B, H, N, D = 3, 5, 7, 2


class Folded(nn.Module):
    """(batch · heads, tokens, width), as fairseq and its heirs have it."""

    def __init__(self, heads: int | None) -> None:
        super().__init__()
        self.qkv = nn.Linear(H * D, 3 * H * D)
        self.out = nn.Linear(H * D, H * D)
        if heads is not None:
            self.num_heads = heads

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        B = len(x)
        parts = (t.unflatten(-1, (H, D)).transpose(1, 2).flatten(0, 1) for t in self.qkv(x).chunk(3, -1))
        mixed = scaled_dot_product_attention(*parts, attn_mask=mask)
        return self.out(mixed.unflatten(0, (B, H)).transpose(1, 2).flatten(2))

    def truth(self, x: Tensor) -> Tensor:
        q, k, _ = (t.unflatten(-1, (H, D)).transpose(1, 2).double() for t in self.qkv(x).chunk(3, -1))
        return (q @ k.mT / D**0.5).softmax(-1)


class Single(nn.Module):
    """One head of the whole width, in a module whose config speaks of several."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.embed_dim = 3, D

    def forward(self, x: Tensor) -> Tensor:
        return scaled_dot_product_attention(x, x, x)


def test_heads_are_told_apart_by_the_modules_number() -> None:
    model, x = Folded(H), torch.randn(B, N, H * D)
    with torch.no_grad(), watch(model, verify=True) as seen:
        model(x)
    assert seen[0].shape == (B, H, N, N)
    torch.testing.assert_close(seen[0].dense().double(), model.truth(x).detach(), atol=1e-6, rtol=0)
    assert "3 texts or windows × 5 × 7 × 7" in str(seen.summary())
    assert not seen.why().lines or all("told apart" not in line for line in seen.why())


@pytest.mark.parametrize("each", [False, True])
def test_a_mask_goes_with_its_head(each: bool) -> None:
    model, x = Folded(H), torch.randn(B, N, H * D)
    mask = torch.rand(B * H if each else 1, N, N) < 0.6
    mask |= torch.eye(N, dtype=torch.bool)
    with torch.no_grad(), watch(model, verify=True) as seen:
        model(x, mask)
    hidden = ~mask.expand(B * H, N, N).unflatten(0, (B, H))
    assert not seen[0].dense()[hidden].any()


def test_what_cannot_be_told_apart_is_told() -> None:
    model, x = Folded(None), torch.randn(B, N, H * D)
    with torch.no_grad(), watch(model, verify=True) as seen:
        model(x)
    assert seen[0].shape == (B * H, 1, N, N)
    assert "texts and heads lie in one axis of 15 and cannot be told apart" in str(seen.why())


def test_a_batch_is_no_heads() -> None:
    with torch.no_grad(), watch(model := Single()) as seen:
        model(torch.randn(2 * 3, N, D))
    assert seen[0].shape == (6, 1, N, N)
    assert "told apart" not in str(seen.why())
