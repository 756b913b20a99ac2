"""Characters of the tokens of slow tokenizers: bytes, characters, pieces; what does not spell the text is refused."""

from __future__ import annotations

from typing import Any

import pytest

from limelight.errors import InputError
from limelight.text.contexts import Context, encode

transformers = pytest.importorskip("transformers")
TEXT = "Größe 猫 a."


@pytest.mark.parametrize("name", ["ByT5Tokenizer", "PerceiverTokenizer"])
def test_every_byte_belongs_to_its_character(name: str) -> None:
    ids, spans = encode(getattr(transformers, name)(), TEXT)
    covered = [span for span in spans if span != (0, 0)]
    assert len(ids) == len(spans) and len(covered) == len(TEXT.encode())
    expected = [(place, place + 1) for place, sign in enumerate(TEXT) for _ in sign.encode()]
    assert covered == expected


@pytest.mark.slow
def test_every_character_is_a_token() -> None:
    _, spans = encode(transformers.CanineTokenizer(), TEXT)
    assert spans == [(0, 0), *((place, place + 1) for place in range(len(TEXT))), (0, 0)]


class Pieces:
    """A slow tokenizer of fixed pieces, with a start and an end token."""

    is_fast = False

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces

    def __call__(self, text: str, add_special_tokens: bool, verbose: bool) -> dict[str, list[int]]:
        own = list(range(10, 10 + len(self.pieces)))
        return {"input_ids": [1, *own, 2] if add_special_tokens else own}

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [self.pieces[number - 10] for number in ids]


@pytest.mark.parametrize(
    "pieces",
    [
        ("\u2581the", "\u2581cat", "s", "\u2581", "sleep"),
        ("the", "cat", "##s", "", "sleep"),
        ("the", "cat@@", "s</w>", "", "sleep"),
    ],
)
def test_pieces_are_found_along_the_text(pieces: tuple[str, ...]) -> None:
    text = "The cats  sleep"
    _, spans = encode(Pieces(*pieces), text)
    assert [text[start:end] for start, end in spans] == ["", "The", "cat", "s", "", "sleep", ""]


@pytest.mark.parametrize(
    ("pieces", "said"), [(("the", "<unk>"), "at character 5"), (("the",), "end before the text does")]
)
def test_what_does_not_spell_the_text_is_refused(pieces: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Context.of(Pieces(*pieces), "the cats")


def test_documents_of_bytes_have_their_words() -> None:
    found: Any = Context.of(transformers.ByT5Tokenizer(), {"a": "Größe", "b": "Cats sleep"}, "Who?")
    assert found.names == ("a", "b", "question")
    assert len(found.tokens_of("a")) == len("Größe".encode())
