"""Locate a row in a data folder: the file of its part, and its line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limelight.errors import TextError
from limelight.text.readers import read_text, read_texts

FEW = 5
"""Names that are told of many."""


@dataclass(frozen=True)
class DataPart:
    """A part of a data folder, such as `train`: its file, or a folder of text files."""

    path: Path

    def place(self, row: int) -> str:
        """The file and the line of a row, counted from 0: "data/train.tsv, line 9"."""
        if self.path.is_dir():
            return [*read_texts(self.path)][row]
        lines = read_text(self.path).split("\n")
        if self.path.suffix == ".txt":
            return str(self.path)
        numbers = [number for number, line in enumerate(lines, 1) if line.strip()]
        return f"{self.path}, line {numbers[row]}"


def find_part(folder: Path, part: str, endings: Sequence[str]) -> DataPart:
    """The one file `part` with one of these endings in a data folder; the ending "" is that of a folder.

    Raises TextError where there is none, and where there are two: which is meant, nobody can know.
    """
    paths = [folder / f"{part}{ending}" for ending in endings]
    there = [path for path in paths if (path.is_dir() if path.name == part else path.is_file())]
    for path in paths:
        if path.is_symlink() and not path.exists():
            raise TextError(
                f"{path} is a link to {path.readlink()}, where there is nothing. Mend or remove it."
            )
    if len(there) > 1:
        raise TextError(
            f"A data folder must hold one data set; {folder} holds both {' and '.join(path.name for path in there)}. "
            "Move away the one that is not meant."
        )
    if not there:
        wanted = " or ".join("train" + ending + ("" if ending else "/") for ending in endings)
        raise TextError(
            f"The data folder must hold {wanted}, and valid in the same way (test at will); {paths[-1]} is missing. "
            "`limelight data` makes the default ones."
        )
    return DataPart(there[0])


def few(names: Sequence[str]) -> str:
    """The first names of many.

    >>> few("abcdefg")
    'a, b, c, d, e, … (7 in all)'
    """
    return ", ".join(names[:FEW]) + (f", … ({len(names)} in all)" if len(names) > FEW else "")
