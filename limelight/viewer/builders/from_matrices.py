"""Subjects out of what people have at hand: a matrix, several layers, what a watch has seen, a Reading."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError, InputError, ShapeError
from limelight.matrix import AttentionMatrix
from limelight.readings.reading import Reading
from limelight.text.contexts import Context
from limelight.text.segments import Segments
from limelight.viewer.builders.precomputed import PrecomputedMatrix
from limelight.viewer.compute.attention_layers import AttentionLayers, Matrix
from limelight.viewer.compute.token_axis import TokenAxis
from limelight.viewer.subject import Subject

Text = Segments | Context | Sequence[str] | None
"""A text whose tokens are those of a matrix; or one label a token; or nothing, and tokens are shown by number."""
Kind = Literal["self", "cross"]


def build_subject(
    what: Any, text: Text = None, queries: Text = None, title: str = "", batch: int = 0
) -> Subject:
    """A page about `what`.

    what     an AttentionMatrix; several, or layer (or name) → matrix; what `limelight.watch` has seen; a Reading
    text     the keys' tokens; where the queries are as many and `queries` is not given, theirs too
    queries  the queries' tokens, of cross-attention: a matrix alone with as many queries is taken for that
    batch    which text of the matrices' batch, counted from 0

    Raises ArgumentTypeError for anything else, ShapeError where a text has another number of tokens, where there is
    no such text of the batch, and where there is nothing to show; InputError for texts of what has its own.
    """
    if isinstance(what, Subject | Reading):
        if text is not None or queries is not None or batch:
            raise InputError(
                f"text, queries and batch are for attention matrices; a {type(what).__name__} has its own labels."
            )
        return what if isinstance(what, Subject) else of_reading(what, title)
    asking = None if queries is None else side_of("queries", queries)
    found = of_matrices(_groups(what, asking), text, asking, batch)
    asked = isinstance(text, Context) and text.asked
    notes = (text.note,) if isinstance(text, Context) and text.note else ()
    question = (
        text.segments.text[slice(*text.segments.documents[-1])]
        if asked and isinstance(text, Context)
        else None
    )
    return Subject(title or "Attention", found, notes=notes, question=question)


def of_matrices(
    groups: Mapping[str, tuple[Kind, Mapping[int, Matrix], Mapping[int, str]]],
    text: Text,
    asking: TokenAxis | None,
    batch: int,
) -> list[AttentionLayers]:
    """Name → (kind, layers, their names) as attentions between the texts, of which each belongs to one at least."""
    keys = None if text is None else side_of("text", text)
    found = []
    known = [side for side in (keys, asking) if side is not None]
    for name, (kind, layers, names) in groups.items():
        B, _, N, M = next(iter(layers.values())).shape
        looked_at = [side for side in known if kind == "self" or side is not asking]
        columns = _fitting("keys", M, looked_at, text is not None)
        rows = (
            columns if kind == "self" and N == M else _fitting("queries", N, known[::-1], asking is not None)
        )
        ids = text.ids if isinstance(text, Context) and kind == "self" and len(text.ids) == N == M else ()
        note = f"Text {batch + 1} of {B} of the batch." if B > 1 else ""
        found.append(AttentionLayers(name, kind, rows, columns, layers, names, ids, batch=batch, note=note))
        known += [side for side in (columns, rows) if side not in known]
    for side in (keys, asking):
        if side is not None and not any(side in (each.queries, each.keys) for each in found):
            sizes = ", ".join(f"{each.N} × {each.M}" for each in found)
            raise ShapeError(
                f"The {side.name} must have a token for every row or column of a matrix (queries × keys: {sizes}); "
                f"got {len(side)}. Special tokens count too."
            )
    return found


def side_of(name: str, text: Segments | Context | Sequence[str]) -> TokenAxis:
    """One side out of a text."""
    if isinstance(text, Context):
        return TokenAxis(name, text.segments)
    if isinstance(text, Segments):
        return TokenAxis(name, text)
    if isinstance(text, str):
        raise ArgumentTypeError(
            "A text must come with its tokens: Segments.of(text, tokenizer), Context.of(tokenizer, text), or a list "
            "of one label a token; got a bare string."
        )
    return TokenAxis.of_labels(name, [str(label) for label in text])


def of_reading(reading: Reading, title: str = "") -> Subject:
    """A page of a Reading with one axis (one row of numbers) or two, of words by words; "head" may stand before."""
    axes = list(reading.axes)
    values = torch.as_tensor(np.nan_to_num(np.array(reading.values)))
    if len(axes) > 1 and axes[0] == "head":
        labels = reading.labels[1:]
        axes = axes[1:]
    else:
        labels, values = reading.labels, values[None]
    if len(axes) == 1:
        axes, labels, values = ["all", *axes], (("all",), *labels), values[:, None]
    if len(axes) != 2 or not axes[0]:
        raise ShapeError(
            f"A page shows a Reading of one or two axes beside 'head'; this one has "
            f"{', '.join(reading.axes) or 'none'}. Take a part of one with more: reading.at(axis, place)."
        )
    if bool((values < 0).any()):
        raise InputError("A page colours from 0 up, and this Reading holds numbers below 0.")
    rows, columns = (TokenAxis.of_labels(axis, names) for axis, names in zip(axes, labels, strict=True))
    layers = {0: PrecomputedMatrix(values[None])}
    attention = AttentionLayers(
        f"{axes[0]} × {axes[1]}", "cross", rows, columns, layers, note=f"Unit: {reading.unit}."
    )
    return Subject(title or " by ".join(axes), [attention], how=reading.how, level="token")


def _groups(what: Any, asking: TokenAxis | None) -> dict[str, tuple[Kind, dict[int, Any], dict[int, str]]]:
    """Name → what belongs together: of one kind, in one part of the model, of one size.

    Where nothing tells the kind, as many queries as `asking` has, or another number than keys, make it "cross".
    """
    if isinstance(what, AttentionMatrix):
        what = {0: what}
    if isinstance(what, Mapping):
        what = [_named(*each) for each in what.items()]
    elif isinstance(what, Iterable) and not isinstance(what, str | bytes | Tensor):
        what = [_entry(number, each) for number, each in enumerate(what)]
    else:
        raise ArgumentTypeError(
            "A page shows an AttentionMatrix, several of them, what limelight.watch has seen, or a Reading; got "
            f"{type(what).__name__}."
        )
    found: dict[str, tuple[Kind, dict[int, Any], dict[int, str]]] = {}
    entries: list[tuple[int, str, Kind | None, AttentionMatrix]] = what
    for layer, name, told, matrix in entries:
        N, M = matrix.shape[2:]
        kind: Kind = told or ("self" if N == M and (asking is None or len(asking) != N) else "cross")
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


def _named(key: Any, each: Any) -> tuple[int, str, Kind | None, AttentionMatrix]:
    """What stands under a layer's number, or under its name: those of one part are then numbered from 0."""
    if isinstance(key, str):
        _, _, told, matrix = _entry(key, each)
        return 0, key, told, matrix
    if not isinstance(key, Integral) or key < 0:
        raise ArgumentTypeError(f"A layer is told by a number from 0, or by its name; got {key!r}.")
    _, name, told, matrix = _entry(key, each)
    return int(key), name, told, matrix


def _entry(number: Any, each: Any) -> tuple[int, str, Kind | None, AttentionMatrix]:
    if isinstance(each, AttentionMatrix):
        return number, "", None, each
    if hasattr(each, "matrix") and getattr(each, "kind", None) in get_args(Kind):
        return each.layer, each.name, each.kind, each.matrix
    raise ArgumentTypeError(
        f"A page shows attention matrices; what stands at {number!r} is {type(each).__name__}."
    )


def _fitting(what: str, tokens: int, known: Sequence[TokenAxis], given: bool) -> TokenAxis:
    """The first side of so many tokens; tokens by number where there is none."""
    for side in known:
        if len(side) == tokens:
            return side
    if given and known:
        raise ShapeError(
            f"The text of the {what} must have a token for each of the matrix's {tokens} {what}; those given have "
            f"{', '.join(str(len(side)) for side in known)}. Special tokens count too."
        )
    return TokenAxis.numbered(what, tokens)
