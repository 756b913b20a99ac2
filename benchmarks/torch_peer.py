"""The encoder-decoder of `limelight.modules`, built once more from `torch.nn.Transformer`.

Outside of PyTorch's module stand only what it does not have: the tables, their √E, the sinusoids, and the scores
that the target's table makes of the last vectors. Dropout is in the paper's places (§5.4): PyTorch's further ones,
inside the feed-forward and on the attention weights, are set to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from limelight.errors import InputError
from limelight.modules.positions import sinusoids
from limelight.modules.transformer import Transformer, TransformerConfig


class TorchTransformer(nn.Module):
    """forward(source (B, M), target (B, N), source_lengths (B,)) → scores (B, N, V), as our `Transformer`."""

    def __init__(
        self, shape: TransformerConfig, source_vocabulary: int, target_vocabulary: int, share: bool = False
    ) -> None:
        super().__init__()
        if shape.positions != "sinusoidal" or not shape.attention_bias or shape.key_value_heads is not None:
            raise InputError(
                "torch.nn.Transformer has biased projections, one key head a query head and no rotary positions: "
                'the shape must have attention_bias=True, key_value_heads=None and positions="sinusoidal".'
            )
        if shape.attention_dropout or shape.activation == "silu":
            raise InputError("The comparison knows relu and gelu, and no dropout on attention weights.")
        self.width = shape.width
        self.target_table = nn.Embedding(target_vocabulary, shape.width, padding_idx=0)
        self.source_table = self.target_table
        if not share:
            self.source_table = nn.Embedding(source_vocabulary, shape.width, padding_idx=0)
        pre = shape.norm == "pre"
        given = {
            "d_model": shape.width,
            "nhead": shape.heads,
            "dim_feedforward": shape.feed_forward,
            "dropout": shape.dropout,
            "activation": shape.activation,
            "batch_first": True,
            "norm_first": pre,
        }
        encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(**given),
            shape.encoder_layers,
            nn.LayerNorm(shape.width) if pre else None,
            enable_nested_tensor=False,
        )
        decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(**given),
            shape.decoder_layers,
            nn.LayerNorm(shape.width) if pre else None,
        )
        for layer in (*encoder.layers, *decoder.layers):
            layer.dropout = nn.Identity()
            layer.self_attn.dropout = 0.0
            if isinstance(layer, nn.TransformerDecoderLayer):
                layer.multihead_attn.dropout = 0.0
        self.transformer = nn.Transformer(
            shape.width, shape.heads, custom_encoder=encoder, custom_decoder=decoder, batch_first=True
        )
        self.dropout = nn.Dropout(shape.dropout)
        self.register_buffer("waves", sinusoids(shape.longest, shape.width).float(), persistent=False)

    def forward(self, source: Tensor, target: Tensor, source_lengths: Tensor | None = None) -> Tensor:
        padding_BM = None
        if source_lengths is not None and not bool((source_lengths == source.shape[1]).all()):
            padding_BM = torch.arange(source.shape[1], device=source.device) >= source_lengths[:, None]
        hidden_BNE = self.transformer(
            self._embed(self.source_table, source),
            self._embed(self.target_table, target),
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(target.shape[1], device=target.device),
            tgt_is_causal=True,
            src_key_padding_mask=padding_BM,
            memory_key_padding_mask=padding_BM,
        )
        return nn.functional.linear(hidden_BNE, self.target_table.weight)

    def _embed(self, table: nn.Embedding, ids_BN: Tensor) -> Tensor:
        x_BNE = table(ids_BN) * math.sqrt(self.width) + self.waves[: ids_BN.shape[1]]
        return self.dropout(x_BNE)


def peer_of(model: Transformer) -> TorchTransformer:
    """The same shape from PyTorch's parts, with the same weights."""
    vocabularies = [stack.embedding.table.num_embeddings for stack in (model.encoder, model.decoder)]
    share = model.encoder.embedding is model.decoder.embedding
    peer = TorchTransformer(model.shape, *vocabularies, share=share)
    peer.load_state_dict(renamed(model, lambda parameter: parameter.detach()))
    return peer


def renamed(model: Transformer, read: Callable[[nn.Parameter], Tensor]) -> dict[str, Tensor]:
    """What `read` gives for each of our parameters (itself, its gradient), by PyTorch's names and in its layout."""
    found: dict[str, Tensor] = {
        "source_table.weight": read(model.encoder.embedding.table.weight),
        "target_table.weight": read(model.decoder.embedding.table.weight),
    }

    def plain(name: str, module: nn.Linear | nn.LayerNorm) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = read(module.weight), read(module.bias)

    for side, stack in (("encoder", model.encoder), ("decoder", model.decoder)):
        for number, block in enumerate(stack.blocks):
            layer = f"transformer.{side}.layers.{number}"
            attentions, norms = {"self_attn": block.self_attention}, [block.self_norm]
            if block.cross:
                attentions["multihead_attn"] = block.cross_attention
                norms.append(block.cross_norm)
            for name, attention in attentions.items():
                projections = (attention.Wq, attention.Wk, attention.Wv)
                found[f"{layer}.{name}.in_proj_weight"] = torch.cat(
                    [read(each.weight) for each in projections]
                )
                found[f"{layer}.{name}.in_proj_bias"] = torch.cat([read(each.bias) for each in projections])
                plain(f"{layer}.{name}.out_proj", attention.Wo)
            plain(f"{layer}.linear1", block.feed_forward[0])
            plain(f"{layer}.linear2", block.feed_forward[2])
            for place, norm in enumerate([*norms, block.feed_norm], start=1):
                plain(f"{layer}.norm{place}", norm)
        if isinstance(stack.norm, nn.LayerNorm):
            plain(f"transformer.{side}.norm", stack.norm)
    return found
