"""Words, sentences, paragraphs: the rules by example, and as laws on any text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, strategies as st

from limelight.text.segmentation import paragraphs, sentences, words
from tests.examples import mostly_slow

LEVELS = pytest.mark.parametrize("cut", [words, sentences, paragraphs], ids=lambda f: f.__name__)

texts = st.text(st.characters(exclude_categories=["Cs"])) | st.text(
    st.sampled_from("ab A.!?…。」\"')\n\n \t1,'’-東か\u0301\u200d\ufe0f👍🏽🇩🇪é\u093f\u00a0")
)


def cut_by(cut, text: str) -> list[str]:
    return [text[start:end] for start, end in cut(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Drag-and-drop it.", "Drag|-|and|-|drop|it|."),
        ("don't l’été 'tis rock'n'roll dogs'", "don't|l’été|'|tis|rock'n'roll|dogs|'"),
        ("3.14 1,000.5 12:30 v2.0 2.x 5. 1.2.3", "3.14|1,000.5|12:30|v2|.|0|2|.|x|5|.|1.2.3"),
        ("Straße ÄÖÜ x_1 e\u0301te\u0301", "Straße|ÄÖÜ|x_1|e\u0301te\u0301"),
        ("नमस्ते दुनिया", "नमस्ते|दुनिया"),
        ("東京はok 한국어 か\u3099", "東|京|は|ok|한국어|か\u3099"),
        ("👍🏽👩\u200d💻❤\ufe0f🇩🇪🇫🇷!", "👍🏽|👩\u200d💻|❤\ufe0f|🇩🇪|🇫🇷|!"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # a zero-width non-joiner inside a Persian word
        ("(a) \u00a0 [b]…", "(|a|)|[|b|]|…"),
        (" \n\t", ""),
        ("", ""),
    ],
)
def test_words(text: str, expected: str) -> None:
    assert cut_by(words, text) == (expected.split("|") if expected else [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four… Five", "One.|Two!|Three?|Four…|Five"),
        ("Use e.g. Impress, cf. Fig. 3 by Dr. J. Smith.", "Use e.g. Impress, cf. Fig. 3 by Dr. J. Smith."),
        ("Siehe z.B. Kap. 3. Dann weiter.", "Siehe z.B. Kap. 3.|Dann weiter."),
        ('He said "Stop!" and left. "Why?" Nobody knew.', 'He said "Stop!" and left.|"Why?"|Nobody knew.'),
        ("Yahoo! is here. iPhones follow.", "Yahoo! is here. iPhones follow."),
        ("Version 3.5 of file.txt is out. Get it", "Version 3.5 of file.txt is out.|Get it"),
        ("1. Open it. 2. Save it.", "1. Open it.|2.|Save it."),  # a number opens a line, not a sentence
        ("1. Open it.\n2. Save it.", "1. Open it.|2. Save it."),
        ("Heading\n\nFirst. Second\n \nThird", "Heading|First.|Second|Third"),
        ("wrapped\nline. Next", "wrapped\nline.|Next"),
        ("今日は。元気？「はい。」と言う", "今日は。|元気？|「はい。」|と言う"),
        ("What?! (Really.) Yes.", "What?!|(Really.)|Yes."),
        ("Ends with an etc. in it. Ends with Dr.", "Ends with an etc. in it.|Ends with Dr."),
        ("Take option b. Then option C. Go.", "Take option b.|Then option C. Go."),
        ("...", "..."),
        ("", ""),
    ],
)
def test_sentences(text: str, expected: str) -> None:
    assert cut_by(sentences, text) == (expected.split("|") if expected else [])


def test_paragraphs() -> None:
    assert cut_by(paragraphs, "\n\n a\nb \n\t\n\n\n c\n") == ["a\nb", "c"]
    assert cut_by(paragraphs, " \n\n ") == []


@LEVELS
@given(texts)
def test_every_visible_character_is_in_exactly_one_unit(cut, text: str) -> None:
    spans = cut(text)
    assert all(start < end for start, end in spans)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    covered = {place for start, end in spans for place in range(start, end)}
    assert {place for place, character in enumerate(text) if not character.isspace()} <= covered
    assert all(not text[start].isspace() and not text[end - 1].isspace() for start, end in spans)


@pytest.mark.parametrize(("inner", "outer"), [(words, sentences), (sentences, paragraphs)])
@given(texts)
@example("東。\u0301か")
@example("東。\u200d😀か")
def test_units_lie_in_each_other(inner, outer, text: str) -> None:
    outside = outer(text)
    for start, end in inner(text):
        assert any(first <= start and end <= last for first, last in outside)


@LEVELS
@pytest.mark.parametrize(
    "unit",
    mostly_slow(
        ["a", "a b. ", ".", "\n", "a'", "1.", " ", "\n  ", "e\u0301", "。", "\u200d!"],
        *("a b. ", "1.", "。"),
    ),
)
def test_long_texts_take_linear_time(cut, unit: str) -> None:
    spans = cut(unit * (100_003 // len(unit)))  # quadratic time would take minutes
    assert all(start < end for start, end in spans)
