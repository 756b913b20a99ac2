"""The byte-level alphabet: a letter for every byte, and the way back to characters."""

from __future__ import annotations

from hypothesis import example, given, strategies as st
from tokenizers import pre_tokenizers

from limelight.text.bytelevel import _BYTE_OF, SPACE, bytes_of, characters_of


def test_the_alphabet_is_the_one_of_the_library() -> None:
    assert set(_BYTE_OF) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(_BYTE_OF.values()) == list(range(256))
    assert bytes_of(SPACE) == b" "


@given(st.binary() | st.lists(st.sampled_from([b"a", b"\xf0\x9f", b"\xc3", "é😀".encode()])).map(b"".join))
@example(b"")
@example(b"\xc3\xc3!")
def test_characters_of_any_bytes(data: bytes) -> None:
    text, owners = characters_of(data)
    assert text == data.decode("utf-8", "replace")
    assert len(owners) == len(data)
    assert sorted(set(owners)) == list(range(len(text)))
    assert owners == sorted(owners)
    for number, character in enumerate(text):
        covered = bytes(byte for byte, owner in zip(data, owners, strict=True) if owner == number)
        assert covered.decode("utf-8", "replace") == character
