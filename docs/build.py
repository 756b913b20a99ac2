"""Run the code of the pages, and keep what they print and draw up to date.

    python docs/build.py                 every page: README.md and docs/*.md
    python docs/build.py process         one page
    python docs/build.py process --check compare only, write nothing

The ```python blocks of a page are one program, from top to bottom. It runs in a copy of the project made of
links, in the folder where the page lies, so that paths in the code are those that a reader would type there. What a
block prints is kept in the ```text block right below it, where the page has one (write an empty one to begin with);
pictures that the page shows are copied back. A block below the comment `<!-- not run: the reason -->` is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

FENCE = re.compile(
    r"^(?P<skip><!-- not run: (?P<reason>.+?) -->\n+)?"
    r"```python\n(?P<code>.*?)^```\n"
    r"(?:\n*```text\n(?P<output>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)
PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<path>[^)\s]+\.(?:png|svg))\)")
NUMBER = re.compile(r"[-−]?\d+\.\d+(?:e[-+]?\d+)?")


class PageError(Exception):
    """A page whose code fails, whose output is another, or whose picture is not there."""


@dataclass(frozen=True)
class Block:
    """One piece of code: where it begins (line of the page), what the page says that it prints, and what it printed.

    `expected` is None where the page shows no output.
    """

    line: int
    code: str
    expected: str | None
    printed: str


@dataclass(frozen=True)
class Run:
    """A page that ran: its blocks, its text with fresh outputs, the pictures that its code made."""

    page: str
    blocks: tuple[Block, ...]
    text: str
    made: tuple[str, ...]
    seconds: float

    def differences(self) -> list[str]:
        """Where a block printed something else than the page says."""
        return [
            f"{self.page}, line {block.line}: the page says\n{block.expected}but the code prints\n{block.printed}"
            for block in self.blocks
            if block.expected is not None and not same_output(block.expected, block.printed)
        ]


def pages(root: Path = ROOT) -> list[str]:
    """Every page that holds code, as a path from the root."""
    found = [*sorted(root.glob("*.md")), *sorted((root / "docs").glob("*.md"))]
    return [
        path.relative_to(root).as_posix() for path in found if FENCE.search(path.read_text(encoding="utf-8"))
    ]


def run_page(page: str, workshop: Path, root: Path = ROOT) -> Run:
    """Run a page's blocks in one namespace inside `workshop`, a folder that `links` has filled."""
    text = (root / page).read_text(encoding="utf-8")
    folder = (workshop / page).parent
    before = _pictures(folder)
    namespace: dict[str, object] = {"__name__": "__page__"}
    blocks: list[Block] = []
    fresh, done = "", 0
    begun = time.process_time()
    with contextlib.chdir(folder):
        for match in FENCE.finditer(text):
            if match["skip"]:
                continue
            line = text.count("\n", 0, match.start("code")) + 1
            printed = _execute(match["code"], namespace, page, line)
            blocks.append(Block(line, match["code"], match["output"], printed))
            if match["output"] is not None:
                fresh += text[done : match.start("output")] + printed
                done = match.end("output")
    made = {name for name, stamp in _pictures(folder).items() if before.get(name) != stamp}
    return Run(page, tuple(blocks), fresh + text[done:], tuple(sorted(made)), time.process_time() - begun)


def missing_pictures(run: Run, root: Path = ROOT) -> list[str]:
    """Pictures that the page shows without alternative text, or that neither its code makes nor the project holds."""
    folder = (root / run.page).parent
    wrong = []
    for match in PICTURE.finditer(run.text):
        name = match["path"]
        if "://" in name:
            continue
        if not match["alt"].strip():
            wrong.append(f"{run.page}: the picture {name} has no alternative text")
        if name not in run.made and not (folder / name).is_file():
            wrong.append(f"{run.page}: the picture {name} is made by no code and does not exist")
    return wrong


@contextlib.contextmanager
def workshop(root: Path = ROOT) -> Iterator[Path]:
    """A folder that looks like the project: links to all of it, but a docs/ of its own that may be written to."""
    with tempfile.TemporaryDirectory() as name:
        links(Path(name), root)
        yield Path(name)


def links(folder: Path, root: Path = ROOT) -> None:
    for entry in root.iterdir():
        if entry.name != "docs" and not entry.name.startswith("."):
            (folder / entry.name).symlink_to(entry)
    (folder / "docs" / "pictures").mkdir(parents=True)


def same_output(expected: str, printed: str) -> bool:
    """Whether two outputs say the same: words alike, and decimal numbers up to one unit of the last digit.

    Another processor adds in another order, which may turn the last digit.

    >>> same_output("loss 4.81\\n", "loss 4.82\\n"), same_output("8 rows, 0.51\\n", "9 rows, 0.51\\n")
    (True, False)
    """
    if NUMBER.sub("#", expected).split() != NUMBER.sub("#", printed).split():
        return False
    return all(
        _decimals(one) == _decimals(other) and abs(_value(one) - _value(other)) <= 1.5 * 10 ** -_decimals(one)
        for one, other in zip(NUMBER.findall(expected), NUMBER.findall(printed), strict=True)
    )


def _value(number: str) -> float:
    return float(number.replace("−", "-"))


def _decimals(number: str) -> int:
    mantissa, _, exponent = number.partition("e")
    return len(mantissa.partition(".")[2]) - int(exponent or 0)


def _execute(code: str, namespace: dict[str, object], page: str, line: int) -> str:
    """Run code with the page's own line numbers in its errors; gives what it printed."""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(compile("\n" * (line - 1) + code, page, "exec"), namespace)
    except Exception as error:
        where = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == page
        ]
        raise PageError(
            f"{page}, line {where[-1] if where else line}: {type(error).__name__}: {error}"
        ) from error
    return "".join(f"{row.rstrip()}\n" for row in out.getvalue().splitlines())


def _pictures(folder: Path) -> dict[str, int]:
    """The pictures that a page's code may have made, links left out, and when they were written."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for ending in ("*.png", "*.svg")
        for path in [
            *folder.glob(ending),
            *folder.glob(f"pictures/{ending}"),
            *folder.glob(f"docs/pictures/{ending}"),
        ]
        if not path.is_symlink()
    }


def build(page: str, write: bool = True, root: Path = ROOT) -> Run:
    """Run a page; with `write`, bring its outputs and pictures up to date, else raise PageError where they differ."""
    with workshop(root) as folder:
        run = run_page(page, folder, root)
        if not write and run.differences():
            raise PageError("\n".join(run.differences()))
        if write:
            shown = {match["path"] for match in PICTURE.finditer(run.text)}
            for name in shown & set(run.made):
                bring((folder / page).parent / name, (root / page).parent / name)
            # Outputs that differ by a last digit only stay as they are: the page should not change with the machine.
            if run.differences():
                (root / page).write_text(run.text, encoding="utf-8", newline="\n")
    if wrong := missing_pictures(run, root):
        raise PageError("\n".join(wrong))
    return run


def bring(made: Path, kept: Path) -> None:
    """Copy a picture into the project; a PNG with 256 colours, which halves it and which nobody sees."""
    if made.suffix != ".png":
        shutil.copyfile(made, kept)
        return
    from PIL import Image, PngImagePlugin  # comes with matplotlib

    with Image.open(made) as picture:
        told = PngImagePlugin.PngInfo()
        told.add_text("Description", str(picture.info.get("Description", "")))
        few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(kept, optimize=True, pnginfo=told, dpi=picture.info.get("dpi", (200, 200)))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python docs/build.py", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "page", nargs="*", help="such as process, docs/process.md or README; all of them if left out"
    )
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    options = parser.parse_args()
    sys.path.insert(0, os.fspath(ROOT))
    # Before torch is imported: one thread adds in one order, whatever the machine has.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    known = pages()
    wanted = {Path(name).stem for name in options.page}
    chosen = [page for page in known if not wanted or Path(page).stem in wanted]
    if not chosen:
        sys.exit(f"No such page with code: {' '.join(options.page)}. There are {', '.join(known)}.")
    for page in chosen:
        try:
            run = build(page, write=not options.check)
        except PageError as error:
            sys.exit(str(error))
        print(f"{page}: {len(run.blocks)} blocks, {len(run.made)} pictures, {run.seconds:.1f} CPU-seconds")


if __name__ == "__main__":
    main()
