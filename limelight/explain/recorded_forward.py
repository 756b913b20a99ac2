"""RecordedForward: inputs, outputs and kernel calls of the model's own forward.

Hooks keep what went into and came out of every module. Attention's inner product is no module, so a
`TorchFunctionMode` keeps what PyTorch's fused kernel was called with and what it gave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from limelight.matrix import AttentionMatrix
from limelight.modules.attention import record_attention


@dataclass(frozen=True)
class KernelCall:
    """One call of the fused kernel: its arguments and its output (B, H, N, D)."""

    q_BHND: Tensor
    k_BGMD: Tensor
    v_BGMD: Tensor
    options: dict[str, Any]
    output_BHND: Tensor

    @cached_property
    @torch.inference_mode()
    def weights_BHNM(self) -> Tensor:
        """The weights that the kernel used, (B, H, N, M): the same call with unit vectors for values.

        The kernel never forms its weights; but the mean of unit vectors, weighted by A, is A. They go in as
        blocks as wide as the real values, so that the same kernel runs.
        """
        B, G, M, D = self.v_BGMD.shape
        unit_MM = torch.eye(M, dtype=self.v_BGMD.dtype)
        blocks = []
        for first in range(0, M, D):
            block_MD = self.v_BGMD.new_zeros(M, D)
            part = unit_MM[:, first : first + D]
            block_MD[:, : part.shape[1]] = part
            value_BGMD = block_MD.expand(B, G, M, D)
            out_BHND = scaled_dot_product_attention(self.q_BHND, self.k_BGMD, value_BGMD, **self.options)
            blocks.append(out_BHND[..., : part.shape[1]])
        return torch.cat(blocks, dim=-1)


@dataclass(frozen=True)
class RecordedForward:
    """One forward: `into` and `out` by module name, kernel calls and matrices by the name of their attention."""

    output: Tensor
    into: dict[str, Tensor] = field(default_factory=dict)
    out: dict[str, Tensor] = field(default_factory=dict)
    calls: dict[str, KernelCall] = field(default_factory=dict)
    matrices: dict[str, AttentionMatrix] = field(default_factory=dict)


class _Kernel(TorchFunctionMode):
    """Hands every call of the fused kernel to `keep`, and changes nothing."""

    def __init__(self, keep: Callable[[KernelCall], None]) -> None:
        super().__init__()
        self.keep = keep

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        result = func(*args, **options)
        if func is scaled_dot_product_attention:
            query, key, value = args
            self.keep(KernelCall(query, key, value, options, result))
        return result


@torch.no_grad()  # not inference mode: of its tensors nobody knows whether they are still what was read
def watch_forward(model: nn.Module, *inputs: Tensor) -> RecordedForward:
    """Run `model(*inputs)` once and keep what passed by."""
    into: dict[str, Tensor] = {}
    out: dict[str, Tensor] = {}
    calls: dict[str, KernelCall] = {}
    running: list[str] = []  # the modules whose forward we are in, by name, outermost first
    handles = []

    def entering(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            if name.partition(".")[0] in (name, *running):
                running.append(name)
                into[name] = args[0]

        return hook

    def leaving(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], result: Tensor) -> None:
            if running and running[-1] == name:
                running.pop()
                out[name] = result

        return hook

    try:
        # A table that encoder and decoder share is one module with two names: each run of it belongs to the
        # name whose stack is running.
        for name, module in model.named_modules(remove_duplicate=False):
            if name:
                handles.append(module.register_forward_pre_hook(entering(name)))
                handles.append(module.register_forward_hook(leaving(name)))
        with record_attention(model) as matrices, _Kernel(lambda call: calls.__setitem__(running[-1], call)):
            output = model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return RecordedForward(output, into, out, calls, dict(matrices))
