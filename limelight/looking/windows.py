"""Join the results of overlapping windows of a long text into one DocumentsLook.

A document stands under its name, with its mean over the windows, 0 in those that do not hold it. A sentence or a word
stays with its own window, with its number divided by how many windows there are. So all shares add up to 1 as in one
reading; what stands in two windows, where they overlap, counts twice in the mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from limelight.ablation.leave_one_out import AblationResult, spearman
from limelight.looking.documents_look import DocumentsLook
from limelight.readings.documents import LookedAt
from limelight.readings.reading import Reading


def joined(found: Sequence[DocumentsLook], tokens: int, room: int) -> DocumentsLook:
    """The windows of a text of `tokens` tokens, of which the model reads `room` at once, as one look."""
    said = (
        f"The text has {tokens:,} tokens and the model reads {room:,}: it was read in {len(found)} windows that "
        "overlap, each by itself. A share is the mean over the windows, 0 where a window does not hold the word, so "
        "that all shares add up to 1 as in one reading; words in two windows count twice in the mean."
    )
    answers = [each.answer for each in found if each.answer is not None]
    removals = [each.removal for each in found if each.removal is not None]
    return replace(
        found[0],
        documents=_different(name for each in found for name in each.documents),
        answer=" | ".join(_different(answers)) if answers else None,
        views={name: _view([each.views[name] for each in found]) for name in found[0].views},
        table=None,
        removal=_removal(removals) if removals else None,
        notes=(said, *_different(note for each in found for note in each.notes[1:])),
        windows=tuple(found),
    )


def _view(views: Sequence[LookedAt]) -> LookedAt:
    parts = {level: [view.readings[level] for view in views] for level in views[0].readings}
    documents = by_name(parts["document"])
    counts = dict.fromkeys(documents.labels[0], 0)
    for view in views:
        for name, count in zip(view.documents.labels[0], view.tokens["document"], strict=True):
            counts[name] += count
    beside = [level for level in parts if level != "document"]
    return replace(
        views[0],
        readings={"document": documents, **{level: side_by_side(parts[level]) for level in beside}},
        homes={
            "document": documents.labels[0],
            **{level: tuple(home for view in views for home in view.homes[level]) for level in beside},
        },
        tokens={
            "document": tuple(counts.values()),
            **{level: tuple(count for view in views for count in view.tokens[level]) for level in beside},
        },
        elsewhere=by_name([view.elsewhere for view in views]),
        how=_how(views[0].how, len(views)),
    )


def _removal(found: Sequence[AblationResult]) -> AblationResult:
    """How far the outputs move, on the same rule as the shares; the rank correlation is taken anew."""
    moved = [each.effect for each in found]
    attended = [each.attended for each in found if each.attended is not None]
    join = by_name if moved[0].axes == ("document",) else side_by_side
    together, received = join(moved), join(attended) if attended else None
    rho = float("nan") if received is None else spearman(received.values, together.values)
    return AblationResult(together, received, rho)


def by_name(parts: Sequence[Reading]) -> Reading:
    """The mean of each label over readings with one axis, 0 where a reading does not have it."""
    sums = dict.fromkeys(_different(label for part in parts for label in part.labels[0]), 0.0)
    for part in parts:
        for label, value in zip(part.labels[0], part.values.tolist(), strict=True):
            sums[label] += value / len(parts)
    values = np.array(list(sums.values()), dtype=np.float64)
    return replace(parts[0], values=values, labels=(tuple(sums),), how=_how(parts[0].how, len(parts)))


def side_by_side(parts: Sequence[Reading]) -> Reading:
    """Readings with one axis, one behind the other, each value divided by how many readings there are."""
    values = np.concatenate([part.values for part in parts]) / len(parts)
    labels = tuple(label for part in parts for label in part.labels[0])
    return replace(parts[0], values=values, labels=(labels,), how=_how(parts[0].how, len(parts)))


def _how(how: str, windows: int) -> str:
    return f"{how} Mean over {windows} windows."


def _different(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
