"""Summary: the table of captured calls, the memory they hold, and notes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from limelight.capture.call import AttentionCall
from limelight.capture.decoding.segmented_mask import SegmentedMask
from limelight.capture.inputs.relative_bias import Diagonals
from limelight.capture.model_parts import missing_layers
from limelight.capture.sources.op_tracing.relative_lookups import Looked
from limelight.capture.sources.torch_compile import is_compiled
from limelight.matrix import AttentionMatrix, Mask
from limelight.matrix.masks.base import And, Dense, FullMask
from limelight.matrix.masks.by_token import Function, Lengths
from limelight.matrix.masks.positional import Causal, Window


@dataclass(frozen=True)
class SummaryRow:
    """One line of the table."""

    name: str
    kind: str
    layer: int
    shape: tuple[int, ...]
    mask: str
    backend: str
    bytes: int
    heads: str = ""
    """Which of the layer's heads these are, where they are not all."""


@dataclass(frozen=True)
class Summary:
    """The table of all calls; print it to read it."""

    rows: tuple[SummaryRow, ...]
    bytes: int
    notes: tuple[str, ...] = ()
    """What in the table is not the whole of a text, and why."""

    def __str__(self) -> str:
        head = ("", "name", "kind", "layer", "heads × queries × keys", "mask", "backend", "memory")
        lines = [
            (str(i), row.name or "(the model)", row.kind, str(row.layer), _shape(row.shape, row.heads), row.mask,
             row.backend, in_bytes(row.bytes))
            for i, row in enumerate(self.rows)
        ]  # fmt: skip
        widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                 for line in (head, *lines)]  # fmt: skip
        held = f"{len(self.rows)} attention matrices hold {in_bytes(self.bytes)}."
        return "\n".join([*table, held, *self.notes])


@dataclass(frozen=True)
class Notes:
    """Notes on what was seen, one a line; print them to read them."""

    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines) or "Nothing to note: the model ran as it is."

    def __iter__(self) -> Iterator[str]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def __contains__(self, part: object) -> bool:
        return isinstance(part, str) and any(part in line for line in self.lines)


def what_ran_otherwise(model: nn.Module) -> Iterator[str]:
    """What a watch changes in how a model runs, and which of its layers are not here."""
    if is_compiled(model.modules()):
        yield "The model is compiled; inside the watch it ran as it is written."
    yield from missing_layers(model)


def what_stands_apart(apart: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Which steps were not joined to those before, one line a reason."""
    for reason, names in apart.items():
        first, *others = (name or "the model" for name in names)
        more = f" and {len(others)} more" if others else ""
        yield f"Of {first}{more}: {reason}."


def row_of(call: AttentionCall) -> SummaryRow:
    kept = call.result
    if not isinstance(kept, AttentionMatrix):
        return SummaryRow(call.name, call.kind, call.layer, (), "", call.backend, 0)
    words = [_in_words(kept.mask)]
    scores = kept.logits
    words += [word for word, part in (("bias", scores.bias), ("softcap", scores.softcap), ("sink", scores.sink_H))
              if part is not None]  # fmt: skip
    return SummaryRow(
        call.name,
        call.kind,
        call.layer,
        kept.shape,
        ", ".join(words),
        call.backend,
        bytes_held([call]),
        "" if kept.head_range is None else str(kept.head_range),
    )


def bytes_held(calls: Sequence[AttentionCall], tokens: int | None = None) -> int:
    """The memory behind some calls, each piece counted once; scaled to `tokens` queries where that is given.

    Memory is counted whole: a key that is a part of a larger tensor holds all of it.
    """
    held: dict[int, float] = {}
    for call in calls:
        if not isinstance(call.result, AttentionMatrix):
            continue
        N = call.result.shape[2]
        lines, tables = _tensors(call.result)
        grown = 1.0 if tokens is None else tokens / max(N, 1)
        for tensor, power in [*((one, 1) for one in lines), *((one, 2) for one in tables)]:
            memory = tensor.untyped_storage()
            held[memory.data_ptr()] = memory.nbytes() * grown**power
    return math.ceil(sum(held.values()))


def _tensors(matrix: AttentionMatrix) -> tuple[list[Tensor], list[Tensor]]:
    """What a matrix refers to: what grows with the tokens, and tables, which grow with their square."""
    scores = matrix.logits
    bias = scores.bias
    lines = [scores.q_BHND, scores.k_BGMD, matrix.value]
    lines += bias.lines if isinstance(bias, Looked | Diagonals) else ()
    others = [bias.rest if isinstance(bias, Looked) else bias, *_in_mask(scores.mask)]
    given = [one for one in others if isinstance(one, Tensor)]
    tables = [one for one in given if one.shape[-2] > 1 and one.shape[-1] == scores.M > 1]
    rows = [one for one in given if not any(one is table for table in tables)]
    return [*(one for one in lines if one is not None), *rows], tables


def _in_mask(mask: Mask) -> Iterator[Tensor]:
    if isinstance(mask, Dense):
        yield mask.seen_BHNM
    elif isinstance(mask, And):
        yield from _in_mask(mask.left)
        yield from _in_mask(mask.right)
    elif isinstance(mask, SegmentedMask):
        for piece in mask.segments:
            yield from _in_mask(piece.rule())


def _in_words(mask: Mask) -> str:
    match mask:
        case FullMask():
            return "all"
        case Causal():
            return "causal"
        case Window():
            return f"window of {mask.w}"
        case Lengths():
            return "padding"
        case Dense():
            return "padding" if mask.seen_BHNM.shape[2] == 1 else "table"
        case Function():
            return "function"
        case And():
            return f"{_in_words(mask.left)} & {_in_words(mask.right)}"
        case SegmentedMask():
            return f"{len(mask.segments)} steps"
    return type(mask).__name__.lower()


def _shape(shape: tuple[int, ...], heads: str) -> str:
    if not shape:
        return "(read)"
    B, H, N, M = shape
    return (f"{B} texts or windows × " if B > 1 else "") + f"{heads or H} × {N} × {M}"


def in_bytes(number: float) -> str:
    """A number of bytes for people.

    >>> in_bytes(9_437_184)
    '9.4 MB'
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            return f"{number:.1f} {unit}" if unit != "bytes" else f"{number:.0f} bytes"
        number /= 1000
    raise AssertionError
