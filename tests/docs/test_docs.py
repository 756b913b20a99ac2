"""Every page runs as it stands: its code, what it prints, the pictures that it shows."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

import limelight

ROOT = Path(limelight.__file__).parent.parent


def _load_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_build"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


build = _load_build()

STAGES = (
    *(
        "Word embedding",
        "Position encoding",
        "Queries, keys and values",
        "Matrix inputs",
        "Matrix multiplication",
    ),
    *("Scaling", "Masking", "Softmax", "Multi-head attention", "Concatenation", "Training", "Prediction"),
)

# ── The pages ──

SLOW = pytest.mark.slow
"""The README runs with every test; the other pages with `make check-docs`, some forty seconds of them."""


@pytest.mark.parametrize(
    "page", [page if page == "README.md" else pytest.param(page, marks=SLOW) for page in build.pages()]
)
def test_a_page_runs_prints_what_it_says_and_has_its_pictures(page: str) -> None:
    with build.workshop() as folder:
        run = build.run_page(page, folder)
    assert not run.differences(), "\n".join(run.differences())
    assert not build.missing_pictures(run)
    if page == "docs/process.md":
        assert not [block.line for block in run.blocks if block.printed and block.expected is None]
        assert len(run.made) >= len(STAGES)


def test_the_process_has_a_section_with_code_and_picture_for_every_stage() -> None:
    text = (ROOT / "docs" / "process.md").read_text(encoding="utf-8")
    sections = {part.partition("\n")[0].strip(): part for part in text.split("\n## ")[1:]}
    for stage in STAGES:
        (section,) = [part for name, part in sections.items() if name.endswith(f". {stage}")]
        assert "```python" in section, stage
        assert "assert" in section or stage == "Training", stage
        assert build.PICTURE.search(section), stage
        assert "\n> " in section, f"{stage} has no equation"
        assert "See it live: `limelight " in section, stage


def test_every_picture_is_shown_and_all_together_are_small() -> None:
    folder = ROOT / "docs" / "pictures"
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    shown = {
        (page.parent / match["path"]).resolve()
        for page in pages
        for match in build.PICTURE.finditer(page.read_text(encoding="utf-8"))
    }
    pictures = [path for path in folder.iterdir() if path.suffix in (".png", ".svg")]
    assert pictures
    assert not [path.name for path in pictures if path.resolve() not in shown]
    assert sum(path.stat().st_size for path in pictures) < 1_500_000


# ── The tool ──

GOOD = """# A page

```python
from pathlib import Path
n = 2
print("sum", n + 1, f"{n / 3:.2f}")
Path("pictures/dot.svg").write_text("<svg/>")
```

```text
sum 3 0.67
```

Later blocks know the names of earlier ones.

```python
assert n == 2
```

<!-- not run: it has no end -->

```python
while True: pass
```

![A dot](pictures/dot.svg)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "pictures").mkdir(parents=True)
    return tmp_path


def write(project: Path, text: str) -> None:
    (project / "docs" / "page.md").write_text(text, encoding="utf-8")


def test_a_good_page_runs_elsewhere_and_its_pictures_come_back(project: Path) -> None:
    write(project, GOOD)
    assert build.pages(project) == ["docs/page.md"]
    run = build.build("docs/page.md", root=project)
    assert [block.printed for block in run.blocks] == ["sum 3 0.67\n", ""]
    assert run.made == ("pictures/dot.svg",)
    assert (project / "docs" / "pictures" / "dot.svg").read_text() == "<svg/>"
    assert (project / "docs" / "page.md").read_text(encoding="utf-8") == GOOD


def test_a_png_keeps_its_size_and_description_and_loses_only_bytes(tmp_path: Path) -> None:
    from PIL import Image, PngImagePlugin

    made, kept = tmp_path / "made.png", tmp_path / "kept.png"
    told = PngImagePlugin.PngInfo()
    told.add_text("Description", "A ramp of 251 × 13")
    ramp = Image.merge("RGB", [Image.linear_gradient("L").resize((251, 13)) for _ in range(3)])
    ramp.convert("RGBA").save(made, pnginfo=told)
    build.bring(made, kept)
    with Image.open(kept) as small:
        assert small.size == (251, 13)
        assert small.info["Description"] == "A ramp of 251 × 13"
        pairs = zip(small.convert("L").tobytes(), ramp.convert("L").tobytes(), strict=True)
        assert max(abs(one - other) for one, other in pairs) <= 3


def test_checking_writes_nothing(project: Path) -> None:
    write(project, GOOD.replace("![A dot](pictures/dot.svg)", ""))
    build.build("docs/page.md", write=False, root=project)
    assert not list((project / "docs" / "pictures").iterdir())


def test_another_output_is_an_error_when_checked_and_else_written(project: Path) -> None:
    write(project, GOOD.replace("sum 3 0.67", "sum 4 0.67"))
    with pytest.raises(build.PageError, match=r"docs/page.md, line 4: the page says\nsum 4 0.67\n"):
        build.build("docs/page.md", write=False, root=project)
    build.build("docs/page.md", root=project)
    assert (project / "docs" / "page.md").read_text(encoding="utf-8") == GOOD


def test_an_empty_output_block_is_filled_and_none_is_added(project: Path) -> None:
    write(project, GOOD.replace("sum 3 0.67\n", ""))
    build.build("docs/page.md", root=project)
    assert (project / "docs" / "page.md").read_text(encoding="utf-8") == GOOD
    silent = GOOD.replace("```text\nsum 3 0.67\n```\n\n", "")
    write(project, silent)
    build.build("docs/page.md", root=project)
    assert (project / "docs" / "page.md").read_text(encoding="utf-8") == silent


def test_code_that_fails_is_named_by_page_and_line(project: Path) -> None:
    write(project, GOOD.replace("assert n == 2", "assert n == 5"))
    with pytest.raises(build.PageError, match=r"docs/page.md, line 17: AssertionError"):
        build.build("docs/page.md", root=project)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ("![A dot](pictures/dash.png)", "made by no code and does not exist"),
        ("![](pictures/dot.svg)", "no alternative text"),
    ],
)
def test_a_picture_needs_a_file_and_an_alternative_text(project: Path, picture: str, message: str) -> None:
    write(project, GOOD.replace("![A dot](pictures/dot.svg)", picture))
    with pytest.raises(build.PageError, match=message):
        build.build("docs/page.md", root=project)


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("loss 4.81\n", "loss 4.82\n", True),  # the last digit, on another processor
        ("loss 4.81\n", "loss 4.83\n", False),
        ("loss 4.8\n", "loss 4.81\n", False),
        ("8 rows\n", "9 rows\n", False),  # whole numbers are exact
        ("1.0e-07\n", "1.1e-07\n", True),
        ("1.0e-07\n", "1.0e-06\n", False),
        ("a word\n", "another word\n", False),
        ("", "a word\n", False),
        ("-0.31\n", "0.31\n", False),
    ],
)
def test_outputs_are_the_same_up_to_the_last_digit(expected: str, printed: str, same: bool) -> None:
    assert build.same_output(expected, printed) is same
