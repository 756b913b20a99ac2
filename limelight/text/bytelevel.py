"""GPT-2's byte-level alphabet: every byte has a letter, so that pieces of bytes can be stored as text."""

from __future__ import annotations


def _letters() -> dict[str, int]:
    """Letter → byte: printable bytes stand for themselves, the others for the letters from Ā on."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _letters()

SPACE = next(letter for letter, byte in _BYTE_OF.items() if byte == ord(" "))
"""The letter that a space is stored as: `Ġ`."""


def bytes_of(piece: str) -> bytes:
    """A stored piece → the bytes it stands for.

    >>> bytes_of("ĠlÃ¤sst").decode()
    ' lässt'
    """
    return bytes(_BYTE_OF[letter] for letter in piece)


def characters_of(data: bytes) -> tuple[str, list[int]]:
    """Bytes → text, and for each byte the number of its character; what is no UTF-8 becomes `�`.

    The text is `data.decode("utf-8", "replace")`.

    >>> characters_of("é".encode() + b"\\xf0\\x9fa")
    ('é�a', [0, 0, 1, 1, 2])
    """
    text = ""
    owners: list[int] = []
    while len(owners) < len(data):
        rest = data[len(owners) :]
        try:
            good, broken = rest.decode("utf-8"), 0
        except UnicodeDecodeError as error:
            good, broken = rest[: error.start].decode("utf-8"), error.end - error.start
        for character in good:
            owners += [len(text)] * len(character.encode("utf-8"))
            text += character
        if broken:
            owners += [len(text)] * broken
            text += "�"
    return text, owners
