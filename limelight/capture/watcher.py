"""watch: capture the attention of a model while it runs, without changing it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limelight.capture.call import PendingCall
from limelight.capture.captured import CapturedAttention
from limelight.capture.decoding.caches import cache_of, crops_heard
from limelight.capture.decoding.open_sequences import OpenSequences
from limelight.capture.diagnostics import why_nothing
from limelight.capture.hooks import hooked
from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.capture.listeners import listeners, listening
from limelight.capture.model_parts import REPLICATED, is_replicated
from limelight.capture.module_names import CallNames
from limelight.capture.offload import Offloader
from limelight.capture.sources import SOURCES
from limelight.capture.sources.torch_functions import replaced_inside_the_block
from limelight.capture.verification import Verified, demand, verify
from limelight.errors import ArgumentTypeError, CaptureError, InputError, LimelightError, is_one_of
from limelight.matrix import Reduction
from limelight.matrix.reductions.base import is_reduction, require_reductions

__all__ = ["SOURCES", "Watcher", "watch"]


class Watcher:
    """The listener of one `watch`: names what it hears, joins steps, verifies, reads."""

    def __init__(
        self,
        model: nn.Module,
        seen: CapturedAttention,
        read: Sequence[Reduction[Any]],
        verified: bool,
        offload: str | None,
        values: bool,
    ) -> None:
        self.names = CallNames(model)
        self._seen = seen
        self._read, self._verify, self._values = tuple(read), verified, values
        self._move = None if offload is None else Offloader(torch.device(offload))
        self._written: dict[str, OpenSequences] = {}
        self.verifies = verified
        """Whether whoever tells should give the backend's own output, even if that must be computed again."""
        self.forwards = 0
        self._home, self._lock = threading.get_ident(), threading.RLock()

    def owns(self, module: nn.Module) -> bool:
        return module in self.names

    def begin(self, model: nn.Module, _: Any, __: Any) -> None:
        """A forward of the whole model begins."""
        if is_replicated(model):
            self._seen.lost[""] = REPLICATED
        self.names.forward_begins()
        self.forwards += 1
        if threading.get_ident() != self._home and any(one is self for one in listeners(model)):
            self.note(
                "The model also ran in another thread inside the watch; its attention there is kept as well."
            )

    def end(self, model: nn.Module, _: Any, __: Any) -> None:
        """It ends, or fails."""
        for line in replaced_inside_the_block():
            self.note(line)
        self.names.forward_ends()

    def on_call(self, module: nn.Module, inputs: AttentionInputs) -> None:
        with self._lock:  # the model may run in several threads
            self._hear(module, inputs)

    def _hear(self, module: nn.Module, inputs: AttentionInputs) -> None:
        if torch._C._current_graph_task_id() != -1:
            self.note(
                "Gradient checkpointing computed attention again in the backward pass; it is kept once."
            )
            return
        name, layer = self.names.call(module, inputs.kind)
        try:
            self._keep(name, layer, module, inputs, sys._getframe(1))
        except LimelightError as error:
            error.add_note(f"This was in {name!r}, a {type(module).__name__}.")
            raise

    def cropped(self, cache: object) -> None:
        """Tokens were taken back out of a cache."""
        for texts in self._written.values():
            texts.cropped(cache, sys._getframe(1))

    def missed(self, module: nn.Module, why: str) -> None:
        self._seen.lost[self.names.of(module)] = why

    def noticed(self, module: nn.Module, why: str) -> None:
        """Attention was computed and was lost, whatever else of the module was heard."""
        name, _ = self.names.next(module)
        self._seen.noticed[name] = why

    def note(self, line: str) -> None:
        self._seen.notes[line] = None

    def close(self) -> None:
        """The block has ended: verify what was joined, and let go of what only further steps would need."""
        for entry in self._seen.entries:
            if self._verify and entry.steps is not None and entry.steps.steps > 1:
                found = entry.verified()
                if found is not None:
                    self._was_verified(entry.name, found, "joined from its steps")
            if entry.steps is not None:
                entry.steps.close()

    def _was_verified(self, name: str, found: Verified | str, what: str = "") -> None:
        before = self._seen.verified.get(name)
        worse = isinstance(before, Verified) and isinstance(found, Verified) and before.error > found.error
        if not worse:
            self._seen.verified[name] = found
        demand(name, found, what)

    def _keep(
        self, name: str, layer: int, module: nn.Module, inputs: AttentionInputs, frame: FrameType | None
    ) -> None:
        if inputs.dropout:
            self.note(f"Dropout of {inputs.dropout:g} was active: the weights are those before it.")
        if self._verify or not inputs.sure:
            found = verify(inputs, inputs.matrix())
            self._was_verified(name, found)
            if not inputs.sure and isinstance(found, str):
                raise CaptureError(
                    f"The attention backend {inputs.backend!r} is none that Limelight knows, so its output must be "
                    f"verified, and cannot be: {found}."
                )
        entry = PendingCall(name, inputs.kind, layer, inputs.backend, None, part=inputs.part)
        if self._read:
            entry.reading = inputs.matrix().read(*self._read)
        else:
            if not self._verify:
                inputs = inputs.to_keep(self._values)
            if self._move is not None:
                inputs = self._move(inputs)
            texts = self._written.setdefault(name, OpenSequences(self._values, outputs=self._verify))
            placed = texts.place(inputs, cache_of(module, frame), frame)
            if placed.apart is not None:
                self._seen.apart.setdefault(placed.apart, {})[name] = None
            if placed.begun is None:
                return
            entry.steps = placed.begun
        self._seen.entries.append(entry)


@contextmanager
def watch(
    model: nn.Module,
    *,
    read: Sequence[Reduction[Any]] = (),
    verify: bool = False,
    offload: Literal["cpu"] | None = None,
    values: bool = True,
) -> Iterator[CapturedAttention]:
    """Inside the block, every attention that `model` computes is kept as an `AttentionMatrix`.

    `model` is any torch.nn.Module: of Hugging Face transformers, on whichever backend; of plain PyTorch, where
    attention is nn.MultiheadAttention or scaled_dot_product_attention; of Limelight. It runs as it is, its weights,
    masks and outputs untouched. Kept are references to queries, keys and values: memory grows with the length of
    the text, not with its square. The steps of `model.generate()` are joined to one matrix a layer and text: where a
    model writes several in turn (guidance, a helper's drafts, two chats), each has its own, and `seen[name]` is the
    one that was begun last. What cannot be joined stands apart, and `seen.why()` and `seen.summary()` say why.

    read     reductions, such as [Received(), Entropy()]: each attention is read inside the forward, and only the
             readings are kept; steps are then not joined, and every call has readings of its own
    verify   compare W @ V with what the backend gave, and raise CaptureError beyond the tolerance of its dtype: of
             every call when it is made, and of what its steps were joined to at the end of the block
    offload  "cpu" moves what is kept out of the accelerator's memory
    values   False keeps no values: less memory, and no readings that weigh them

    Another model and calls after the block are not seen; the same model in another thread is, unless that thread
    watches it itself. Watches may be nested. Attention that was computed and could not be followed stands in
    `seen.missed` with the reason. Raises CaptureError at the end of a block in which nothing was seen, and says why;
    `seen.why()` tells what else to know.

    >>> import torch
    >>> model = torch.nn.TransformerEncoderLayer(16, nhead=4, batch_first=True).eval()
    >>> with watch(model) as seen, torch.no_grad():
    ...     _ = model(torch.ones(1, 5, 16))
    >>> seen["self_attn"], seen[0].rows(2).shape
    (AttentionMatrix(1 × 4 heads, 5 queries × 5 keys, torch.float32, cpu), torch.Size([1, 4, 5]))
    """
    if not isinstance(model, nn.Module):
        raise ArgumentTypeError(f"watch() takes a model, a torch.nn.Module; got {type(model).__name__}.")
    if offload is not None and not is_one_of(offload, ("cpu",)):
        raise InputError(f"offload must be 'cpu' or None; got {offload!r}.")
    if is_reduction(read) or not hasattr(read, "__iter__") or isinstance(read, (Tensor, Mapping)):
        raise ArgumentTypeError(
            f"read= takes a list of reductions, such as [Received()]; got {read!r} alone."
        )
    require_reductions("read=", list(read))
    seen = CapturedAttention(model)
    watcher = Watcher(model, seen, read, verify, offload, values)
    root = getattr(model, "_orig_mod", model)
    with listening(watcher.names.modules, watcher, SOURCES), crops_heard():
        with hooked(root, watcher.begin, watcher.end):
            yield seen
    watcher.close()
    if not seen.entries:
        raise CaptureError(why_nothing(model, seen, watcher.forwards))
