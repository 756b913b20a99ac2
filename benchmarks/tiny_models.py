"""Small random models of every family that transformers can build, and inputs that they take.

Nothing is downloaded: a family is its configuration class, shrunk by the names of its fields, and what a few
families need besides (`tiny_families.py`). Weights are random, and large enough that attention is no flat average.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.tiny_families import CHANGES

WORDS = 60
"""Ids of text are below this; special tokens are between it and VOCABULARY."""
VOCABULARY = 100
LAYERS, HEADS, KEY_HEADS, HEAD_WIDTH = 2, 4, 2, 8

KEY_HEAD_NAMES = r"(.*_)?(key_value_heads|kv_heads|head_kv)"
MROPE = [2, 1, 1]
"""How the half of a head's width is shared by time, height and width."""

Config = Any

SIZES: tuple[tuple[str, int], ...] = (
    (r"type_vocab_size|.*char_vocab_size", 0),
    (r".*vocab_size.*|.*vocabulary.*|num_(text|semantic)_tokens", VOCABULARY),
    (
        r"(.*_)?(num_)?(hidden_layers|layers|attention_layers|hidden_layers|layer|blocks|depth)|n_layers?|.*_depth",
        LAYERS,
    ),
    (KEY_HEAD_NAMES, KEY_HEADS),
    (r"(.*_)?(attention_heads|num_heads|heads|n_head|attn_heads|attn_head)", HEADS),
    (
        r"(.*_)?(head_dim|d_kv|d_head|kv_channels|head_size|attention_head_size|dim_head|rotary_dim)",
        HEAD_WIDTH,
    ),
    (r".*lora_rank", 16),
    (
        r"(.*_)?(intermediate_(size|dim)|ffn_dim|ffn_hidden_size|feedforward.*|mlp_dim|d_inner|d_ff|inner_dim|n_inner)",
        64,
    ),
    (
        r".*(max_position|n_positions|n_ctx|max_seq_len|max_sequence_length|max_target_positions).*|context_length",
        64,
    ),
    (r"(.*_)?hidden_size_per_layer_input", 16),
    (
        r"(.*_)?(hidden_size|hidden_dim|d_model|n_embd|embed_dim|emb_dim|embedding_size|embedding_dim|dim|width)",
        32,
    ),
    (r"(.*_)?(projection_dim|output_dim|out_hidden_size|projection_size|proj_size|dim_model)", 32),
    (r"(.*_)?(num_experts|num_local_experts|n_routed_experts|moe_num_experts)", 4),
    (r"(.*_)?(experts_per_tok|top_k|topk|moe_k|topk_experts)", 2),
    (r"(.*_)?n_group|topk_group", 1),
    (r".*(image_size|img_size)", 32),
    (r".*patch_size", 8),
    (r"attention_window", 4),
    (r".*sliding_window|window_size|.*attention_chunk_size", 5),
    (r".*(num_mel_bins|n_mels)", 16),
    (r"max_source_positions", 20),
    (r"(.*_)?(num_queries|query_tokens|num_latents|num_query_tokens)", 7),
)
"""What a whole field name matches, and the size it gets; the first that matches counts. 0 leaves it as it is."""


NEEDED = ("head_dim", "num_key_value_heads", "num_kv_heads", "vocab_size", "pad_token_id")
"""Fields that some families leave open and cannot be built without."""

KINDS_OF_LAYERS = ("layer_types", "mlp_layer_types", "layers_block_type")


def tiny_config(kind: type[Config], **changes: Any) -> Config:
    """A small configuration of this class, its inner ones small too."""
    changes = {**CHANGES.get(getattr(kind, "model_type", ""), {}), **changes}
    changes = {name: value() if callable(value) else value for name, value in changes.items()}
    held = vars(kind(**{name: changes[name] for name in changes if is_config(changes[name])}))
    fields = [field for field in dataclasses.fields(kind) if field.init and field.name not in changes]
    given: dict[str, Any] = {}
    for field in fields:
        now = held.get(field.name)
        if is_config(now):
            given[field.name] = tiny_config(type(now))
            continue
        value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if value is None and now is None and field.name in NEEDED:
            value = 2**20
        small = smaller(field.name, value)
        if small is not None:
            given[field.name] = small
    _one_layer_of_each_kind(given, held)
    if any(field.name == "kv_lora_rank" for field in fields):  # latent attention has as many keys as queries
        given.update({name: HEADS for name in given if re.fullmatch(KEY_HEAD_NAMES, name)})
    rope = held.get("rope_parameters")
    if isinstance(rope, dict) and "mrope_section" in rope:
        given["rope_parameters"] = {**rope, "mrope_section": MROPE}
    given.update(changes)
    return kind(**given)


def _one_layer_of_each_kind(given: dict[str, Any], held: dict[str, Any]) -> None:
    for name in KINDS_OF_LAYERS:
        layers = held.get(name)
        if isinstance(layers, (list, tuple)) and len(set(layers)) > 1 and "num_hidden_layers" in given:
            given[name] = list(dict.fromkeys(layers))
            given["num_hidden_layers"] = max(LAYERS, len(given[name]))
    for name in KINDS_OF_LAYERS:
        if name in given:
            whole = given[name] * given["num_hidden_layers"]
            given[name] = whole[: given["num_hidden_layers"]]


def is_config(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and hasattr(value, "model_type") and not isinstance(value, type)


def smaller(name: str, value: Any) -> Any:
    """The value of a field in a small model; None to leave it alone."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        if re.fullmatch(r".*(token_id|token_index|_id|_idx|mask_index)", name):
            return special_token(name) if value >= WORDS else None
        size = next((size for pattern, size in SIZES if re.fullmatch(pattern, name)), 0)
        return min(size, value) if size and value > 0 else None
    if isinstance(value, (list, tuple)) and value:
        plain = all(isinstance(one, int) for one in value)
        if re.fullmatch(r".*(token_id|token_ids)", name):
            return [special_token(f"{name}{i}") for i in range(len(value))]
        if re.fullmatch(r"depths|num_layers|stage_num_blocks|num_hidden_layers", name):
            return type(value)(1 for _ in value)
        if name in ("image_size", "img_size", "pretrain_image_size"):
            return type(value)(32 for _ in value)
        if name in ("hidden_sizes", "embed_dims") and plain:
            return type(value)(16 * 2**i for i in range(len(value)))
        if name == "num_heads" and plain and value[0] > 1:
            return type(value)(2 for _ in value)
        if name in KINDS_OF_LAYERS:
            return list(value[:LAYERS])
    return None


def special_token(name: str) -> int:
    """A number of its own for each special token."""
    return WORDS + 1 + sum(map(ord, name)) % (VOCABULARY - WORDS - 1)


# ---- models -------------------------------------------------------------------------------------------


class NotBuiltError(Exception):
    """No small model of this family can be built or run here; the message says why."""


@dataclasses.dataclass(frozen=True)
class Tiny:
    """A small random model on sdpa, or on its default where it has none."""

    model: nn.Module
    config: Config

    def again(self, attention: str) -> nn.Module:
        """The same weights on another backend."""
        other = _made(type(self.model), self.config, attention)
        other.load_state_dict(self.model.state_dict())
        return other


def tiny(family: str, mappings: Sequence[str] = ()) -> Tiny:
    """The small model of a family, its model type; of the first of these mappings of transformers that has one, or
    the plainest. Raises NotBuiltError."""
    from transformers import CONFIG_MAPPING

    kind = CONFIG_MAPPING[family]
    try:
        config, cls = tiny_config(kind), model_class(kind, mappings)
    except Exception as error:
        raise NotBuiltError(told("its configuration does not shrink", error)) from error
    model = None
    for attention in ("sdpa", "eager"):
        try:
            model = _made(cls, config, attention)
            break
        except Exception as error:
            problem = error
    if model is None:
        raise NotBuiltError(told("it cannot be built", problem)) from problem
    roughen(model)
    return Tiny(model, config)


def told(what: str, error: Exception) -> str:
    """A line on what failed, with the missing library alone where it is that."""
    library = re.search(r"requires the (\w+) library", str(error))
    if library:
        return f"it needs the library {library[1]}"
    return f"{what}: {type(error).__name__}: {' '.join(str(error).split())[:120]}"


def model_class(kind: type[Config], wanted: Sequence[str] = ()) -> type[nn.Module]:
    """The model of a configuration in the first of the mappings that are wanted, or the plainest: the base model, or
    the first of any kind that there is."""
    from transformers.models.auto import modeling_auto

    mappings = [name for name in vars(modeling_auto) if name.endswith("_MAPPING") and name != "MODEL_MAPPING"]
    for name in wanted or ("MODEL_MAPPING", *sorted(mappings)):
        found = getattr(modeling_auto, name).get(kind, None)
        if found is not None:
            return found[0] if isinstance(found, (tuple, list)) else found
    raise NotBuiltError("it is part of another model")


def _made(kind: type[nn.Module], config: Config, attention: str) -> nn.Module:
    config = copy.deepcopy(config)
    config._attn_implementation = attention
    torch.manual_seed(0)
    return kind._from_config(config).eval()  # type: ignore[attr-defined]


@torch.no_grad()
def roughen(model: nn.Module) -> None:
    """Larger weights, so that no row of attention is flat: matrices of unit gain, embeddings of unit size."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            if weight.dim() < 2 or not weight.is_floating_point():
                if name == "bias" and not isinstance(module, nn.LayerNorm):
                    weight.normal_(std=0.1, generator=generator)
                continue
            embedding = isinstance(module, nn.Embedding) or "embed" in name
            fan_in = max(weight[0].numel(), 1) if len(weight) and not embedding else 1
            weight.normal_(std=1.2 * fan_in**-0.5, generator=generator)
