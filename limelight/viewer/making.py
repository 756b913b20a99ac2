"""Subjects out of what people have at hand: a matrix, several layers, what a watch has seen, a Reading."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch

from limelight.errors import InputError, KindError, ShapeError
from limelight.matrix import AttentionMatrix
from limelight.readings.reading import Reading
from limelight.text.contexts import Context
from limelight.text.segments import Segments
from limelight.viewer.attentions import Attention, Matrix
from limelight.viewer.given import Given
from limelight.viewer.sides import Side
from limelight.viewer.subject import Subject

Text = Segments | Context | Sequence[str] | None
"""A text whose tokens are those of a matrix; or one label a token; or nothing, and tokens are shown by number."""
Kind = Literal["self", "cross"]


def subject_of(what: Any, text: Text = None, queries: Text = None, title: str = "") -> Subject:
    """A page about `what`.

    what     an AttentionMatrix; several, or layer → matrix; what `limelight.watch` has seen; a Reading
    text     the keys' tokens; where the queries are as many and `queries` is not given, theirs too
    queries  the queries' tokens, of cross-attention

    Raises KindError for anything else, ShapeError where a text has another number of tokens.
    """
    if isinstance(what, Subject):
        return what
    if isinstance(what, Reading):
        return of_reading(what, title)
    found = of_matrices(_groups(what), text, queries)
    asked = isinstance(text, Context) and text.asked
    notes = (text.note,) if isinstance(text, Context) and text.note else ()
    question = (
        text.segments.text[slice(*text.segments.documents[-1])]
        if asked and isinstance(text, Context)
        else None
    )
    return Subject(title or "Attention", found, notes=notes, question=question)


def of_matrices(
    groups: Mapping[str, tuple[Kind, Mapping[int, Matrix], Mapping[int, str]]], text: Text, queries: Text
) -> list[Attention]:
    """Name → (kind, layers, their names) as attentions between the texts."""
    keys = None if text is None else side_of("text", text)
    asking = None if queries is None else side_of("queries", queries)
    found = []
    known = [side for side in (keys, asking) if side is not None]
    for name, (kind, layers, names) in groups.items():
        N, M = next(iter(layers.values())).shape[2:]
        columns = _fitting("keys", M, known, text is not None)
        rows = (
            columns if kind == "self" and N == M else _fitting("queries", N, known[::-1], queries is not None)
        )
        ids = text.ids if isinstance(text, Context) and kind == "self" and len(text.ids) == N == M else ()
        found.append(Attention(name, kind, rows, columns, layers, names, ids))
        known += [side for side in (columns, rows) if side not in known]
    return found


def side_of(name: str, text: Segments | Context | Sequence[str]) -> Side:
    """One side out of a text."""
    if isinstance(text, Context):
        return Side(name, text.segments)
    if isinstance(text, Segments):
        return Side(name, text)
    if isinstance(text, str):
        raise KindError(
            "A text must come with its tokens: Segments.of(text, tokenizer), Context.of(tokenizer, text), or a list "
            "of one label a token; got a bare string."
        )
    return Side.of_labels(name, [str(label) for label in text])


def of_reading(reading: Reading, title: str = "") -> Subject:
    """A page of a Reading with one axis (one row of numbers) or two, of words by words; "head" may stand before."""
    axes = list(reading.axes)
    values = torch.from_numpy(np.nan_to_num(np.array(reading.values)))
    if axes[0] == "head" and len(axes) > 1:
        labels = reading.labels[1:]
        axes = axes[1:]
    else:
        labels, values = reading.labels, values[None]
    if len(axes) == 1:
        axes, labels, values = ["all", *axes], (("all",), *labels), values[:, None]
    if len(axes) != 2 or not axes[0]:
        raise ShapeError(
            f"A page shows a Reading of one or two axes beside 'head'; this one has {', '.join(reading.axes)}. "
            "Take a part first: reading.at(axis, place)."
        )
    if bool((values < 0).any()):
        raise InputError("A page colours from 0 up, and this Reading holds numbers below 0.")
    rows, columns = (Side.of_labels(axis, names) for axis, names in zip(axes, labels, strict=True))
    layers = {0: Given(values[None])}
    attention = Attention(
        f"{axes[0]} × {axes[1]}", "cross", rows, columns, layers, note=f"Unit: {reading.unit}."
    )
    return Subject(title or " by ".join(axes), [attention], how=reading.how, level="token")


def _groups(what: Any) -> dict[str, tuple[Kind, dict[int, Any], dict[int, str]]]:
    """Name → what belongs together: of one kind, in one part of the model, of one size."""
    if isinstance(what, AttentionMatrix):
        what = {0: what}
    if isinstance(what, Mapping):
        what = [(layer, "", None, matrix) for layer, matrix in what.items()]
    elif isinstance(what, Iterable) and not isinstance(what, str | bytes):
        what = [_entry(number, each) for number, each in enumerate(what)]
    else:
        raise KindError(
            "A page shows an AttentionMatrix, several of them, what limelight.watch has seen, or a Reading; got "
            f"{type(what).__name__}."
        )
    found: dict[str, tuple[Kind, dict[int, Any], dict[int, str]]] = {}
    entries: list[tuple[int, str, Kind | None, AttentionMatrix]] = what
    for layer, name, told, matrix in entries:
        N, M = matrix.shape[2:]
        kind: Kind = told or ("self" if N == M else "cross")
        part = re.split(r"\.\d", name)[0]
        group = f"{part} {kind}-attention".strip() + (
            f", {N} × {M}" if _other_size(found, part, kind, N, M) else ""
        )
        _, layers, names = found.setdefault(group, (kind, {}, {}))
        number = layer if layer not in layers else max(layers) + 1
        layers[number], names[number] = matrix, name or f"layer {layer}"
    return found


def _other_size(found: Mapping[str, Any], part: str, kind: str, N: int, M: int) -> bool:
    plain = found.get(f"{part} {kind}-attention".strip())
    return plain is not None and tuple(next(iter(plain[1].values())).shape[2:]) != (N, M)


def _entry(number: int, each: Any) -> tuple[int, str, Kind | None, AttentionMatrix]:
    if isinstance(each, AttentionMatrix):
        return number, "", None, each
    if hasattr(each, "matrix") and getattr(each, "kind", None) in get_args(Kind):
        return each.layer, each.name, each.kind, each.matrix
    raise KindError(f"A page shows attention matrices; number {number} is {type(each).__name__}.")


def _fitting(what: str, tokens: int, known: Sequence[Side], given: bool) -> Side:
    """The first side of so many tokens; tokens by number where there is none."""
    for side in known:
        if len(side) == tokens:
            return side
    if given and known:
        raise ShapeError(
            f"The text of the {what} must have a token for each of the matrix's {tokens} {what}; those given have "
            f"{', '.join(str(len(side)) for side in known)}. Special tokens count too."
        )
    return Side.numbered(what, tokens)
