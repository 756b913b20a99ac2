"""Find the transformers model inside a pipeline, sentence encoder, adapter or wrapper."""

from __future__ import annotations

from typing import Any

from torch import nn

from limelight.errors import ArgumentTypeError, InputError

WRAPPERS = ("OptimizedModule", "DataParallel", "DistributedDataParallel", "FullyShardedDataParallel")
"""Those that compute what the model inside them computes, and nothing else."""


def unwrapped(model: Any, tokenizer: Any) -> tuple[Any, Any, str]:
    """The model and the tokenizer that can be read, and a note on what was left out; "" for nothing.

    model      a transformers model; or a pipeline, a SentenceTransformer, a PeftModel, a compiled or parallel model
    tokenizer  its tokenizer or processor; None where the model brings its own

    Raises ArgumentTypeError where there is no such model, InputError for adapters that put tokens before the text.
    """
    given, note = model, ""
    if not isinstance(model, nn.Module):  # a pipeline
        tokenizer = getattr(model, "tokenizer", None) if tokenizer is None else tokenizer
        model = getattr(model, "model", None)
    if isinstance(model, nn.Module) and tokenizer is None:
        tokenizer = getattr(model, "tokenizer", None)
    while type(model).__name__ in WRAPPERS:
        model = getattr(model, "_orig_mod", None) or getattr(model, "module", None)
    if hasattr(model, "peft_config") and hasattr(model, "get_base_model"):
        kinds = model.peft_config.values()
        if any(getattr(each, "is_prompt_learning", False) for each in kinds):
            raise InputError(
                f"The adapter of this {type(model).__name__} puts tokens before the text that no document holds. "
                "Adapters that change weights, such as LoRA, can be read."
            )
        model = model.get_base_model()
    if isinstance(model, nn.Module) and not _is_pretrained(model):
        inside = _outermost(model)
        if len(inside) == 1:
            note = f"Of the {type(model).__name__} its {type(inside[0]).__name__} is read, and nothing around it."
            model = inside[0]
    if not isinstance(model, nn.Module) or not _is_pretrained(model):
        raise ArgumentTypeError(
            "A reader must be given a model of transformers, or what holds one (a pipeline, a SentenceTransformer); "
            f"got {type(given).__name__}. Of a model by its name or folder: load_reader(name)."
        )
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # of a processor
    if not hasattr(tokenizer, "all_special_ids"):
        came = "none" if tokenizer is None else type(tokenizer).__name__
        raise ArgumentTypeError(
            f"A reader must be given the model's tokenizer, as AutoTokenizer.from_pretrained(…) gives it; got {came}."
        )
    return model, tokenizer, note


def _is_pretrained(model: nn.Module) -> bool:
    """Whether it is a model of transformers, which has a config and a base."""
    return hasattr(getattr(model, "config", None), "get_text_config") and hasattr(model, "base_model")


def _outermost(model: nn.Module) -> list[nn.Module]:
    """The models of transformers inside a module that are in no other."""
    if _is_pretrained(model):
        return [model]
    return [found for child in model.children() for found in _outermost(child)]
