"""Why a watch recorded nothing: the error names the cause and the way out."""

from __future__ import annotations

import torch
from torch import nn

from limelight.capture.captured import CapturedAttention
from limelight.capture.sources.torch_compile import is_compiled, uses_flex


def why_nothing(model: nn.Module, seen: CapturedAttention, forwards: int) -> str:
    """The message of the error; `forwards` of the model began inside the block."""
    cause = _cause(model, seen, forwards)
    return f"No attention of {type(model).__name__} was seen inside the block: {cause}"


def _cause(model: nn.Module, seen: CapturedAttention, forwards: int) -> str:
    if seen.missed:
        name, reason = next(iter(seen.missed.items()))
        more = f" (and {len(seen.missed) - 1} more)" if len(seen.missed) > 1 else ""
        has_none = any(words in reason for words in ("eager", "watch the model", "there is no"))
        way_out = "" if has_none else f" {_way_out(model)}"
        who = repr(name) if name else type(model).__name__
        return f"{who}{more} computes it in a way that cannot be captured: {reason}.{way_out}"
    if isinstance(model, torch.jit.ScriptModule):
        return "a TorchScript model runs outside of Python. Watch the model that it was made from."
    if is_compiled(model.modules()) and uses_flex(model.modules()):
        return "it was compiled before, and runs on flex attention. Watch it before torch.compile()."
    if seen.notes:
        return "it was only computed again, in a backward pass. Put the forward inside the block."
    if not forwards:
        return "the model did not run. Call it inside the block; of a part that runs alone, watch that part."
    alike = attention_like(model)
    if alike:
        return (
            f"it has modules that look like attention ({', '.join(alike)}), and none of them called an attention "
            f"function of PyTorch or computed softmax of a product of queries and keys. {_way_out(model)}"
        )
    return (
        "the model has no module that looks like attention, called no attention function of PyTorch, and computed "
        "softmax of no product of queries and keys."
    )


def _way_out(model: nn.Module) -> str:
    if hasattr(model, "set_attn_implementation"):
        eager = getattr(getattr(model, "config", None), "_attn_implementation", None) == "eager"
        load = "Ask" if eager else "Load the model with attn_implementation='eager' and ask"
        return f"{load} it for output_attentions=True, if it has that, and please report its name."
    return "Call torch.nn.functional.scaled_dot_product_attention there, or have the module return its own weights."


def attention_like(model: nn.Module) -> list[str]:
    """The classes in the model whose names speak of attention."""
    return sorted({type(m).__name__ for m in model.modules() if "attention" in type(m).__name__.lower()})
