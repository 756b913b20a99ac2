"""Word2vec: a small language whose neighbours are known, the text format, the start of an embedding table."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch

from limelight.errors import ArgumentTypeError, InputError, ShapeError, TextError, TooLargeError
from limelight.modules.embeddings import TokenEmbedding
from limelight.modules.word2vec import Word2vec, WordVectors, words_of
from limelight.text.segmentation import words

# Words of one row stand in the same places of a sentence and never beside one another. The window reaches
# over the article, so that a word before the verb and one after it have other neighbours.
CLASSES = {
    "who": ["baker", "tailor", "sailor"],
    "does": ["sees", "hears", "follows"],
    "where": ["harbour", "market", "mountain"],
}
SETTINGS = Word2vec(width=17, window=3, least=2, epochs=23, subsample=0.0, learning_rate=0.05)


def sentences(count: int = 600) -> list[str]:
    chance = random.Random(5)
    return [
        f"The {chance.choice(CLASSES['who'])} {chance.choice(CLASSES['does'])} "
        f"the {chance.choice(CLASSES['where'])}."
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def trained() -> WordVectors:
    return SETTINGS.train(sentences())


@pytest.fixture
def three() -> WordVectors:
    """Three words with vectors so plain that every cosine is known."""
    return WordVectors(("east", "north", "northeast"), torch.tensor([[3.0, 0.0], [0.0, 0.5], [2.0, 2.0]]))


class Words:
    """The least a tokenizer can be."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __len__(self) -> int:
        return len(self.words)

    def token(self, id: int) -> str:
        return self.words[id]


# ── Training ──


@pytest.mark.slow
@pytest.mark.parametrize("family", CLASSES.values(), ids=CLASSES)
def test_nearest_words_are_those_that_stand_in_the_same_places(
    trained: WordVectors, family: list[str]
) -> None:
    for word in family:
        assert {near.word for near in trained.nearest(word, 2)} == set(family) - {word}


def test_same_seed_gives_the_same_bits_and_another_seed_does_not(trained: WordVectors) -> None:
    again = SETTINGS.train(sentences())
    assert again.words == trained.words
    assert torch.equal(again.vectors, trained.vectors)
    assert not torch.equal(Word2vec(width=17, least=2, seed=1).train(sentences()).vectors, trained.vectors)
    below = Word2vec(width=17, least=2, seed=-1).train(sentences())  # any whole number is one
    assert not torch.equal(below.vectors, trained.vectors)


def test_progress_is_called_after_each_epoch() -> None:
    calls: list[tuple[int, int]] = []
    Word2vec(width=3, least=1, epochs=3).train(
        sentences(7), progress=lambda done, epochs: calls.append((done, epochs))
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_words_are_lower_case_without_punctuation_and_rare_ones_left_out() -> None:
    vectors = Word2vec(width=3, least=2).train(['"Don’t!" said well-read Zoë; don’t.', "SAID Zoë once"])
    assert set(vectors.words) == {"don’t", "said", "zoë"}


def test_a_word_is_what_it_is_everywhere_in_limelight() -> None:
    text = "हिन्दी भाषा ที่นี่ كِتَابٌ தமிழ் İstanbul préféré 3.14 東京 😀 — !"
    apart = unicodedata.normalize("NFD", text.upper()).replace("İ".upper(), "İ")
    assert words_of(text) == [
        "हिन्दी",
        "भाषा",
        "ที่นี่",
        "كِتَابٌ",
        "தமிழ்",
        "i̇stanbul",
        "préféré",
        "3.14",
        "東",
        "京",
    ]
    assert words_of(apart) == words_of(text)
    cut = [text[start:end].lower() for start, end in words(text)]
    assert set(words_of(text)) <= set(cut)
    vectors = Word2vec(width=3, least=2).train([text, apart])
    assert set(vectors.words) == set(words_of(text))


def test_vectors_that_no_memory_holds_are_refused_before_they_are_made() -> None:
    many = [" ".join(f"word{n}" for n in range(30_011))]
    with pytest.raises(TooLargeError, match="30,011 words"):
        Word2vec(width=99_991, least=1).train(many)


def test_tokens_are_taken_as_they_are() -> None:
    vectors = Word2vec(width=3, least=1).train_on_tokens([["▁The", "s", "."], ("▁The", "S")])
    assert set(vectors.words) == {"▁The", "s", ".", "S"}


def test_nothing_of_a_long_sequence_is_dropped() -> None:
    # gensim would never see the last word of a sequence this long.
    long = ["a", "b"] * 5003 + ["last"]
    assert "last" in Word2vec(width=2, least=1, epochs=1).train_on_tokens([long])


@pytest.mark.parametrize("texts", [[], [""], ["one one one one one one"], ["each word once"]])
def test_a_text_with_too_few_words_is_refused(texts: list[str]) -> None:
    with pytest.raises(InputError, match="at least 5 times.*lower `least`"):
        Word2vec().train(texts)


def test_one_text_where_many_are_meant_is_refused() -> None:
    with pytest.raises(ArgumentTypeError, match=r"\[text\]"):
        Word2vec().train("a text")
    with pytest.raises(ArgumentTypeError, match="train\\(texts\\)"):
        Word2vec().train_on_tokens(["a text"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"width": 10**12},
        {"width": 2.5},
        {"window": 0},
        {"epochs": -1},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"subsample": -1.0},
        {"subsample": float("inf")},
        {"seed": "one"},
    ],
)
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises((InputError, ArgumentTypeError), match=next(iter(wrong))):
        Word2vec(**wrong)  # type: ignore[arg-type]


# ── Nearest words ──


def test_nearest_gives_the_cosine_whatever_the_lengths(three: WordVectors) -> None:
    near = three.nearest("east", 5)
    assert [neighbour.word for neighbour in near] == ["northeast", "north"]
    assert [neighbour.cosine for neighbour in near] == pytest.approx([0.5**0.5, 0.0], abs=1e-6)
    assert len(three.nearest("east", 1)) == 1


@pytest.mark.parametrize("size", [3e38, 1e-20, 1e-38])
def test_the_cosine_is_right_at_the_ends_of_float32(size: float) -> None:
    vectors = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 3.0, 4.0]]) * torch.tensor(
        [[size], [1], [1]]
    )
    near = dict(WordVectors(("far", "east", "up"), vectors).nearest("far"))
    assert near == pytest.approx({"east": 0.5**0.5, "up": 0.6 * 0.5**0.5}, rel=1e-6)


def test_a_zero_vector_has_cosine_zero_with_everything() -> None:
    vectors = WordVectors(("nothing", "east"), torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    assert vectors.nearest("nothing")[0].cosine == 0.0


@pytest.mark.parametrize(("asked", "offered"), [("nroth", "north"), ("East", "east"), ("NORTH", "north")])
def test_an_unknown_word_is_answered_with_near_spellings(
    three: WordVectors, asked: str, offered: str
) -> None:
    with pytest.raises(InputError, match=f"{asked}.*Near spellings.*{offered}"):
        three.nearest(asked)
    with pytest.raises(InputError, match="did not have it"):
        three.nearest("qqq")
    for count in (0, -1, 2.5, float("nan")):
        with pytest.raises((InputError, ArgumentTypeError), match="count"):
            three.nearest("north", count)  # type: ignore[arg-type]
    assert len(three.nearest("north", 10**30)) == 2


def test_a_word_gives_its_vector(three: WordVectors) -> None:
    assert three["north"].tolist() == [0.0, 0.5]
    assert "north" in three
    assert "south" not in three
    assert len(three) == 3


def test_words_and_vectors_must_fit() -> None:
    with pytest.raises(ShapeError, match="2 words"):
        WordVectors(("a", "b"), torch.zeros(3, 2))
    with pytest.raises(InputError, match="'a' is there more often"):
        WordVectors(("a", "b", "a"), torch.zeros(3, 2))
    with pytest.raises(ArgumentTypeError, match="float64"):
        WordVectors(("a",), torch.zeros(1, 2, dtype=torch.float64))


# ── The text format ──


def test_written_and_read_again_every_bit_is_the_same(tmp_path: Path, trained: WordVectors) -> None:
    edge = torch.tensor([[1e-42, -3.4028235e38], [0.1, 16777217.0]])
    for vectors in (trained, WordVectors(("ünï", "数"), edge), WordVectors((), torch.zeros(0, 7))):
        vectors.save(tmp_path / "words.vec")
        again = WordVectors.load(tmp_path / "words.vec")
        assert again.words == vectors.words
        assert torch.equal(again.vectors, vectors.vectors)
    assert [path.name for path in tmp_path.iterdir()] == ["words.vec"]


def test_other_programs_read_what_we_write_and_we_what_they_write(
    tmp_path: Path, trained: WordVectors
) -> None:
    from gensim.models import KeyedVectors

    trained.save(tmp_path / "ours.vec")
    theirs = KeyedVectors.load_word2vec_format(str(tmp_path / "ours.vec"))
    assert tuple(theirs.index_to_key) == trained.words
    assert np.array_equal(theirs.vectors, trained.vectors.numpy())
    theirs.save_word2vec_format(str(tmp_path / "theirs.vec"))
    assert torch.equal(WordVectors.load(tmp_path / "theirs.vec").vectors, trained.vectors)


def test_a_failed_write_leaves_the_old_file_as_it_was(tmp_path: Path, three: WordVectors) -> None:
    path = tmp_path / "words.vec"
    three.save(path)
    before = path.read_bytes()
    unwritable = WordVectors(("fine", "\ud800"), torch.zeros(2, 2))
    with pytest.raises(InputError, match="Unicode"):
        unwritable.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("word", ["two words", " word", "line\n", ""])
def test_a_word_that_the_format_cannot_hold_is_refused(tmp_path: Path, word: str) -> None:
    with pytest.raises(InputError, match="white space"):
        WordVectors((word,), torch.zeros(1, 2)).save(tmp_path / "words.vec")


MALFORMED = {
    "empty": (b"", 1, "two whole numbers"),
    "no header": (b"east 1.0 2.0\n", 1, "GloVe"),
    "no width": (b"1 0\neast\n", 1, "two whole numbers"),
    "too few numbers": (b"2 2\neast 1 2\nnorth 1\n", 3, "2 numbers; got 1"),
    "too many numbers": (b"1 2\neast 1 2 3\n", 2, "2 numbers; got 3"),
    "blank line": (b"2 2\n\neast 1 2\n", 2, "2 numbers; got 0"),
    "not a number": (b"1 2\neast 1 x\n", 2, "x"),
    "not finite": (b"1 2\neast 1 nan\n", 2, "finite"),
    "too large": (b"1 2\neast 1 1e39\n", 2, "finite"),
    "cut off": (b"3 2\neast 1 2\n", 2, "ends after 1 words"),
    "one too many": (b"1 2\neast 1 2\nnorth 1 2\n", 3, "too many"),
    "white space in a word": (b"1 2\nto be 1 2\n", 2, "another sign must stand for it"),
    "binary": (b"1 2\neast \0\0\x80\x3f\0\0\x80\x3f\n", 2, "binary format, make it text"),
    "an underscore within a number": (b"1 2\nold_east 1 2_0\n", 2, "2_0"),
    "twice": (b"2 2\neast 1 2\neast 1 2\n", 3, "second time"),
    "latin-1": (b"1 2\nno\xebl 1 2\n", 2, "UTF-8"),
}


@pytest.mark.parametrize(("data", "line", "said"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_file_is_refused_with_its_line(tmp_path: Path, data: bytes, line: int, said: str) -> None:
    path = tmp_path / "words.vec"
    path.write_bytes(data)
    with pytest.raises(TextError, match=rf"words\.vec, line {line}: .*{said}"):
        WordVectors.load(path)


def test_what_is_no_text_is_told_with_the_way_to_make_it_one(tmp_path: Path) -> None:
    path = tmp_path / "words.vec"
    for data, said in (
        (b"\x1f\x8b\x08", "gunzip < words.vec"),
        ("1 1\na 1\n".encode("utf-16"), "iconv -f UTF-16"),
    ):
        path.write_bytes(data)
        with pytest.raises(TextError, match=said):
            WordVectors.load(path)


def test_a_word_with_white_space_that_is_not_ascii_is_kept(tmp_path: Path) -> None:
    words = ("a\u00a0b", "\u3000", "c\u2028d", "e_f")  # as files of other programs have them
    vectors = WordVectors(words, torch.arange(8.0).reshape(4, 2))
    vectors.save(tmp_path / "words.vec")
    again = WordVectors.load(tmp_path / "words.vec")
    assert again.words == words
    assert torch.equal(again.vectors, vectors.vectors)


def test_blanks_at_the_end_and_windows_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "words.vec"
    path.write_bytes(b"2 2\r\neast 1 2 \r\nnorth -1e-1 4\r\n\r\n")
    vectors = WordVectors.load(path)
    assert vectors.words == ("east", "north")
    assert vectors.vectors.tolist() == [[1.0, 2.0], [pytest.approx(-0.1), 4.0]]


def test_paths_that_cannot_be_used_are_named(tmp_path: Path, three: WordVectors) -> None:
    with pytest.raises(TextError, match="missing.vec"):
        WordVectors.load(tmp_path / "missing.vec")
    with pytest.raises(InputError, match="no-folder"):
        three.save(tmp_path / "no-folder" / "words.vec")


# ── The start of an embedding table ──


def test_a_table_takes_known_rows_and_draws_the_others_at_the_same_scale(trained: WordVectors) -> None:
    unknown = [f"unknown {n}" for n in range(499)]
    tokenizer = Words("<pad>", "baker", *unknown, "market")
    table_VE, found = trained.embedding_table(tokenizer)
    assert found == 2
    assert torch.equal(table_VE[1], trained["baker"])
    assert torch.equal(table_VE[-1], trained["market"])
    known_scale = torch.stack([trained["baker"], trained["market"]]).square().mean().sqrt()
    assert table_VE[2:-1].square().mean().sqrt() == pytest.approx(known_scale.item(), rel=0.05)
    assert torch.equal(table_VE, trained.embedding_table(tokenizer).table)
    assert not torch.equal(table_VE, trained.embedding_table(tokenizer, seed=1).table)


def test_a_model_starts_from_the_table(trained: WordVectors) -> None:
    table_VE = trained.embedding_table(Words("<pad>", "baker", "market", "tailor")).table
    embedding = TokenEmbedding(4, 17)
    embedding.start_from(table_VE)
    vectors = embedding(torch.tensor([1, 3])).detach()
    cosine = torch.nn.functional.cosine_similarity(vectors[0], vectors[1], dim=0)
    expected = next(near.cosine for near in trained.nearest("baker", 5) if near.word == "tailor")
    assert cosine.item() == pytest.approx(expected, abs=1e-5)


def test_a_table_without_one_known_token_is_refused(trained: WordVectors) -> None:
    with pytest.raises(InputError, match=r"'BAKER'.*train_on_tokens"):
        trained.embedding_table(Words("<pad>", "BAKER"))
