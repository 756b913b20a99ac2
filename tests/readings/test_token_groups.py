"""Groups: every token of the axis has its word, special tokens have none, no character loses its name."""

from __future__ import annotations

import pytest

from limelight.errors import InputError, ShapeError
from limelight.readings import Groups
from limelight.text.segments import Segments

TEXT = "Open (the) file. Save it!"


def segments(*pieces: str) -> Segments:
    """The text cut into these pieces, one token each."""
    spans, at = [], 0
    for piece in pieces:
        at = TEXT.index(piece, at)
        spans.append((at, at + len(piece)))
        at += len(piece)
    return Segments.from_spans(TEXT, spans)


def test_tokens_of_a_word_share_its_number_and_special_tokens_have_none() -> None:
    parts = segments("Op", "en", "(", "the", ")", "fi", "le", ".", "Save", "it", "!")
    groups = Groups.of(parts, before=1, after=2)
    assert groups.names == ("Open", "(", "the", ")", "file", ".", "Save", "it", "!")
    assert groups.index == (-1, 0, 0, 1, 2, 3, 4, 4, 5, 6, 7, 8, -1, -1)
    assert groups.level == "word"


def test_a_word_inside_the_token_of_another_is_named_with_it() -> None:
    groups = Groups.of(segments("Open", "(the)", "file.", "Save", "it!"))
    assert groups.names == ("Open", "(the)", "file.", "Save", "it!")
    assert groups.index == (0, 1, 2, 3, 4)


def test_a_word_that_no_token_covers_has_no_group() -> None:
    groups = Groups.of(segments("Open", "file", "it"))
    assert groups.names == ("Open", "file", "it")
    assert groups.index == (0, 1, 2)


def test_sentences_and_documents() -> None:
    parts = segments("Open", "(the)", "file.", "Save", "it!")
    assert Groups.of(parts, "sentence").names == ("Open (the) file.", "Save it!")
    assert Groups.of(parts, "sentence", after=1).index == (0, 0, 0, 1, 1, -1)
    assert Groups.of(parts, "document").index == (0, 0, 0, 0, 0)


def test_tokens_as_they_are() -> None:
    groups = Groups.tokens(["k", "æ", "t"], after=1)
    assert groups.index == (0, 1, 2, -1)
    assert len(groups) == 3


def test_no_tokens_at_all() -> None:
    groups = Groups.of(Segments.from_spans("", []), after=1)
    assert groups.names == ()
    assert groups.index == (-1,)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="number the 2 names"):
        Groups(("a", "b"), (0, 2))
    with pytest.raises(InputError, match="number the 2 names"):
        Groups(("a", "b"), (-2, 0))
    with pytest.raises(ShapeError, match=r"3 numbers for 4 keys.*after="):
        Groups.tokens("abc").fit(4, "keys")
