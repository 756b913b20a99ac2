"""Run the tape over one module: from each of its calls to its output, in any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from limelight.capture.hooks import hooked
from limelight.capture.inputs.attention_inputs import AttentionInputs, Kind
from limelight.capture.listeners import Missed, Record
from limelight.capture.recordable import why_unreadable
from limelight.capture.sources.call_site import given_to, kind_of
from limelight.capture.sources.op_tracing.scores import Owners
from limelight.capture.sources.op_tracing.tape import Tape


@contextmanager
def follow(
    module: nn.Module,
    record: Record,
    missed: Missed,
    unless: Callable[[nn.Module], str | None] = lambda _: None,
) -> Iterator[None]:
    """Watch one module by tape, in whatever thread it runs; not in calls where `unless` names a reason."""
    running = threading.local()

    def before(_: nn.Module, args: Any, kwargs: Any) -> None:
        why_not = unless(module) or why_unreadable(*args, *kwargs.values())
        call = _Call(module, record, kind_of(module, given_to(module, args, kwargs)), why_not)
        running.calls = [*getattr(running, "calls", []), call]
        if why_not is None:
            call.tape.__enter__()

    def after(_: nn.Module, args: Any, output: Any) -> None:
        if not getattr(running, "calls", None):  # the watch was opened while it ran, in another thread
            return
        call = running.calls.pop()
        if call.why_not is None:
            call.tape.__exit__(None, None, None)
        if output is not None:  # None: it has raised
            call.report(missed)

    with hooked(module, before, after):
        yield


class _Call:
    """One call of a module that is followed: the place of its tape."""

    def __init__(self, module: nn.Module, record: Record, kind: Kind, why_not: str | None) -> None:
        self.module, self.kind, self.why_not = module, kind, why_not
        self.reasons: list[str] = []
        self.notes: list[str] = []
        self.recorded = 0
        self._record = record
        self.tape = Tape(self)

    def owners(self) -> Owners:
        return ()

    def find(self, owners: Owners) -> tuple[nn.Module, Kind] | None:
        return self.module, self.kind

    def record(self, module: nn.Module, inputs: AttentionInputs) -> None:
        self.recorded += 1
        self._record(module, inputs)

    def missed(self, module: nn.Module, why: str) -> None:
        self.reasons.append(why)

    def note(self, line: str) -> None:
        self.notes.append(line)

    def name(self, module: nn.Module) -> str:
        return type(module).__name__

    def report(self, missed: Missed) -> None:
        """What of this call was not recorded."""
        self.tape.finish()
        noticed = getattr(missed, "noticed", missed)
        for why in self.reasons:
            noticed(self.module, why)
        for line in self.notes:
            getattr(missed, "note", _ignore)(line)
        if not (self.recorded or self.reasons or self.tape.fused):
            missed(
                self.module, self.why_not or "no softmax of a product of queries and keys was computed in it"
            )


def _ignore(line: str) -> None:
    """Nobody asked for notes."""
