"""Write the held-out files anew: `python -m benchmarks.heldout [CORPORA]`.

CORPORA is a folder with the built corpora (`pronounce/`, `translate-en-de/`); one that is missing there, or
all of them without CORPORA, is downloaded and built first.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from limelight.text.corpora.registry import CORPORA

HERE = Path(__file__).parent


def write_heldout(corpora: Path, destination: Path = HERE) -> list[Path]:
    """Copy the test parts of all corpora, and their notices as one file; returns the files written."""
    written, notices = [], []
    for name, build in CORPORA.items():
        folder = corpora / name
        if not (folder / "test.tsv").is_file():
            build(folder, None)
        for part in sorted(folder.glob("test*.tsv")):
            written.append(Path(shutil.copyfile(part, destination / f"{name}.{part.name}")))
        notices.append(f"── {name}.*.tsv ──\n\n{(folder / 'NOTICE').read_text(encoding='utf-8')}")
    notice = destination / "NOTICE"
    notice.write_text("\n".join(notices), encoding="utf-8", newline="\n")
    return [*written, notice]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.heldout", description=__doc__.splitlines()[0])
    parser.add_argument("corpora", type=Path, nargs="?", help="the folder with the built corpora")
    corpora = parser.parse_args().corpora
    with tempfile.TemporaryDirectory() as scratch:
        for path in write_heldout(corpora or Path(scratch)):
            print(path)


if __name__ == "__main__":
    main()
