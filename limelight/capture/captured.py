"""CapturedAttention: the attention calls that a watch recorded, in the order of execution."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from operator import index
from typing import Any, overload
from weakref import ref

from torch import nn

from limelight.capture.call import AttentionCall, PendingCall
from limelight.capture.summary import (
    Notes,
    Summary,
    bytes_held,
    row_of,
    what_ran_otherwise,
    what_stands_apart,
)
from limelight.capture.verification import Verified
from limelight.errors import ArgumentTypeError, CaptureError, OutOfRangeError


class CapturedAttention:
    """The attention of a model, as it was computed: by number in the order of execution, or by name.

    seen[0], seen[-1], seen["encoder.layer.3.attention.self"]   the AttentionMatrix; of several calls, or texts, the
                                                                one that began last
    for call in seen: call.name, call.kind, call.layer, call.matrix
    for name, matrix in seen.items(): …
    call.result, and seen[…] with `read=`    what was read: of one reduction its reading, of several a tuple
    seen.summary(), seen.why(), seen.memory(tokens=32_000); limelight.show(seen, text=…)

    It can be copied, pickled and saved (torch.save), and then holds all but the model.
    """

    def __init__(self, model: nn.Module | None = None) -> None:
        self._model = None if model is None else ref(model)
        self.entries: list[PendingCall] = []
        self.notes: dict[str, None] = {}
        self.lost: dict[str, str] = {}
        self.apart: dict[str, dict[str, None]] = {}
        """Why steps were not joined to what came before them: the reason, and the names of the modules."""
        self.noticed: dict[str, str] = {}
        self.verified: dict[str, Verified | str] = {}
        """With verify=True, a name: how far W @ V is from the backend's output, or why that cannot be told."""

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a file of it has: every call as it is now, and without the model what the model had to say.

        Raises CaptureError if what a call refers to was written to since.
        """
        finished = [entry.finished() for entry in self.entries]
        entries = [
            PendingCall(call.name, call.kind, call.layer, call.backend, None, call.result, call, call.part)
            for call in finished
        ]
        notes = self.notes | dict.fromkeys(self._of_the_model())
        return self.__dict__ | {"_model": None, "entries": entries, "notes": notes}

    def _of_the_model(self) -> list[str]:
        model = None if self._model is None else self._model()
        return [] if model is None else list(what_ran_otherwise(model))

    @property
    def missed(self) -> dict[str, str]:
        """Attention that was computed and could not be followed: the name of the module, and why."""
        told = {*self.names(), *self.noticed}
        others = {
            name: why
            for name, why in self.lost.items()
            if not any(one == name or one.startswith((f"{name}.", f"{name}#")) for one in told)
        }
        return {**self.noticed, **others}

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[AttentionCall]:
        return (entry.finished() for entry in self.entries)

    def __contains__(self, name: object) -> bool:
        return any(entry.name == name for entry in self.entries)

    def __repr__(self) -> str:
        parts = dict.fromkeys(str(entry.part) for entry in self.entries if entry.part is not None)
        return (
            f"CapturedAttention({len(self)} attention matrices{', of ' if parts else ''}{', '.join(parts)})"
        )

    @overload
    def __getitem__(self, which: slice) -> list[Any]: ...
    @overload
    def __getitem__(self, which: int | str) -> Any: ...

    def __getitem__(self, which: int | slice | str) -> Any:
        if isinstance(which, slice):
            return [entry.finished().result for entry in self.entries[which]]
        if not isinstance(which, str):
            try:
                number = index(which)
            except TypeError:
                raise ArgumentTypeError(
                    f"seen[…] takes a number, a slice or the name of a module; got {which!r}."
                ) from None
            if not -len(self) <= number < len(self):
                raise OutOfRangeError(f"There are {len(self)} attention matrices; got number {number}.")
            return self.entries[number].finished().result
        for entry in reversed(self.entries):
            if entry.name == which:
                return entry.finished().result
        raise CaptureError(self._unknown(which))

    def items(self) -> Iterator[tuple[str, Any]]:
        """(name, matrix), in the order of execution."""
        return ((call.name, call.result) for call in self)

    def names(self) -> list[str]:
        """The names of all calls, in the order of execution."""
        return [entry.name for entry in self.entries]

    def memory(self, tokens: int | None = None) -> int:
        """The bytes that are held; or, from what was seen of a short text, what this many tokens will hold.

        What is held a token grows with the tokens, tables (masks, biases) with their square.
        """
        return bytes_held([entry.finished() for entry in self.entries], tokens)

    def summary(self) -> Summary:
        """A table of all calls; print it."""
        rows = tuple(row_of(call) for call in self)
        return Summary(rows, self.memory(), tuple(what_stands_apart(self.apart)))

    def why(self) -> Notes:
        """What a reader of these weights should know: what ran otherwise, what was left out, what was verified."""
        lines = [*self.notes, *self._of_the_model(), *what_stands_apart(self.apart)]
        lines += [f"{name} was not captured: {reason}." for name, reason in self.missed.items()]
        found = {name: one for name, one in self.verified.items() if isinstance(one, Verified)}
        if found:
            worst = max(found, key=lambda name: found[name].error)
            lines.append(
                f"Verified: of {len(found)} attentions W @ V is the backend's own output; the largest relative "
                f"difference is {found[worst].error:.1e}, in {worst or 'the model'}."
            )
        reasons = dict.fromkeys(one for one in self.verified.values() if isinstance(one, str))
        lines += [f"Not verified: {reason}." for reason in reasons]
        return Notes(tuple(lines))

    def _unknown(self, name: str) -> str:
        if name in self.missed:
            return f"The attention of {name!r} was computed and not captured: {self.missed[name]}."
        near = difflib.get_close_matches(name, self.names(), n=3, cutoff=0.3) or self.names()[:3]
        return (
            f"No attention of {name!r} was seen. There are {len(self)}, such as {', '.join(map(repr, near))}."
        )
