"""Translate the arguments of each transformers attention backend into AttentionInputs.

    sdpa    mask bool (B, 1, N, M), or None: causal from the top left if `is_causal` says so, and more than one query
    eager   mask float, or None: everything; softcap, position bias and sinks where the model's own function has them;
            a bool mask that its function adds to the scores adds 1 where it is True, and hides nothing
    flash   mask (B, M) of padding, or None; causal from the bottom right; window, softcap, sinks, packed texts
    flex    a BlockMask, which is a rule, or a float mask; softcap, position bias and sinks
    other   a function of one's own: as its mask tells, and its output is verified

A backend honours what its function takes: an eager function without a parameter `softcap` ignores one.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limelight.capture.inputs import mask_inference
from limelight.capture.inputs.attention_inputs import AttentionInputs, Kind
from limelight.capture.inputs.autograd import Graph
from limelight.capture.inputs.relative_bias import Diagonals
from limelight.errors import CaptureError
from limelight.matrix import Mask, masks

Backend = Callable[..., Any]
Convention = Literal["sdpa", "eager", "flash", "flex", "other"]

_CONVENTIONS: dict[str, Convention] = {
    "sdpa_attention_forward": "sdpa",
    "flash_attention_forward": "flash",
    "flex_attention_forward": "flex",
}


@functools.lru_cache(maxsize=256)
def convention(function: Backend, default: Backend) -> Convention:
    """Whose words a backend takes its arguments in; `default` is the model's own eager function."""
    if function is default:
        return "eager"
    return _CONVENTIONS.get(getattr(inspect.unwrap(function), "__name__", ""), "other")


@functools.lru_cache(maxsize=256)
def _is_in_the_files_of(function: Backend, kind: type[nn.Module]) -> bool:
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    home = str(Path(str(sys.modules["transformers"].__file__)).parent)
    files = {getattr(sys.modules.get(each.__module__), "__file__", None) for each in kind.__mro__}
    return code.co_filename.startswith(home + os.sep) or code.co_filename in files


def is_own(function: Backend, module: nn.Module) -> bool:
    """Whether a backend is of transformers, or of the module's own file, and nothing that was put in its place.

    A wrapper that takes the name of what it wraps has its code elsewhere.
    """
    return _is_in_the_files_of(function, type(module))  # type: ignore[arg-type]


def understand(
    function: Backend,
    words: Convention,
    name: str | None,
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output_BNHX: Tensor,
    kind: Kind,
) -> AttentionInputs:
    """What the backend `name` computed in `function(module, *args, **kwargs)`. Raises CaptureError if it cannot."""
    given = dict(zip(("query", "key", "value", "attention_mask"), args, strict=False)) | kwargs
    query, key, value = given["query"], given["key"], given["value"]
    takes = _takes(function)
    for refused, reason in _REFUSED.items():
        if refused in takes and given.get(refused) is not None:
            raise CaptureError(f"{type(module).__name__} {reason}")

    def told(parameter: str) -> Any:
        return given.get(parameter) if parameter in takes else None

    if words == "eager" and not takes & {"masked_fill", "masked_fill_", "where"}:
        given["attention_mask"] = _as_added(given.get("attention_mask"), query.dtype)
    mask, bias = _mask_and_bias(words, module, given, told("position_bias"))
    if words in ("sdpa", "other") and mask == masks.causal(offset=0) and key.shape[2] > query.shape[2]:
        key, value = key[:, :, : query.shape[2]], value[:, :, : query.shape[2]]  # as the backend does
    sink = told("s_aux")
    if sink is None and "sinks" in takes:  # eager functions take it from the module, or by this name
        sink = given.get("sinks", getattr(module, "sinks", None))
    inputs = AttentionInputs(
        query=query,
        key=key,
        value=value,
        mask=mask,
        bias=bias,
        scale=given.get("scaling"),
        softcap=told("softcap"),
        sink=None if sink is None else _one_a_head(sink),
        output=output_BNHX.transpose(1, 2),
        dropout=float(given.get("dropout") or 0.0),
        backend=name or "eager",
        kind=kind,
        sure=words != "other",
    )
    return _marked(inputs, told("position_bias"), given.get("attention_mask"))


def _marked(inputs: AttentionInputs, position_bias: Tensor | None, mask: Any) -> AttentionInputs:
    """The same, marked where a bias or a mask has a gradient that is not followed."""
    asks = [isinstance(each, Tensor) and each.requires_grad for each in (position_bias, mask)]
    if not (
        asks[1] or (asks[0] and not (inputs.graph is not None and isinstance(inputs.graph.bias, Tensor)))
    ):
        return inputs
    graph = inputs.graph or Graph(inputs.query.detach().requires_grad_(), inputs.key)
    lost = "owe something to a bias or a mask with a gradient, which is not followed"
    return replace(inputs, graph=replace(graph, lost=lost))


_REFUSED = {
    "cache": "runs with a paged cache (continuous batching), whose keys lie in blocks of many texts. "
    "Watch model.generate() or one forward instead.",
    "block_indices": "attends to blocks that an indexer has chosen, which is not captured. "
    "Load the model with attn_implementation='eager'.",
}


@functools.lru_cache(maxsize=256)
def _takes(function: Backend) -> frozenset[str]:
    """Which parameters a backend has, and which attributes of the module it reads."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return frozenset()
    return frozenset(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]) | frozenset(code.co_names)


def _as_added(mask: Any, dtype: torch.dtype) -> Any:
    """What is added to scores by a mask: Grounding DINO gives its eager text encoder a bool one."""
    return mask.to(dtype) if isinstance(mask, Tensor) and mask.dtype == torch.bool else mask


def _one_a_head(sink: Tensor) -> Tensor:
    """Sinks as (H,), in whichever shape a model expands them to."""
    while sink.dim() > 1:
        axis = next((axis for axis in (-1, 0) if sink.shape[axis] == 1 or sink.stride(axis) == 0), None)
        if axis is None:
            raise CaptureError(
                f"Sinks must be one score a head; got shape {tuple(sink.shape)}. Such sinks are not captured."
            )
        sink = sink.select(axis, 0)
    return sink


def _mask_and_bias(
    words: Convention, module: nn.Module, given: dict[str, Any], position_bias: Tensor | None
) -> tuple[Mask | None, Tensor | Diagonals | None]:
    mask = given.get("attention_mask")
    if words == "flash":
        return _flash_mask(module, given), None
    if mask is not None and not isinstance(mask, Tensor):  # a BlockMask
        return masks.function(mask.mask_mod), position_bias
    if mask is not None and mask.dim() == 2:
        raise CaptureError(
            f"The backend of {type(module).__name__} was given a mask with two axes, {tuple(mask.shape)}, which only "
            "flash attention gives a meaning to. Load the model with attn_implementation='sdpa' or 'eager'."
        )
    if mask is not None and mask.shape[-1] > given["key"].shape[2]:
        mask = mask[..., : given["key"].shape[2]]
    if mask is None and words in ("sdpa", "other") and _is_causal(module, given):
        if position_bias is not None:
            N, M = given["query"].shape[2], given["key"].shape[2]
            position_bias = position_bias[..., : min(N, M)]
        return masks.causal(offset=0), position_bias
    if position_bias is not None:
        return mask_inference.with_position_bias(mask, position_bias)
    if mask is None:
        return None, None
    told = mask_inference.read(mask)
    return told.mask, told.bias


def _is_causal(module: nn.Module, given: dict[str, Any]) -> bool:
    told = given.get("is_causal")
    causal = getattr(module, "is_causal", True) if told is None else told
    return bool(causal) and given["query"].shape[2] > 1


def _packed(position_ids: Any, N: int) -> Tensor | None:
    """The number of each token's text, where flash attention takes positions that begin anew for packed texts."""
    if not isinstance(position_ids, Tensor) or position_ids.numel() != N:
        return None
    ids_N = position_ids.reshape(-1)
    step_N = ids_N.diff(prepend=ids_N[:1] - 1)
    return (ids_N == ids_N.min()).cumsum(0) if bool((step_N != 1).any()) else None


def _flash_mask(module: nn.Module, given: dict[str, Any]) -> Mask | None:
    """Causal from the bottom right, a window that counts oneself and its neighbours, padding, packed texts."""
    parts: list[Mask] = []
    told = given.get("is_causal")
    if getattr(module, "is_causal", True) if told is None else told:
        parts.append(masks.causal())
    N, M = given["query"].shape[2], given["key"].shape[2]
    window = given.get("sliding_window")
    if window is not None and window < M:
        parts.append(masks.window(window))
    padding = given.get("attention_mask")
    if padding is not None:
        real = padding[:, -M:].bool()
        parts.append(masks.dense(real[:, None, None, :]))
        parts.append(masks.dense(real[:, None, -N:, None]))  # rows of padding are left out, and stay 0
    if given.get("cu_seq_lens_q") is not None:
        starts_q, starts_k = given["cu_seq_lens_q"], given["cu_seq_lens_k"]
        if not torch.equal(starts_q, starts_k):
            raise CaptureError(
                "Packed texts must be as long in queries as in keys to be captured; these are not, as in decoding "
                "with a cache. Run the texts as a padded batch."
            )
        places = torch.arange(N, device="cpu")
        parts.append(masks.documents(torch.bucketize(places, starts_q.cpu(), right=True)))
    elif padding is None and N == M and len(given["query"]) == 1:
        if (texts_N := _packed(given.get("position_ids"), N)) is not None:
            parts.append(masks.documents(texts_N))
    return functools.reduce(lambda one, other: one & other, parts) if parts else None
