"""Equality with PyTorch's own modules after copying the weights over: forward and gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from benchmarks.torch_peer import TorchTransformer, peer_of, renamed
from limelight.errors import InputError
from limelight.matrix import masks
from limelight.modules.attention import MultiHeadAttention, record_attention
from limelight.modules.positions import sinusoids
from limelight.modules.transformer import Transformer, TransformerConfig
from limelight.training.loop import loss_of
from tests.tolerance import check

B, N, M, SOURCES, TARGETS = 3, 7, 11, 19, 23
SHAPE = TransformerConfig(
    20, 2, 29, 2, 3, positions="sinusoidal", attention_bias=True, longest=13, dropout=0.0
)


def both(shape: TransformerConfig, share: bool = False) -> tuple[Transformer, TorchTransformer]:
    """Our model and PyTorch's with the same random weights, in float64."""
    ours = Transformer(shape, SOURCES, SOURCES if share else TARGETS, share=share).double()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    peer = peer_of(ours.float()).double()
    peer.waves = sinusoids(shape.longest, shape.width)
    return ours.double(), peer


def batch() -> dict[str, Tensor]:
    lengths = torch.tensor([5, M, 1])
    source = torch.randint(4, SOURCES, (B, M)) * (torch.arange(M) < lengths[:, None])
    return {"source": source, "target": torch.randint(4, SOURCES, (B, N)), "source_lengths": lengths}


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_encoder_decoder_is_torch_nn_transformer(norm: str, activation: str, share: bool) -> None:
    ours, peer = both(replace(SHAPE, norm=norm, activation=activation), share)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in peer.parameters())
    inputs, labels = batch(), torch.randint(0, SOURCES, (B, N))
    scores = ours(**inputs)
    loss_of(scores, labels, 0.1).backward()
    peer_scores = peer(**inputs)
    loss_of(peer_scores, labels, 0.1).backward()
    check("output", scores.detach(), peer_scores.detach())
    gradients = renamed(ours, lambda parameter: parameter.grad)
    compared = 0
    for name, parameter in peer.named_parameters():
        compared += parameter.numel()
        check("gradient", gradients[name].float(), parameter.grad)  # loss_of is in float32
    assert compared == sum(p.numel() for p in ours.parameters())
    with torch.no_grad():  # PyTorch takes another path through its encoder here
        check("output", peer.eval()(**inputs), scores.detach())


@pytest.mark.slow
def test_dropout_stands_in_the_same_places() -> None:
    def drops(model: nn.Module) -> list[float]:
        return sorted(module.p for module in model.modules() if isinstance(module, nn.Dropout) and module.p)

    ours, peer = both(replace(SHAPE, dropout=0.3))
    # Ours shares one module between a block's sublayers; PyTorch has one for each: two in the encoder's
    # layers, three in the decoder's; and one after the embeddings, which both stacks of the peer share.
    assert drops(ours) == [0.3] * (2 + 3 + 2)
    assert drops(peer) == [0.3] * (2 * 2 + 3 * 3 + 1)
    inputs = batch()
    for model in (ours, peer):
        outputs = torch.stack([model(**inputs).detach() for _ in range(50)])
        assert outputs.std(0).mean() > 0.1
    for module in (*peer.modules(), *ours.modules()):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    assert torch.equal(peer(**inputs), peer(**inputs)), "something else than nn.Dropout drops"
    check("output", ours(**inputs).detach(), peer(**inputs).detach())


@pytest.mark.parametrize("cross", [False, True])
def test_attention_is_torch_nn_multiheadattention(cross: bool) -> None:
    ours = MultiHeadAttention(20, 2, bias=True).double()
    peer = nn.MultiheadAttention(20, 2, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for projection in (ours.Wq, ours.Wk, ours.Wv, ours.Wo):
            nn.init.normal_(projection.bias)
        three = (ours.Wq, ours.Wk, ours.Wv)
        peer.in_proj_weight.copy_(torch.cat([each.weight for each in three]))
        peer.in_proj_bias.copy_(torch.cat([each.bias for each in three]))
        peer.out_proj.load_state_dict(ours.Wo.state_dict())
    x = torch.randn(B, N, 20, dtype=torch.float64)
    memory = torch.randn(B, M, 20, dtype=torch.float64) if cross else x
    mask = masks.lengths(key=[5, M, 1]) if cross else masks.causal()
    blocked = ~mask.dense(N, memory.shape[1], x.device).expand(B, 2, -1, -1).flatten(0, 1)
    truth, weights = peer(x, memory, memory, attn_mask=blocked, average_attn_weights=False)
    got = ours(x, memory if cross else None, mask=mask)
    check("output", got.detach(), truth.detach())

    with record_attention(ours) as seen:
        ours(x, memory if cross else None, mask=mask)
    check("weights", seen[""].dense(), weights.detach())

    got.square().sum().backward()
    truth.square().sum().backward()
    check("gradient", torch.cat([each.weight.grad for each in three]), peer.in_proj_weight.grad)
    check("gradient", torch.cat([each.bias.grad for each in three]), peer.in_proj_bias.grad)
    check("gradient", ours.Wo.weight.grad, peer.out_proj.weight.grad)


@pytest.mark.parametrize(
    "changes",
    [{"positions": "rotary"}, {"attention_bias": False}, {"key_value_heads": 1}, {"activation": "silu"}],
)
def test_what_pytorch_cannot_build_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InputError):
        TorchTransformer(replace(SHAPE, **changes), SOURCES, TARGETS)
