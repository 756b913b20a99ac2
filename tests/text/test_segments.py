"""Segments: which word, sentence, paragraph and document a token lies in."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st

from limelight.errors import ArgumentTypeError, InputError
from limelight.text.segments import NO_UNIT, Segments
from limelight.text.tokenizers import Tokenizer

LEVELS = ("word", "sentence", "paragraph", "document")
DOCUMENTS = ["Open the file. Then save it!", "", "Don't wait.\n\nThe limelight is bright, isn't it?"]
TOKENIZER = Tokenizer.train([*DOCUMENTS, "the limelight is bright"] * 2, size=293)
CHARACTERS = Tokenizer.train(DOCUMENTS, kind="characters")


def by_hand(segments: Segments, level: str) -> list[int]:
    """The unit of each token, found by looking at every unit: the slow plain truth."""
    numbers = []
    for start, end in segments.spans:
        visible = [place for place in range(start, end) if not segments.text[place].isspace()]
        place = visible[0] if visible else start
        homes = [n for n, unit in enumerate(segments.units(level)) if unit.start <= place < unit.end]
        numbers.append(homes[0] if homes and start < end else NO_UNIT)
    return numbers


documents = st.lists(st.text(st.sampled_from("ab A.!?\n\n 。東ü😀\u0301'")), min_size=1, max_size=5)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("tokenizer", [TOKENIZER, CHARACTERS], ids=lambda t: t.kind)
@given(texts=documents)
def test_index_and_units_agree_with_the_plain_truth(
    level: str, tokenizer: Tokenizer, texts: list[str]
) -> None:
    segments = Segments.of(texts, tokenizer)
    index, units = segments.index(level), segments.units(level)
    assert index.dtype == torch.int64
    assert index.tolist() == by_hand(segments, level)
    for number, unit in enumerate(units):
        assert segments.text[unit.start : unit.end] == unit.text
        assert list(unit.tokens) == [t for t, n in enumerate(index.tolist()) if n == number]
        assert texts[unit.document].find(unit.text) >= 0
    assert [unit.start for unit in units] == sorted(unit.start for unit in units)


@given(documents)
def test_no_unit_crosses_into_another_document(texts: list[str]) -> None:
    segments = Segments.of(texts, TOKENIZER)
    home = segments.index("document").tolist()
    for level in LEVELS:
        for unit in segments.units(level):
            assert {home[token] for token in unit.tokens} <= {unit.document}


def test_of_documents() -> None:
    segments = Segments.of(DOCUMENTS, TOKENIZER, names=["a", "b", "c"])
    assert [unit.text for unit in segments.units("document")] == DOCUMENTS
    assert segments.names == ("a", "b", "c")
    assert [unit.text for unit in segments.units("paragraph")] == [
        "Open the file. Then save it!",
        "Don't wait.",
        "The limelight is bright, isn't it?",
    ]
    assert [unit.text for unit in segments.units("sentence")][:2] == ["Open the file.", "Then save it!"]
    found = [unit.text for unit in segments.units("word")]
    assert (
        " ".join(found) == "Open the file . Then save it ! Don't wait . The limelight is bright , isn't it ?"
    )
    assert len(segments) == sum(len(TOKENIZER.encode(text)) for text in DOCUMENTS)
    assert [unit.document for unit in segments.units("paragraph")] == [0, 2, 2]
    empty = segments.units("document")[1]
    assert (empty.first_token, empty.last_token, len(empty.tokens)) == (-1, -1, 0)


def test_one_text_is_one_document_and_names_count_from_one() -> None:
    assert Segments.of("one text", TOKENIZER) == Segments.of(["one text"], TOKENIZER)
    assert Segments.of(["x", "y"], TOKENIZER).names == ("document 1", "document 2")


def test_a_function_may_stand_for_the_tokenizer() -> None:
    by_class = Segments.of(DOCUMENTS, TOKENIZER)
    assert Segments.of(DOCUMENTS, TOKENIZER.encode) == by_class
    assert Segments.of(DOCUMENTS, lambda text: TOKENIZER.encode(text).spans) == by_class
    with pytest.raises(ArgumentTypeError, match="a Tokenizer or a function; got str"):
        Segments.of(DOCUMENTS, "bpe")


def test_special_tokens_and_white_space_are_in_no_unit() -> None:
    segments = Segments.from_spans("a  b", [(0, 0), (0, 1), (1, 3), (3, 4), (0, 0)])
    assert segments.index("word").tolist() == [NO_UNIT, 0, NO_UNIT, 1, NO_UNIT]
    assert segments.index("sentence").tolist() == [NO_UNIT, 0, 0, 0, NO_UNIT]
    assert segments.index("document").tolist() == [NO_UNIT, 0, 0, 0, NO_UNIT]


def test_a_token_over_several_units_counts_for_the_first_it_shows() -> None:
    segments = Segments.from_spans("so?! Yes", [(0, 2), (2, 4), (4, 8)])
    assert segments.index("word").tolist() == [0, 1, 3]
    assert segments.index("sentence").tolist() == [0, 0, 1]  # the third starts with a space
    assert [unit.first_token for unit in segments.units("word")] == [0, 1, -1, 2]


def test_a_word_in_many_tokens() -> None:
    text = "größer 東"
    segments = Segments.of(text, Tokenizer.train([]))
    word, other = segments.units("word")
    assert len(other.tokens) == 3  # three bytes
    assert segments.index("word").tolist().count(0) == len("größer".encode()) == len(word.tokens)


def test_documents_inside_a_prompt() -> None:
    text = "Answer from these. A: one. B: two."
    spans = [(start, start + 1) for start in range(len(text))]
    segments = Segments.from_spans(text, spans, documents=[(19, 26), (27, 34)], names=["A", "B"])
    assert [unit.text for unit in segments.units("document")] == ["A: one.", "B: two."]
    assert [(unit.text, unit.document) for unit in segments.units("sentence")] == [
        ("Answer from these.", -1),
        ("A: one.", 0),
        ("B: two.", 1),
    ]
    assert segments.index("document").tolist() == [-1] * 19 + [0] * 7 + [-1] + [1] * 7


def test_documents_that_touch_are_cut_apart() -> None:
    segments = Segments.from_spans("onetwo", [(0, 2), (2, 6)], documents=[(0, 3), (3, 3), (3, 6)])
    for level in LEVELS[:3]:
        assert [(unit.text, unit.document) for unit in segments.units(level)] == [("one", 0), ("two", 2)]
        assert segments.index(level).tolist() == [0, 0]
    assert segments.index("document").tolist() == [0, 0]


def test_a_text_without_tokens() -> None:
    segments = Segments.from_spans("", [])
    for level in LEVELS:
        assert segments.index(level).shape == (0,)
    assert [unit.text for unit in segments.units("document")] == [""]
    assert Segments.of([], TOKENIZER).units("document") == []


@pytest.mark.parametrize("span", [(-1, 2), (2, 1), (0, 6)])
def test_spans_outside_the_text_are_refused(span: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"5 characters; token 1 has .*not bytes"):
        Segments.from_spans("abcde", [(0, 1), span])
    with pytest.raises(InputError, match="document 0 has"):
        Segments.from_spans("abcde", [], documents=[span])


def test_bad_documents_names_and_levels_are_refused() -> None:
    with pytest.raises(InputError, match="0 and 1 overlap"):
        Segments.from_spans("abcde", [], documents=[(0, 3), (2, 5)])
    with pytest.raises(InputError, match="one for each of the 3 documents; got"):
        Segments.of(DOCUMENTS, TOKENIZER, names=["a"])
    with pytest.raises(InputError, match="word, sentence, paragraph, document; got 'line'"):
        Segments.of(DOCUMENTS, TOKENIZER).index("line")


def test_documents_may_come_with_their_names() -> None:
    tokenizer = Tokenizer.train(["a light", "in the dark"], "words")
    segments = Segments.of({"one": "a light", "two": "in the dark"}, tokenizer)
    assert segments == Segments.of(["a light", "in the dark"], tokenizer, names=["one", "two"])
