"""Words and their vectors: nearest words, the word2vec text format, the start of a model's embedding table.

`limelight.modules.word2vec` trains them; files in the same format come from many other programs.
"""

from __future__ import annotations

import codecs
import difflib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from limelight.checked import checked, checked_class
from limelight.errors import ArgumentTypeError, InputError, ShapeError, TextError, check_whole
from limelight.files import written_aside
from limelight.text.decoding import KINDS_OF_FILE
from limelight.text.lookalikes import folded
from limelight.text.readers import opened


class TokenNames(Protocol):
    """What is needed of a tokenizer here: how many tokens it has, and the text of each."""

    def __len__(self) -> int: ...
    def token(self, id: int) -> str: ...


class Neighbour(NamedTuple):
    """A word and the cosine of the angle between its vector and the one asked about, in [−1, 1]."""

    word: str
    cosine: float


class TableStart(NamedTuple):
    """An embedding table to start from, (V, E), and how many of its V rows came from word vectors."""

    table: Tensor
    found: int


@checked_class
@dataclass(frozen=True, eq=False)
class WordVectors:
    """Words and their vectors, (V, E) in float32; `vectors[i]` belongs to `words[i]`."""

    words: tuple[str, ...]
    vectors: Tensor

    def __post_init__(self) -> None:
        if self.vectors.dtype != torch.float32:
            raise ArgumentTypeError(
                f"WordVectors must be float32; got {self.vectors.dtype}. Convert with .float()."
            )
        if self.vectors.dim() != 2 or len(self.words) != len(self.vectors):
            raise ShapeError(
                f"WordVectors must have one row for each of its {len(self.words)} words; "
                f"got shape {tuple(self.vectors.shape)}."
            )
        if len(self._row) != len(self.words):
            twice = next(word for word, count in Counter(self.words).items() if count > 1)
            raise InputError(f"WordVectors must hold each word once; {twice!r} is there more often.")

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._row

    @checked
    def __getitem__(self, word: str) -> Tensor:
        """The vector of a word, (E,)."""
        if word not in self._row:
            raise InputError(f"No vector for the word {word!r}. {self._near_spellings(word)}")
        return self.vectors[self._row[word]]

    @checked
    def nearest(self, word: str, count: int = 10) -> list[Neighbour]:
        """The `count` words whose vectors point most nearly its way, nearest first; never the word itself."""
        check_whole("count", count)
        if count < 1:
            raise InputError(f"nearest needs a count of at least 1; got {count}.")
        self[word]  # there is one
        cosine_V = self._directions_VE @ self._directions_VE[self._row[word]]
        cosine_V[self._row[word]] = -torch.inf
        best = cosine_V.topk(min(count, len(self) - 1))
        return [
            Neighbour(self.words[row], min(1.0, max(-1.0, cosine)))
            for row, cosine in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    @checked
    def embedding_table(self, tokenizer: TokenNames, seed: int = 0) -> TableStart:
        """A start for a model's embedding table, one row for each token of `tokenizer`; (V, E).

        A token that has a vector gets it; other rows are drawn from a normal distribution of the same spread.
        `TokenEmbedding.start_from` takes the table over.
        """
        check_whole("seed", seed, -(2**63), 2**64 - 1)
        rows = [self._row.get(tokenizer.token(id)) for id in range(len(tokenizer))]
        known = [id for id, row in enumerate(rows) if row is not None]
        if not known:
            examples = ", ".join(repr(tokenizer.token(id)) for id in range(len(tokenizer))[-3:])
            raise InputError(
                f"The vectors must share tokens with the tokenizer; none of its {len(tokenizer)} tokens "
                f"(such as {examples}) has one. Train them on the tokens: Word2vec.train_on_tokens."
            )
        found = self.vectors[[row for row in rows if row is not None]]
        random = torch.Generator().manual_seed(seed)
        table_VE = torch.randn(len(tokenizer), self.vectors.shape[1], generator=random)
        table_VE *= found.square().mean().sqrt()
        table_VE[known] = found
        return TableStart(table_VE, len(known))

    @checked
    def save(self, path: str | Path) -> None:
        """Write the word2vec text format: "count width", then a line "word number number …" for each word.

        Reading it back gives the same bits. The file is written aside and renamed, so that
        neither a reader nor a crash meets half of one.
        """
        bad = next((word for word in self.words if not _one_field(word)), None)
        if bad is not None:
            raise InputError(
                f"The word2vec text format has no way to hold white space in a word; got {bad!r}. "
                "Replace it by a sign that the text does not use."
            )
        path = Path(path)
        form = " ".join(["%.9g"] * self.vectors.shape[1])  # nine digits say which float32 it is
        try:
            with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="\n") as file:
                file.write(f"{len(self)} {self.vectors.shape[1]}\n")
                for word, row in zip(self.words, self.vectors, strict=True):
                    file.write(f"{word} {form % tuple(row.tolist())}\n")
        except UnicodeEncodeError as error:
            raise InputError(
                f"Words must be Unicode text; {error.object[:40]!r} holds half a surrogate."
            ) from error
        except OSError as error:
            raise TextError(f"{path}: cannot be written ({error.strerror}).") from error

    @classmethod
    @checked
    def load(cls, path: str | Path) -> WordVectors:
        """Read the word2vec text format; a `TextError` names the first line that does not fit."""
        path = Path(path)
        with opened(path) as file:
            return cls(*_parse(path, file))

    @cached_property
    def _row(self) -> dict[str, int]:
        return {word: row for row, word in enumerate(self.words)}

    @cached_property
    def _directions_VE(self) -> Tensor:
        # Each by its largest number first: squares of float32 have neither room for 1e20 nor for 1e-20.
        largest_V1 = self.vectors.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        return normalize(self.vectors / largest_V1, dim=1)

    def _near_spellings(self, word: str) -> str:
        near = [other for other in (word.lower(), word.capitalize()) if other in self]
        near = near or [other for other in self.words if folded(other) == folded(word)]
        near = near or difflib.get_close_matches(word, self.words, n=3, cutoff=0.7)
        if near:
            return f"Near spellings: {', '.join(near)}."
        return "The text that the vectors were trained on did not have it, or too rarely."


# ------------------------------------------------------------------------------------------- read


def _parse(path: Path, lines: Iterable[bytes]) -> tuple[tuple[str, ...], Tensor]:
    """The words and the vectors of a file in word2vec text format."""
    numbered = enumerate(lines, start=1)
    _, header = next(numbered, (1, b""))
    header = header.removeprefix(codecs.BOM_UTF8)
    for start, kind, way in KINDS_OF_FILE:
        if header.startswith(start):
            raise TextError(
                f"{path} must be plain UTF-8; it is {kind}. Convert it with: {way.format(file=path.name)}"
            )
    if not re.fullmatch(rb"\d+ [1-9]\d*\s*", header):
        raise TextError(
            f"{path}, line 1: must hold two whole numbers, how many words and how wide their vectors; "
            f"got {header[:60].decode(errors='replace').strip()!r}. "
            "Files without this line (GloVe) need it added."
        )
    count, width = map(int, header.split())
    words: dict[str, None] = {}
    rows: list[np.ndarray] = []
    for number, line in numbered:
        if number > count + 1:
            if not line.strip():
                continue
            raise TextError(f"{path}, line {number}: one word too many; line 1 announces {count}.")
        word, numbers = _parse_line(f"{path}, line {number}", line, width)
        if word in words:
            raise TextError(
                f"{path}, line {number}: the word {word!r} is there for the second time. Leave one out."
            )
        words[word] = None
        rows.append(numbers)
    if len(rows) != count:
        raise TextError(
            f"{path}, line {len(rows) + 1}: ends after {len(rows)} words; line 1 announces {count}."
        )
    vectors_VE = np.stack(rows) if rows else np.empty((0, width), dtype=np.float32)
    return tuple(words), torch.from_numpy(vectors_VE)


def _one_field(word: str) -> bool:
    """Whether a word can be read again from a line of fields with white space between; that of ASCII alone parts."""
    data = word.encode("utf-8", "surrogatepass")
    return data.split() == [data]


def _mend(line: bytes) -> str:
    """What to do about a line that holds no word and its numbers."""
    try:
        if "\0" not in line.decode("utf-8"):
            return "White space parts them: in a word another sign must stand for it."
    except UnicodeDecodeError:
        pass
    return (
        "If the file is in word2vec's binary format, make it text: gensim.models.KeyedVectors.load_word2vec_format("
        "FILE, binary=True).save_word2vec_format(NEW)"
    )


def _parse_line(place: str, line: bytes, width: int) -> tuple[str, np.ndarray]:
    """One word and its `width` numbers."""
    word, *fields = line.split() or [b""]
    if len(fields) != width:
        raise TextError(
            f"{place}: must hold a word and {width} numbers; got {len(fields)} after {word[:40]!r}. {_mend(line)}"
        )
    try:
        if odd := [field for field in fields if b"_" in field] if b"_" in line else []:
            raise ValueError(f"could not convert string to float: {odd[0]!r}")  # Python would take 1_0 for 10
        with np.errstate(over="ignore"):  # becomes inf, refused below
            numbers = np.array(fields, dtype=np.float64).astype(np.float32)
    except ValueError as error:
        raise TextError(f"{place}: {error}.") from error
    if not np.isfinite(numbers).all():
        raise TextError(
            f"{place}: must hold finite numbers; got inf or nan. Leave out the word {word[:40]!r}."
        )
    try:
        return word.decode("utf-8"), numbers
    except UnicodeDecodeError as error:
        raise TextError(f"{place}: the word {word!r} is not UTF-8; convert the file first.") from error
