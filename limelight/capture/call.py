"""One attention of a watched model: its matrix, name and layer, while it runs and when it is finished."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from limelight.capture.decoding.joined_steps import JoinedSteps
from limelight.capture.inputs.attention_inputs import Kind
from limelight.capture.verification import Verified, verify
from limelight.errors import CaptureError
from limelight.matrix import AttentionMatrix
from limelight.matrix.head_range import HeadRange


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """One attention of the model: its matrix, and where it stands.

    The steps of a decoder that writes token by token are one call, and one matrix.
    """

    name: str
    """That of the module, as in `model.named_modules()`; its second call in one forward has `#2` after it."""
    kind: Kind
    """ "self", or "cross" where the keys come from another sequence."""
    layer: int
    """Which of its kind it is in its part of the model, counted from 0."""
    backend: str
    """Who computed it in the model: "sdpa", "eager", …"""
    result: Any
    """The AttentionMatrix; with `watch(model, read=…)` its reading, or a tuple of readings."""
    part: HeadRange | None = None
    """Which of the layer's heads these are, where other processes have the rest (tensor parallelism)."""

    @property
    def matrix(self) -> AttentionMatrix:
        """The attention matrix. Raises CaptureError where only readings were kept."""
        if isinstance(self.result, AttentionMatrix):
            return self.result
        raise CaptureError(
            f"Of {self.name!r} only readings were kept, since the watch was told read=[…]. Take them from `result`, "
            "or watch without read=."
        )


@dataclass
class PendingCall:
    """A call in the making: further steps may come."""

    name: str
    kind: Kind
    layer: int
    backend: str
    steps: JoinedSteps | None
    reading: Any = None
    call: AttentionCall | None = field(default=None)
    part: HeadRange | None = None

    def finished(self) -> AttentionCall:
        """The call as it is now. Raises CaptureError if what it refers to was written to since."""
        if self.steps is None:
            self.call = self.call or self._call(self.reading)
        elif self.call is None or self.steps.grew:
            self.call = self._call(self.steps.inputs().matrix())
        if self.steps is not None and self.steps.overwritten():
            raise CaptureError(
                f"What {self.name!r} was computed from must stay as it was; the model has written to it since. "
                "Read it inside the forward, watch(model, read=[…]), or inside the block before the next forward."
            )
        return self.call

    def verified(self) -> Verified | str | None:
        """How far the weights of all steps together are from what the backend gave; None where that was not kept."""
        whole = None if self.steps is None else self.steps.to_verify()
        return None if whole is None else verify(whole, self.finished().matrix)

    def _call(self, kept: Any) -> AttentionCall:
        return AttentionCall(self.name, self.kind, self.layer, self.backend, kept, self.part)
