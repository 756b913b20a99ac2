"""Separate heads from the batch in tensors of shape (batch · heads, tokens, width).

Before queries and keys stands a single axis. A module that says how many heads it has, and whose heads together are
as wide as its features, has batch · heads there; one of a single head has the batch. Of any other it cannot be told.
"""

from __future__ import annotations

from torch import Tensor, nn

HEADS = (
    *("num_attention_heads", "num_heads", "n_heads", "n_head", "heads", "num_attn_heads", "nhead", "nheads"),
    *("head_num", "h"),
)
WIDTHS = (
    "embed_dim",
    "hidden_size",
    "d_model",
    "dim",
    "all_head_size",
    "inner_dim",
    "embedding_dim",
    "n_embd",
)


def number_of_heads(module: nn.Module) -> int | None:
    """As many heads as a module, or its config, says that it has."""
    for holder in (module, getattr(module, "config", None)):
        for name in HEADS:
            number = getattr(holder, name, None)
            if isinstance(number, int) and not isinstance(number, bool) and number > 0:
                return number
    return None


def heads_in(module: nn.Module, leading: int, width: int) -> int | None:
    """How many heads stand in a single leading axis beside texts or windows; None where that cannot be told.

    width: that of one query vector.
    """
    number = number_of_heads(module)
    if leading == 1 or number == 1:
        return 1
    if number is None:
        return None
    widths = [getattr(module, name, None) for name in WIDTHS]
    widths += [child.out_features for child in module.children() if isinstance(child, nn.Linear)]
    known = {each for each in widths if isinstance(each, int)}
    if leading % number == 0 and (number * width in known or not known):
        return number
    return 1 if width in known else None


def heads_apart(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, output: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor, str]:
    """The same with the axes (batch, heads, …) in the place of three, and what cannot be told of them, or ""."""
    leading, _, width = query.shape
    heads = heads_in(module, leading, width)
    said = ""
    if heads is None:
        said = (
            f"Of {type(module).__name__} texts and heads lie in one axis of {leading} and cannot be told apart: they "
            "are told as texts or windows of one head."
        )
    H = heads or 1

    def apart(tensor: Tensor) -> Tensor:
        return tensor.unflatten(0, (-1, H)) if tensor.shape[0] == leading else tensor[None]

    if mask is not None and mask.dim() == 3:
        mask = apart(mask)
    return apart(query), apart(key), apart(value), mask, apart(output), said
