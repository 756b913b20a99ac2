"""Tokenizers: the round trip, the spans, the file, and that no text reaches a special id."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from limelight.errors import ArgumentTypeError, InputError, TextError
from limelight.text import tokenizers as module
from limelight.text.tokenizers import END, PAD, SPECIALS, START, UNKNOWN, Encoded, Tokenizer

TEXTS = [
    "The lime light lights the limelight, and the light is bright.",
    "Über den Häusern übt der Übermut: größer, höher, müder.",
    "Don't say 'light' twice\nin one   line 😀😀.",
] * 3
BPE = Tokenizer.train(TEXTS, kind="bpe", size=337)
CHARACTERS = Tokenizer.train(TEXTS, kind="characters")
WORDS = Tokenizer.train(TEXTS, kind="words")
ALL = pytest.mark.parametrize("tokenizer", [BPE, CHARACTERS, WORDS], ids=lambda t: t.kind)

any_text = st.text(st.characters(exclude_categories=["Cs"]))
likely_text = st.text(st.sampled_from("thelig ühtÜ.'\n\t 😀👩\u200d💻\u0301東"))


# ── The round trip ──


@given(any_text | likely_text)
def test_bpe_round_trips_every_text(text: str) -> None:
    encoded = BPE.encode(text)
    assert BPE.decode(encoded.ids) == text
    assert UNKNOWN not in encoded.ids


@given(st.text(st.sampled_from(sorted(set("".join(TEXTS))))))
def test_characters_round_trip_what_they_know(text: str) -> None:
    encoded = CHARACTERS.encode(text)
    assert CHARACTERS.decode(encoded.ids) == text
    assert encoded.spans == [(i, i + 1) for i in range(len(text))]


@given(st.lists(st.sampled_from(" ".join(TEXTS).split())), st.sampled_from([" ", "  ", "\n", "\t "]))
def test_words_round_trip_up_to_white_space(words: list[str], space: str) -> None:
    text = space.join(words)
    encoded = WORDS.encode(text)
    assert WORDS.decode(encoded.ids) == " ".join(words)
    assert [text[start:end] for start, end in encoded.spans] == words


def test_unknown_characters_and_words_are_unknown() -> None:
    assert CHARACTERS.encode("ζ").ids == [UNKNOWN]
    assert CHARACTERS.decode(CHARACTERS.encode("lζght").ids) == "l�ght"
    assert WORDS.decode(WORDS.encode("the zebra").ids) == "the �"


@ALL
def test_the_empty_text_has_no_tokens(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("") == Encoded([], [])
    assert tokenizer.encode_batch([]) == []
    assert tokenizer.decode([]) == ""


@ALL
def test_decode_skips_special_ids(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("the").ids
    assert tokenizer.decode([START, *ids, END, PAD, PAD]) == "the"


def test_a_word_is_the_same_piece_at_the_start_and_in_the_middle() -> None:
    light, again = BPE.encode(" light").ids[-1], BPE.encode("the light").ids[-1]
    assert BPE.encode("light").ids == [light]
    assert light == again


# ── No text reaches a special id ──


@ALL
@given(st.lists(st.sampled_from([*SPECIALS, *module._STORED, "light", " ", ""])))
def test_special_names_in_a_text_are_ordinary_text(tokenizer: Tokenizer, pieces: list[str]) -> None:
    text = "".join(pieces)
    assert not {PAD, START, END} & set(tokenizer.encode(text).ids)
    trained = Tokenizer.train([text, "the light"] * 5, kind=tokenizer.kind, size=500)
    assert not {PAD, START, END} & set(trained.encode(text).ids)
    assert [trained.token(i) for i in range(4)] == list(SPECIALS)


# ── Spans ──


@given(any_text | likely_text)
def test_bpe_spans_cover_the_text_in_order(text: str) -> None:
    spans = BPE.encode(text).spans
    covered = {place for start, end in spans for place in range(start, end)}
    assert {i for i, c in enumerate(text) if c != " "} <= covered
    assert [start for start, _ in spans] == sorted(start for start, _ in spans)
    assert all(0 <= start < end <= len(text) for start, end in spans[1:])


@given(any_text | likely_text)
def test_bpe_spans_hold_what_the_bytes_of_the_tokens_say(text: str) -> None:
    """Counted from the token's bytes alone, without the library's offsets."""
    encoded = BPE.encode(text)
    owner = [at for at, character in enumerate(" " + text) for _ in character.encode()]
    place = 0
    for token, (start, end) in zip(encoded.ids, encoded.spans, strict=True):
        size = len(BPE._stored(token))  # one letter of the byte-level alphabet a byte
        first, last = owner[place] - 1, owner[place + size - 1]
        place += size
        piece = text[max(first, 0) : last]
        assert text[start:end] == (piece if piece.isspace() else piece.removeprefix(" "))
    assert place == (len(owner) if text else 0)


def test_every_part_of_a_split_character_has_its_whole_span() -> None:
    encoded = BPE.encode("a 東é")
    parts = [span for span in encoded.spans if span == (2, 3)]
    assert len(parts) == 3  # three bytes, never seen in training
    assert encoded.spans[-2:] == [(3, 4), (3, 4)]


def test_spans_leave_out_the_leading_space_only() -> None:
    text = "the light"
    assert [text[start:end] for start, end in BPE.encode(text).spans] == ["the", "light"]
    assert BPE.encode(" the").spans == [(0, 0), (1, 4)]  # the space before the text covers nothing
    assert BPE.encode("\n").spans == [(0, 0), (0, 1)]


# ── Training ──


@ALL
def test_training_is_repeatable(tokenizer: Tokenizer) -> None:
    again = Tokenizer.train(iter(TEXTS), kind=tokenizer.kind, size=337)
    assert again._inner.to_str() == Tokenizer.train(TEXTS, tokenizer.kind, 337)._inner.to_str()


@pytest.mark.parametrize(("kind", "size"), [("bpe", 263), ("characters", 11), ("words", 7)])
def test_size_is_the_most_that_is_learned(kind: str, size: int) -> None:
    tokenizer = Tokenizer.train(TEXTS, kind=kind, size=size)
    assert len(tokenizer) == size
    assert max(tokenizer.encode(TEXTS[0]).ids) < size


@pytest.mark.parametrize("kind", ["bpe", "characters", "words"])
def test_a_size_too_small_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match=f"at least .* for kind '{kind}'; got 4"):
        Tokenizer.train(TEXTS, kind=kind, size=4)


def test_bad_training_input_is_refused() -> None:
    with pytest.raises(InputError, match="bpe, characters, words; got 'wordpiece'"):
        Tokenizer.train(TEXTS, kind="wordpiece")
    with pytest.raises(ArgumentTypeError, match="Wrap it in a list"):
        Tokenizer.train("one text")
    for kind in ("characters", "words"):
        with pytest.raises(InputError, match="they are empty"):
            Tokenizer.train([""], kind=kind)


def test_bpe_learned_from_nothing_still_writes_every_text() -> None:
    tokenizer = Tokenizer.train([])
    assert tokenizer.decode(tokenizer.encode("größer 😀").ids) == "größer 😀"


# ── Use ──


@ALL
def test_a_batch_equals_one_by_one(tokenizer: Tokenizer) -> None:
    texts = ["the light", "", "müder 😀"]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


def test_tokens_are_readable() -> None:
    assert [BPE.token(i) for i in BPE.encode("light\n é").ids][:2] == ["▁light", "\\n"]
    assert BPE.token(BPE.encode("東").ids[-1]) == "\\xb1"
    assert CHARACTERS.token(CHARACTERS.encode("ü").ids[0]) == "ü"
    assert WORDS.token(WORDS.encode("light").ids[0]) == "light"
    assert [WORDS.token(i) for i in (PAD, UNKNOWN, START, END)] == list(SPECIALS)


@ALL
def test_every_id_below_the_length_is_a_token(tokenizer: Tokenizer) -> None:
    assert all(tokenizer.token(i) for i in range(len(tokenizer)))
    for outside in (-1, len(tokenizer)):
        with pytest.raises(InputError, match=f"below {len(tokenizer)}; got {outside}"):
            tokenizer.token(outside)


@ALL
def test_decode_refuses_ids_that_do_not_exist(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match="got 99999"):
        tokenizer.decode([4, 99_999])


def test_texts_that_are_none_are_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="text 1 is bytes"):
        BPE.encode_batch(["a", b"b"])
    with pytest.raises(ArgumentTypeError, match="got one str"):
        BPE.encode_batch("text")
    with pytest.raises(TextError, match="lone surrogate"):
        BPE.encode("\ud800")


@pytest.mark.slow
def test_a_million_characters_in_one_line() -> None:
    text = "limelight " * 100_003
    encoded = BPE.encode(text)
    assert BPE.decode(encoded.ids) == text
    assert encoded.spans[-1][1] == len(text)


# ── The file ──


@ALL
def test_save_and_load(tokenizer: Tokenizer, tmp_path: Path) -> None:
    for target in (tmp_path, tmp_path / "other.json"):
        path = tokenizer.save(target)
        loaded = Tokenizer.load(target)
        assert loaded.kind == tokenizer.kind
        assert loaded.encode("the müder lζght\n😀") == tokenizer.encode("the müder lζght\n😀")
        assert loaded.save(tmp_path / "again.json").read_bytes() == path.read_bytes()


@ALL
def test_pickle(tokenizer: Tokenizer) -> None:
    assert pickle.loads(pickle.dumps(tokenizer)).encode("the light") == tokenizer.encode("the light")  # noqa: S301


def test_the_file_works_in_the_library_alone(tmp_path: Path) -> None:
    import tokenizers

    inner = tokenizers.Tokenizer.from_file(str(BPE.save(tmp_path)))
    assert inner.encode("the light").ids == BPE.encode("the light").ids


def test_files_that_are_no_tokenizer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="No such file"):
        Tokenizer.load(tmp_path)
    for content in ("", "{}", "[]", '{"model": {"vocab": {}}}', "\udcff"):
        path = tmp_path / "tokenizer.json"
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
        with pytest.raises(TextError, match="cannot be read as one"):
            Tokenizer.load(path)


def test_a_foreign_tokenizer_is_refused(tmp_path: Path) -> None:
    settings = json.loads(BPE.save(tmp_path).read_text())
    settings["model"]["vocab"]["[limelight start]"] = 4
    (tmp_path / "tokenizer.json").write_text(json.dumps(settings))
    with pytest.raises(TextError, match="first four tokens are not Limelight's"):
        Tokenizer.load(tmp_path)


# ── Spans of ids that a model wrote ──


@given(any_text | likely_text)
def test_decode_spans_of_encoded_text_are_the_spans_of_encode(text: str) -> None:
    encoded = BPE.encode(text)
    assert BPE.decode_spans(encoded.ids) == (text, encoded.spans)


@ALL
@given(st.data())
def test_decode_spans_of_any_ids(tokenizer: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1)))
    text, spans = tokenizer.decode_spans(ids)
    assert text == tokenizer.decode(ids)
    assert len(spans) == len(ids)
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    covered = {place for start, end in spans for place in range(start, end)}
    assert {place for place, character in enumerate(text) if character != " "} <= covered
    shown = [span for span, i in zip(spans, ids, strict=True) if i >= len(SPECIALS)]
    assert shown == sorted(shown)
    assert all(start == end for (start, end), i in zip(spans, ids, strict=True) if i in (PAD, START, END))
    if tokenizer.kind != "bpe":
        pieces = [text[start:end] for (start, end), i in zip(spans, ids, strict=True) if i >= len(SPECIALS)]
        assert pieces == [tokenizer.token(i) for i in ids if i >= len(SPECIALS)]


def test_what_is_no_text_is_not_learned_from() -> None:
    with pytest.raises(TextError, match="lone surrogate"):
        Tokenizer.train(["fine", "a \ud83d b"])
    with pytest.raises(ArgumentTypeError, match="text 1 is int"):
        Tokenizer.train(["fine", 2])  # type: ignore[list-item]
