"""Text → tokens: one class over Hugging Face `tokenizers`, trained on the user's own text.

Three kinds, all in one file `tokenizer.json`:

- `bpe`: byte-pair encoding over bytes (Sennrich et al. 2016; the paper, section 5.1, uses it with 37,000
  pieces). A text is read as if a space stood in front of it, so that a word is the same piece at the start
  and in the middle. Every text can be written in it, so nothing is ever unknown.
- `characters`: one token a character (code point); characters never seen in training are UNKNOWN.
- `words`: one token between white space (for phones, labels, pre-cut text); unseen words are UNKNOWN.

The first four ids are the same in every tokenizer: PAD, UNKNOWN, START, END. No text can be encoded to PAD,
START or END, whatever it holds: their names are no tokens that a kind could cut.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import tokenizers as hf
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from limelight.checked import checked
from limelight.errors import ArgumentTypeError, InputError, TextError, one_of
from limelight.text.bytelevel import SPACE, bytes_of, characters_of
from limelight.text.segmentation import Span

PAD, UNKNOWN, START, END = range(4)
SPECIALS = ("<pad>", "<unknown>", "<start>", "<end>")
"""What `token` shows for the ids 0 to 3."""

# Inside the file the four have a space in their names: byte-level pieces write a space as Ġ, words have none,
# and a character is shorter. So no text collides with them.
_STORED = tuple(f"[limelight {name.strip('<>')}]" for name in SPECIALS)

Kind = Literal["bpe", "characters", "words"]

HALF_A_PAIR = (
    "A text must be valid Unicode; one holds a lone surrogate (half of a UTF-16 pair). "
    "Clean it with: text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
)


@dataclass(frozen=True)
class Encoded:
    """The tokens of one text: `ids`, and for each the characters `text[start:end]` that it covers.

    A piece's leading space is not part of its span. A character that is spread over several tokens (an emoji
    is four bytes) stands in the span of each of them. Only the `bpe` token of the space that was put before
    the text, when it stays a token of its own, covers nothing: (0, 0).
    """

    ids: list[int]
    spans: list[Span]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Tokenizer:
    """Cuts text into tokens and puts it together again. Make one with `train` or `load`.

    >>> tokenizer = Tokenizer.train(["the light", "the limelight"], kind="words")
    >>> encoded = tokenizer.encode("the  limelight")
    >>> encoded.spans, tokenizer.decode(encoded.ids), len(tokenizer)
    ([(0, 3), (5, 14)], 'the limelight', 7)
    """

    kind: Kind
    _inner: hf.Tokenizer

    # ── Making one ──

    @classmethod
    @checked
    def train(cls, texts: Iterable[str], kind: Kind = "bpe", size: int = 6000) -> Tokenizer:
        """Learn a vocabulary of at most `size` tokens (the four special ones counted) from the texts.

        The same texts in the same order give the same tokenizer. Raises InputError for a kind that does not
        exist, a size too small for it, or texts in which there is nothing to learn from.
        """
        if kind not in get_args(Kind):
            raise InputError(one_of("kind", get_args(Kind), kind))
        if isinstance(texts, str):
            raise ArgumentTypeError("texts must be several texts; got one str. Wrap it in a list: [text].")
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet()) if kind == "bpe" else []
        least = len(_STORED) + max(len(alphabet), 1)
        if size < least:
            raise InputError(f"size must be at least {least} for kind {kind!r}; got {size}.")
        inner, trainer = _blank(kind, size, alphabet)
        try:
            inner.train_from_iterator(_texts(texts), trainer)
        except UnicodeEncodeError as error:
            raise TextError(HALF_A_PAIR) from error
        if len(alphabet) + len(_STORED) >= inner.get_vocab_size() and kind != "bpe":
            raise InputError("The texts must hold at least one token to learn from; they are empty.")
        return cls(kind, _without_added_tokens(inner))

    @classmethod
    @checked
    def load(cls, path: str | Path) -> Tokenizer:
        """Read a `tokenizer.json` that `save` wrote (or the folder that holds it)."""
        path = Path(path)
        path = path / "tokenizer.json" if path.is_dir() else path
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
            kind = _kind_of(settings)
            inner = hf.Tokenizer.from_str(json.dumps(settings))
        except Exception as error:  # the library raises plain Exception for whatever it cannot read
            raise TextError(
                f"{path} must be a tokenizer.json of Limelight and cannot be read as one: {error}. "
                f"Make one with Tokenizer.train(texts).save(path)."
            ) from error
        return cls(kind, inner)

    @checked
    def save(self, path: str | Path) -> Path:
        """Write one JSON file; a folder gets a `tokenizer.json` inside. Returns the file's path."""
        path = Path(path)
        path = path / "tokenizer.json" if path.is_dir() else path
        path.write_text(self._inner.to_str(pretty=True), encoding="utf-8", newline="\n")
        return path

    def cuts_like(self, other: Tokenizer) -> bool:
        """Whether both give the same tokens for every text."""
        return self.kind == other.kind and self._inner.to_str() == other._inner.to_str()

    # ── Using it ──

    @checked
    def encode(self, text: str) -> Encoded:
        """Text → ids and character spans. START and END are not added."""
        return self.encode_batch([text])[0]

    @checked
    def encode_batch(self, texts: Sequence[str]) -> list[Encoded]:
        """The same for many texts at once, on all cores."""
        if isinstance(texts, str):
            raise ArgumentTypeError("texts must be several texts; got one str. Use encode(text), or [text].")
        texts = list(_texts(texts))
        try:
            encodings = self._inner.encode_batch(texts, add_special_tokens=False)
        except TypeError as error:  # every text is a str, so only a lone surrogate is left
            raise TextError(HALF_A_PAIR) from error
        return [
            Encoded(encoding.ids, self._spans(text, encoding))
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    @checked
    def decode(self, ids: Iterable[int]) -> str:
        """Ids → text, the special ones skipped; an UNKNOWN character or word becomes `�`.

        `decode(encode(text).ids) == text` for every text with `bpe`, for every text of known characters with
        `characters`; `words` puts single spaces between the words.
        """
        try:
            whole = [int(i) for i in ids]
        except (TypeError, ValueError, OverflowError) as error:
            raise ArgumentTypeError(f"ids must be several whole numbers; got {reprlib.repr(ids)}.") from error
        kept = [i for i in whole if i == UNKNOWN or not 0 <= i < len(SPECIALS)]
        if self.kind == "bpe":
            return self._inner.decode([self._check(i) for i in kept if i != UNKNOWN]).removeprefix(" ")
        pieces = ["�" if i == UNKNOWN else self._stored(i) for i in kept]
        return ("" if self.kind == "characters" else " ").join(pieces)

    @checked
    def decode_spans(self, ids: Sequence[int]) -> tuple[str, list[Span]]:
        """Ids → (text, character span of each id), for ids that a model wrote.

        A model may cut a text otherwise than `encode` does, so its spans must come from its own ids. The text
        is `decode(ids)`; the spans follow the rules of `Encoded`; a special id has the empty span (0, 0).
        """
        text = self.decode(ids)
        if self.kind == "bpe":
            return text, self._bpe_spans(text, ids)
        spans, place = [], 0
        for i in ids:
            if i < len(SPECIALS) and i != UNKNOWN:
                spans.append((0, 0))
                continue
            end = place + len("�" if i == UNKNOWN else self._stored(i))
            spans.append((place, end))
            place = end + (self.kind == "words")
        return text, spans

    @checked
    def token(self, id: int) -> str:
        r"""One token in readable form: `<start>`, `▁light` (▁ is a leading space), `\n`, `\xf0` (part of a
        character).
        """
        if 0 <= id < len(SPECIALS):
            return SPECIALS[id]
        if self.kind != "bpe":
            return self._stored(id)
        text = bytes_of(self._stored(id)).decode("utf-8", errors="backslashreplace")
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
        return text.replace(" ", "▁")

    def __len__(self) -> int:
        """The number of ids: valid ids are 0 … len − 1."""
        return self._inner.get_vocab_size()

    # ── Corridors ──

    def _check(self, id: int) -> int:
        self._stored(id)
        return id

    def _stored(self, id: int) -> str:
        token = self._inner.id_to_token(id) if 0 <= id < len(self) else None
        if token is None:
            raise InputError(f"An id must be at least 0 and below {len(self)}; got {id}.")
        return token

    def _bpe_spans(self, text: str, ids: Sequence[int]) -> list[Span]:
        pieces = [b"" if i < len(SPECIALS) else bytes_of(self._stored(i)) for i in ids]
        whole, owners = characters_of(b"".join(pieces))
        lead = len(whole) - len(text)  # the space that stands before every text
        spans, place = [], 0
        for piece in pieces:
            if not piece:
                spans.append((0, 0))
                continue
            start, end = owners[place], owners[place + len(piece) - 1] + 1
            if whole[start] == " " and not whole[start:end].isspace():
                start += 1
            spans.append((max(start - lead, 0), max(end - lead, 0)))
            place += len(piece)
        return spans

    def _spans(self, text: str, encoding: Any) -> list[Span]:
        spans: list[Span] = encoding.offsets
        if self.kind != "bpe" or not spans:
            return spans
        trimmed = [
            (start + 1, end) if text[start] == " " and not text[start:end].isspace() else (start, end)
            for start, end in spans
        ]
        if encoding.tokens[0] == SPACE:  # the space before the text, not merged with anything
            trimmed[0] = (0, 0)
        return trimmed


def _texts(texts: Iterable[str]) -> Iterator[str]:
    """Each, once it is known to be one. Raises ArgumentTypeError."""
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise ArgumentTypeError(f"A text must be a str; text {place} is {type(text).__name__}.")
        yield text


def _blank(kind: Kind, size: int, alphabet: list[str]) -> tuple[hf.Tokenizer, Any]:
    """An untrained tokenizer of the kind and the trainer that fits it."""
    common: dict[str, Any] = {"vocab_size": size, "special_tokens": list(_STORED), "show_progress": False}
    if kind == "bpe":
        inner = hf.Tokenizer(models.BPE())
        inner.normalizer = normalizers.Prepend(" ")
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        return inner, trainers.BpeTrainer(initial_alphabet=alphabet, min_frequency=2, **common)
    inner = hf.Tokenizer(models.WordLevel(unk_token=_STORED[UNKNOWN]))
    if kind == "characters":
        inner.pre_tokenizer = pre_tokenizers.Split(hf.Regex(r"[\s\S]"), behavior="isolated")
    else:
        inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return inner, trainers.WordLevelTrainer(**common)


def _without_added_tokens(inner: hf.Tokenizer) -> hf.Tokenizer:
    """The same tokenizer with the special names in its vocabulary only: they are not looked for in a text."""
    settings = json.loads(inner.to_str())
    settings["added_tokens"] = []
    return hf.Tokenizer.from_str(json.dumps(settings))


def _kind_of(settings: dict[str, Any]) -> Kind:
    """Read the kind off the parts of a `tokenizer.json`; a file that is not ours raises an InputError."""
    vocabulary = settings["model"]["vocab"]
    if [vocabulary.get(name) for name in _STORED] != list(range(len(_STORED))):
        raise InputError("its first four tokens are not Limelight's")
    kinds: dict[str, Kind] = {"ByteLevel": "bpe", "Split": "characters", "WhitespaceSplit": "words"}
    return kinds[settings["pre_tokenizer"]["type"]]
