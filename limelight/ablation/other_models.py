"""Run any model that takes an attention_mask with some tokens masked as keys, for ablation.

The tokens stay where they are; only no query may look at them. That is what the model's own padding mask does, so it
works for every model that takes one, on any backend. The positions of all others stay, too, but in models that count
them along the mask and cannot be told otherwise (BLOOM's ALiBi): there what follows a gap moves up.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from limelight.errors import InputError

SAME = 1e-3
"""Outputs that differ by no more than this share of the largest number come from the same positions."""


def masked_forward(
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    rows: slice | list[int] | None = None,
    read: Callable[[Any], Tensor] | None = None,
) -> Callable[[Tensor], Tensor]:
    """A function from the tokens that are kept, bool (J, M), to the model's output with only those, (J, rows, …).

    inputs  those of one text, batch 1, as the model takes them: `input_ids` (1, M) and what else it needs. In an
            encoder-decoder the tokens of the encoder are taken away, and `decoder_input_ids` stay.
    rows    which positions of the output are given; all unless given
    read    takes the output out of what the model returns: its logits, else its last hidden state

    Raises InputError for a model that takes no `attention_mask`, and for inputs without `input_ids`.

    >>> kept = torch.ones(2, 11, dtype=torch.bool)                           # doctest: +SKIP
    >>> masked_forward(model, tokenizer("…", return_tensors="pt"), rows=[-1])(kept)  # doctest: +SKIP
    """
    takes = inspect.signature(model.forward).parameters
    if "attention_mask" not in takes:
        raise InputError(
            f"{type(model).__name__} takes no attention_mask, so no token can be closed to it. "
            "Take away the token itself and run the shorter text, if that is what you want to know."
        )
    ids = inputs.get("input_ids")
    if not isinstance(ids, Tensor):
        raise InputError(
            f"The removal check takes tokens away, so inputs must hold input_ids, (1, tokens); got "
            f"{', '.join(inputs) or 'nothing'}. Of images, sound and embeddings nothing can be closed this way."
        )
    if ids.shape[0] != 1:
        raise InputError(f"The removal check reads one text at a time; got a batch of {ids.shape[0]}.")
    own: dict[str, Any] = dict(inputs) | ({"use_cache": False} if "use_cache" in takes else {})
    mask = torch.as_tensor(own.pop("attention_mask", torch.ones_like(ids))).bool()

    def run(kept_JM: Tensor, given: Mapping[str, Any]) -> Tensor:
        J = len(kept_JM)
        batch = {
            name: value.expand(J, *value.shape[1:]) if isinstance(value, Tensor) else value
            for name, value in given.items()
        }
        seen_JM = (mask & kept_JM.to(mask.device)).to(ids.dtype)
        with torch.no_grad():
            found = model(**batch, attention_mask=seen_JM)
        tensor = read(found) if read is not None else _main(found)
        return tensor if rows is None else tensor[:, rows]

    @cache
    def told() -> Mapping[str, Any]:
        """Some models count positions along the mask, so that the tokens after a gap would move up: they are told
        positions. Others number them in a way of their own (RoBERTa from 2 on), which must not be disturbed."""
        if "position_ids" not in takes or "position_ids" in own:
            return own
        positions = own | {"position_ids": torch.arange(ids.shape[1], device=ids.device)[None]}
        everything = torch.ones_like(mask)
        as_it_is, as_told = run(everything, own), run(everything, positions)
        far = float((as_it_is - as_told).abs().max())
        return positions if far <= SAME * float(as_it_is.abs().max()) else own

    return lambda kept_JM: run(kept_JM, told())


def _main(found: Any) -> Tensor:
    for name in ("logits", "last_hidden_state"):
        tensor = getattr(found, name, None)
        if isinstance(tensor, Tensor):
            return tensor
    raise InputError(
        f"The model returns {type(found).__name__}, with neither logits nor last_hidden_state; "
        "say what to read: masked_forward(model, inputs, read=lambda output: …)."
    )
