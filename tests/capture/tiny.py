"""More small models for tests of `watch`: a table of families, each with inputs that use what is special in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.capture import foreign
from tests.capture.foreign import HEADS, LAYERS, VOCABULARY, transformers

GROUPED = {"vocab_size": VOCABULARY, "hidden_size": 24, "num_hidden_layers": LAYERS, "intermediate_size": 16}
GROUPED |= {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 4, "max_position_embeddings": 61}
ENDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
WINDOW = 5


def _named(name: str, **sizes: Any) -> Any:
    config = getattr(transformers, f"{name}Config")(**sizes)
    return getattr(transformers, f"{name}ForCausalLM")(config).eval()


def mistral() -> Any:
    """A sliding window."""
    return _named("Mistral", **GROUPED, **ENDS, sliding_window=WINDOW)


def gemma2() -> Any:
    """A softcap, and a window in every second layer."""
    return _named("Gemma2", **GROUPED, **ENDS, sliding_window=WINDOW, attn_logit_softcapping=3.0)


def gpt_oss() -> Any:
    """Sinks, and a window in every second layer."""
    return _named(
        "GptOss", **GROUPED, **ENDS, sliding_window=WINDOW, num_local_experts=4, num_experts_per_tok=2
    )


def albert() -> Any:
    """One module that stands for all layers."""
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 20, "embedding_size": 12, "num_hidden_layers": 3}
    more = {"num_attention_heads": HEADS, "intermediate_size": 13, "max_position_embeddings": 61}
    return transformers.AlbertModel(transformers.AlbertConfig(**sizes | more)).eval()


def bart() -> Any:
    """Cross-attention."""
    sizes = {"vocab_size": VOCABULARY, "d_model": 20, "encoder_layers": LAYERS, "decoder_layers": LAYERS}
    heads = {"encoder_attention_heads": HEADS, "decoder_attention_heads": HEADS}
    more = {
        "encoder_ffn_dim": 13,
        "decoder_ffn_dim": 13,
        "max_position_embeddings": 61,
        "forced_eos_token_id": None,
    }
    config = transformers.BartConfig(**sizes | heads | more | ENDS, decoder_start_token_id=2)
    return transformers.BartForConditionalGeneration(config).eval()


FAMILIES: dict[str, Callable[[], Any]] = {
    "bert": foreign.bert,
    "gpt2": foreign.gpt2,
    "llama": foreign.llama,
    "mistral": mistral,
    "gemma2": gemma2,
    "gpt_oss": gpt_oss,
    "albert": albert,
    "t5": foreign.t5,
    "bart": bart,
}
FUSED = [name for name in FAMILIES if name not in ("gemma2", "gpt_oss")]  # those have no sdpa

FIELDS = ("encoder_attentions", "attentions", "decoder_attentions", "cross_attentions")


def official(model: Any, **given: Tensor) -> dict[str, list[Tensor]]:
    """The weights that the model itself gives when it runs eagerly, by field."""
    with foreign.eager(model), torch.no_grad():
        outputs = model(**given, output_attentions=True)
    return {field: list(outputs[field]) for field in FIELDS if outputs.get(field)}


def main_output(outputs: Any) -> Tensor:
    return outputs.logits if "logits" in outputs else outputs.last_hidden_state
