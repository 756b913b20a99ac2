"""Small Hugging Face models of every architecture, and tokenizers made of nothing, for tests without a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

# Sizes: distinct primes off the tile grid; a width of 20 = 5 heads of 4.
VOCABULARY, WIDTH, HEADS, LAYERS, B, N, M = 101, 20, 5, 2, 2, 11, 7


def gpt2(**changes: Any) -> Any:
    sizes = {"vocab_size": VOCABULARY, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": 61}
    config = transformers.GPT2Config(**sizes | {"bos_token_id": 1, "eos_token_id": 2} | changes)
    return transformers.GPT2LMHeadModel(config).eval()


def llama(**changes: Any) -> Any:
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 24,
        "num_hidden_layers": LAYERS,
        "intermediate_size": 13,
    }
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 61}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes | heads | changes)).eval()


def bert(**changes: Any) -> Any:
    sizes = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": LAYERS}
    more = {"num_attention_heads": HEADS, "intermediate_size": 13, "max_position_embeddings": 61}
    return transformers.BertModel(transformers.BertConfig(**sizes | more | changes)).eval()


def t5(**changes: Any) -> Any:
    sizes = {"vocab_size": VOCABULARY, "d_model": WIDTH, "d_kv": 4, "num_layers": LAYERS, "num_heads": HEADS}
    more = {"d_ff": 13, "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 2}
    return transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes | more | changes)).eval()


def inputs(model: Any) -> dict[str, torch.Tensor]:
    """Two texts, of which the second is padded on the right."""
    ids = torch.randint(3, VOCABULARY, (B, N))
    mask = torch.ones_like(ids)
    mask[1, -4:] = 0
    made = {"input_ids": ids, "attention_mask": mask}
    if model.config.is_encoder_decoder:
        made["decoder_input_ids"] = torch.randint(3, VOCABULARY, (B, M))
    return made


@contextmanager
def eager(model: Any) -> Iterator[Any]:
    """The model with the slow attention that gives its weights."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield model
    finally:
        model.set_attn_implementation(before)


def word_tokenizer(words: Sequence[str], special: bool = True, **more: Any) -> Any:
    """One token a word, `[CLS] … [SEP]` around a text if `special`."""
    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[CLS]", "[SEP]", "[UNK]", *words])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.decoder = tokenizers.decoders.Fuse() if not words else tokenizers.decoders.WordPiece(prefix="##")
    if special:
        ends = [("[CLS]", 1), ("[SEP]", 2)]
        made.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token="[SEP]", **names | more)
