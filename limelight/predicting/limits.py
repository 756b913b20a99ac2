"""What a model can read and write at most, checked before the work and reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from limelight.errors import InputError, LimelightError, TooLargeError
from limelight.modules.transformer import LanguageModel, TransformerConfig

MOST_SCORES = 2**27
"""Of the next token, that a search holds at once: rows × beam × vocabulary, half a gigabyte."""

Namer = Callable[[int], str]
"""Place in the list, from 0 → what to call that text."""


def text_number(place: int) -> str:
    """What a text is called where nobody knows better.

    >>> text_number(0)
    'text 1'
    """
    return f"text {place + 1}"


def last_position(model: nn.Module) -> int | None:
    """How many tokens a stack can read; None where positions are computed, not learned."""
    shape = model.shape
    return shape.longest if isinstance(shape, TransformerConfig) and shape.positions == "learned" else None


def check_readable(model: nn.Module, lengths: Sequence[int], name: Namer) -> None:
    """Raise InputError for the first text of more tokens than the model has positions for.

    `lengths` are without START or END, of which a model reads one.
    """
    most = last_position(model)
    for place, length in enumerate(lengths):
        if most is not None and length + 1 > most:
            raise InputError(
                f"{name(place)} has {length:,} tokens; this model has learned {most:,} positions, one of them for a "
                f"start or an end, so it reads {most - 1:,} at most. Cut the text, or train with a larger `longest` "
                "or with rotary positions, which have no end."
            )


def room_for_answer(model: nn.Module, read: int, longest: int) -> int:
    """Tokens of an answer: learned positions end, and what they leave after a prompt is written."""
    most = last_position(model)
    return longest if most is None else max(1, min(longest, most - read - 1))


def beyond_window(model: nn.Module, tokens: int) -> bool:
    """Whether a language model is to read more tokens at once (START counted) than it was trained to."""
    window = model.window if isinstance(model, LanguageModel) else None
    return window is not None and tokens > window


@contextmanager
def enough_memory(rows: Sequence[int], lengths: Sequence[int], name: Namer) -> Iterator[None]:
    """Where memory runs out in the block, TooLargeError that names the longest of the texts read there."""
    try:
        yield
    except LimelightError:
        raise
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
            raise
        longest = max(rows, key=lengths.__getitem__)
        raise TooLargeError(
            f"There is not enough memory for {name(longest)} ({lengths[longest]:,} tokens, read together with "
            f"{len(rows) - 1} others). Split it into shorter texts, or search with a smaller beam."
        ) from error


def batches(
    lengths: Sequence[int], groups: Sequence[int], tokens: int, most_rows: int, exact: bool
) -> Iterator[list[int]]:
    """Texts of like length together, at most `tokens` with their padding; those of different groups apart.

    exact: only texts of equal length together, so that none is padded.
    """
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: (groups[row], lengths[row]), reverse=True):
        longest = lengths[batch[0]] + 1 if batch else 0
        apart = batch and (groups[row] != groups[batch[0]] or (exact and lengths[row] + 1 != longest))
        if batch and (apart or len(batch) >= most_rows or (len(batch) + 1) * longest > tokens):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
