"""Public packages → a corpus's folder: fetching, unpacking, dealing out to the parts, writing.

A corpus is a folder with `train.tsv`, `valid.tsv` and `test.tsv` (source<TAB>target, UTF-8, no header) and a
`NOTICE` with the licence. The parts are chosen by a hash of the word, page or chapter, never by chance, so that
everybody who builds a corpus gets the same split, and what belongs together never stands in two parts.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from limelight.errors import TextError
from limelight.files import write_text

Pair = tuple[str, str]


@dataclass(frozen=True)
class Corpus:
    """A folder on disk and the number of pairs in each of its files (`counts["train"]` …)."""

    folder: Path
    counts: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.folder}: " + ", ".join(f"{name} {count:,}" for name, count in self.counts.items())


# ── Splitting and writing ──────────────────────────────────────────────────────────────────────────────────


def part_of(key: str, valid: float, test: float) -> str:
    """The part that a word or page belongs to: its sha1 as a number in [0, 1), cut at `test`, `test + valid`.

    >>> {part_of(str(n), valid=0.5, test=0.5) for n in range(9)} == {"valid", "test"}
    True
    """
    place = int.from_bytes(hashlib.sha1(key.encode("utf-8")).digest()[:8], "big") / 2**64
    return "test" if place < test else "valid" if place < test + valid else "train"


def write_pairs(path: Path, pairs: Iterable[Pair]) -> int:
    """Write source<TAB>target lines; white space inside a text becomes single spaces. Returns the count."""
    lines = ["\t".join(" ".join(text.split()) for text in pair) + "\n" for pair in pairs]
    write_text(path, "".join(lines))
    return len(lines)


def write_parts(folder: Path, parts: dict[str, list[Pair]]) -> dict[str, int]:
    """Write PART.tsv for every part, and give the number of pairs in each."""
    folder.mkdir(parents=True, exist_ok=True)
    return {name: write_pairs(folder / f"{name}.tsv", pairs) for name, pairs in parts.items()}


def write_notice(folder: Path, origin: str, licence: str) -> None:
    """Write where a corpus comes from and under which terms."""
    write_text(folder / "NOTICE", f"{origin}.\n\n{licence.strip()}\n")


# ── Fetching ───────────────────────────────────────────────────────────────────────────────────────────────


def run(command: list[str], cwd: Path, purpose: str) -> None:
    """Run a tool of the system; what goes wrong becomes one clear error."""
    try:
        subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise TextError(
            f"{purpose} needs the program {command[0]!r}, which is not on this machine."
        ) from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout or "no message").strip().splitlines()[-1]
        raise TextError(f"{purpose} failed: `{' '.join(command)}` said: {last}") from error


def fetch_wheel(package: str, folder: Path) -> Path:
    """The wheel of a PyPI package, fetched into `folder`."""
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", package]
    run(pip, folder, f"Downloading {package} (or give its wheel as a file)")
    return next(folder.glob("*.whl"))


def find_deb(package: str, debs: Path, download: bool) -> Path:
    """The newest `package_*.deb` in the folder `debs`, fetched into it first with `download`."""
    if download:
        run(["apt-get", "download", package], debs, f"Downloading {package} (or give a folder of .deb files)")
    found = sorted(debs.glob(f"{package}_*.deb"), key=_version)
    if not found:
        raise TextError(
            f"The folder {debs} must hold {package}_*.deb and does not. "
            f"Put it there with: apt-get download {package}"
        )
    return found[-1]


def find_npm(package: str, archives: Path, download: bool) -> Path:
    """The newest archive of an npm package in the folder `archives`, fetched into it first with `download`."""
    name = package.lstrip("@").replace("/", "-")
    if download:
        run(
            ["npm", "pack", "--silent", package],
            archives,
            f"Downloading {package} (or give a folder of .tgz files)",
        )
    found = sorted(archives.glob(f"{name}-*.tgz"), key=_version)
    if not found:
        raise TextError(
            f"The folder {archives} must hold {name}-*.tgz and does not. Put it there with: npm pack {package}"
        )
    return found[-1]


def _version(archive: Path) -> list[tuple[int, str]]:
    """What versions are sorted by: their numbers count as numbers.

    >>> sorted(["a-7.10.tgz", "a-7.9.tgz"], key=lambda name: _version(Path(name)))
    ['a-7.9.tgz', 'a-7.10.tgz']
    """
    pieces = re.split(r"(\d+)", archive.name)
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def read_npm(archive: Path, folder: str, ending: str) -> dict[str, str]:
    """The texts of a package's files below `folder` that end so, by their paths, sorted."""
    found: dict[str, str] = {}
    try:
        with tarfile.open(archive) as members:
            for member in members:
                path = member.name.removeprefix("package/")
                file = members.extractfile(member)
                if file is not None and path.startswith(f"{folder}/") and path.endswith(ending):
                    found[path] = decoded(file.read())
    except (OSError, tarfile.TarError) as error:
        raise TextError(f"{archive} must be an archive that npm has packed; it is not: {error}.") from error
    return dict(sorted(found.items()))


def decoded(data: bytes) -> str:
    """Bytes of an unknown encoding as text: UTF-8, else Latin-1."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
