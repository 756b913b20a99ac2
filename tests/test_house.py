"""The rules of the house, kept by tests: what imports what, what is named, listed and left out."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import limelight

ROOT = Path(limelight.__file__).parent.parent
PACKAGE = sorted((ROOT / "limelight").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements() -> list[str]:
    """Every package that pyproject.toml asks for, with its bound."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    groups = [PROJECT["project"]["dependencies"], *extras, PROJECT["build-system"]["requires"]]
    return [requirement for group in groups for requirement in group]


def bare(requirement: str) -> str:
    """The name alone: "torch>=2.11" gives "torch"."""
    return re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0].lower()


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path))


@cache
def imported(path: Path, only_at_top: bool = False) -> tuple[str, ...]:
    """The full names of all modules that a file imports when it runs: wherever in it, or outside functions."""
    return tuple(_imported(path, only_at_top))


def _imported(path: Path, only_at_top: bool) -> Iterator[str]:
    waiting: list[ast.AST] = [tree_of(path)]
    while waiting:
        node = waiting.pop()
        if (isinstance(node, ast.If) and is_for_types(node.test)) or isinstance(node, ast.expr):
            continue  # no expression holds an import
        if only_at_top and isinstance(node, ast.FunctionDef):
            continue
        waiting.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively; the contract reads absolute names"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_for_types(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def loaded_by(statement: str) -> set[str]:
    """The top-level packages in memory after a statement in a fresh interpreter."""
    script = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(run.stdout.split())


# ── Imports ──


def test_imports_point_down_the_road() -> None:
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert "0 broken" in run.stdout


def test_every_folder_of_code_is_a_package() -> None:
    # The contract reads packages only: a folder without __init__.py would be free of it, unnoticed.
    folders = {path.parent for path in PACKAGE}
    assert not [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()]


def test_the_heart_imports_torch_and_the_standard_library() -> None:
    allowed = {"torch", "__future__"} | set(sys.stdlib_module_names)
    inside = ("limelight.matrix", "limelight.shapes", "limelight.errors")
    heart = [path for path in PACKAGE if "matrix" in path.parts or path.name in ("errors.py", "shapes.py")]
    assert len(heart) > 5
    for path in heart:
        # The GPU loop is imported only when chosen, and Triton comes with torch where it can run.
        more = {"triton"} if "triton" in path.parts else set()
        for name in imported(path):
            top = name.partition(".")[0]
            assert top in allowed | more or name.startswith(inside), f"{path.name} imports {name}"


LATE = {"limelight.viewer.serve.routes": {"starlette"}}
"""Files that are imported inside functions only, and the packages that they may have at their top."""


def test_optional_packages_are_imported_late_and_behind_a_door() -> None:
    # At the top of a file only core packages; inside functions optional ones too, once errors.require has let
    # them through, which knows what to say when they are missing. A file that is all about one may have it at its
    # top, and is then itself imported inside functions only.
    core = {bare(requirement).replace("-", "_") for requirement in PROJECT["project"]["dependencies"]}
    allowed = core | {"limelight", "triton", "__future__"} | set(sys.stdlib_module_names)
    optional = {
        bare(name) for names in PROJECT["project"]["optional-dependencies"].values() for name in names
    }
    doors = {package: text_of_requires(package) for package in optional}
    for path in PACKAGE:
        names = imported(path, only_at_top=True)
        assert not set(LATE) & set(names), f"{path} imports at its top what is imported late"
        own = LATE.get(".".join(path.relative_to(ROOT).with_suffix("").parts), set())
        at_top = {name.partition(".")[0] for name in names} - own
        assert at_top <= allowed, f"{path} imports {at_top - allowed} at its top"
        late = {name.partition(".")[0] for name in imported(path)} - allowed
        assert late <= optional, f"{path} imports {late - optional}, which pyproject.toml does not name"
        assert all(doors[package] for package in late), (
            f"{path} imports {late}, and nothing requires it first"
        )


def text_of_requires(package: str) -> list[Path]:
    """The files that ask errors.require for a package."""
    return [path for path in PACKAGE if f'require("{package}' in text_of(path)]


def test_importing_limelight_loads_no_extra() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    heavy = {bare(name) for extra in extras for name in extras[extra]} | {"scipy", "pandas", "IPython"}
    assert {"gensim", "transformers", "matplotlib"} <= heavy
    assert not loaded_by("import limelight") & heavy


# ── Public names ──


def test_public_names_are_all_there() -> None:
    assert {"AttentionMatrix", "errors", "watch"} <= set(limelight.__all__)
    assert not [name for name in limelight.__all__ if not hasattr(limelight, name)]


def test_public_names_are_documented() -> None:
    bare_names = [
        name
        for name in limelight.__all__
        if callable(value := getattr(limelight, name)) and not written_docstring(value)
    ]
    assert not bare_names


def written_docstring(value: object) -> str:
    """The docstring that someone wrote: a dataclass without one gets its signature from Python."""
    docstring = inspect.getdoc(value) or ""
    return "" if docstring.startswith(f"{getattr(value, '__name__', '')}(") else docstring


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_says_what_it_is_and_ends_in_time(path: Path) -> None:
    text = text_of(path)
    assert not text.strip() or ast.get_docstring(tree_of(path)), f"{path} begins without a docstring"
    assert len(text.splitlines()) <= 600, f"{path} is two things"


def public_classes() -> dict[str, list[str]]:
    """Every class name without an underscore in the package, and the files that define it."""
    found: dict[str, list[str]] = {}
    for path in PACKAGE:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    return found


def test_no_public_class_name_is_used_twice() -> None:
    classes = public_classes()
    assert len(classes) > 100
    assert not {name: files for name, files in classes.items() if len(files) > 1}


def test_the_glossary_has_every_public_name_and_no_other() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([A-Za-z_]\w*)`", text))
    assert named - {"LimelightError"} == set(limelight.__all__) - {"LimelightError"}
    assert "LimelightError" in named


def test_every_error_raised_on_purpose_is_a_limelight_error() -> None:
    # AssertionErrors are ours to mend; an OSError becomes a FileError at the public doors.
    allowed = (SystemExit, KeyboardInterrupt, AssertionError, NotImplementedError, StopIteration, OSError)
    checked = 0
    for path in PACKAGE:
        module = importlib.import_module(
            ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        )
        turned = turned_into_others(tree_of(path))
        for node in ast.walk(tree_of(path)):
            name = raised_by(node)
            kind = getattr(module, name, getattr(builtins, name, None))
            if isinstance(kind, type) and issubclass(kind, BaseException):
                checked += 1
                assert issubclass(kind, (limelight.LimelightError, *allowed)) or node in turned, (
                    f"{path}:{getattr(node, 'lineno', 0)} raises {name}"
                )
    assert checked > 300


def raised_by(node: ast.AST) -> str:
    """The name of the class that a `raise` names, with or without arguments; "" for anything else."""
    if not isinstance(node, ast.Raise) or node.exc is None:
        return ""
    what = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return what.id if isinstance(what, ast.Name) else ""


def turned_into_others(tree: ast.Module) -> set[ast.AST]:
    """The raises in the body of a `try` that has a handler of the same name, or of an error above it."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Try):
            names = {
                name.id
                for handler in node.handlers
                if handler.type is not None
                for name in ast.walk(handler.type)
                if isinstance(name, ast.Name)
            }
            kinds = tuple(kind for name in names if isinstance(kind := getattr(builtins, name, None), type))
            for inner in (inner for statement in node.body for inner in ast.walk(statement)):
                kind = getattr(builtins, raised_by(inner), None)
                if isinstance(kind, type) and issubclass(kind, kinds):
                    found.add(inner)
    return found


def test_files_that_are_named_in_prose_exist() -> None:
    code = [
        path
        for folder in ("limelight", "tests", "docs", "benchmarks", "experiments", "web")
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts
    ]
    there = [f"/{path.relative_to(ROOT)}" for path in code] + ["/hatch_build.py"]
    pages = [
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "limelight").rglob("*.md"),
        ROOT / "experiments/README.md",
    ]
    missing = []
    for path in [*code, *pages, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        prose = text_of(path) if path.suffix == ".md" else "\n".join(docstrings(path))
        for word in re.findall(r"(?<![\w/.*{\-])((?:\.\./)?(?:[\w\-]+/)*[a-z_0-9]+\.py)\b", prose):
            ends = f"/{word.removeprefix('../')}"
            if not any(name.endswith(ends) for name in there) and not word.startswith("modeling_"):
                missing.append(f"{path.relative_to(ROOT)} speaks of {word}")
    assert not missing, "\n".join(missing)


def docstrings(path: Path) -> Iterator[str]:
    """What a file says of itself, of its classes and functions, and of its constants."""
    for node in ast.walk(tree_of(path)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.value.value


# ── What is left out ──


def test_nothing_is_pickled() -> None:
    # A pickle runs code when it is read: weights are safetensors, the rest is JSON, TOML or text.
    for path in PACKAGE:
        text = text_of(path)
        assert not re.search(r"torch\.(load|save)\(|allow_pickle=True", text), f"{path} pickles"
        assert not {"pickle", "shelve", "marshal", "joblib", "dill"} & set(imported(path)), f"{path} pickles"


def test_nothing_is_left_open() -> None:
    mark = re.compile("TO" + r"DO|FIX" + r"ME|XX" + "X")
    for path in [*PACKAGE, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        assert not mark.search(text_of(path)), f"{path} has something left open"


# ── Dependencies ──


def test_every_dependency_has_its_line_and_no_line_is_left_over() -> None:
    table = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    used = table.partition("## Weighed, and left")[0]
    lines = re.findall(r"^\| ([a-z0-9-]+) \|(?!.*what it does)", used, flags=re.MULTILINE)
    assert sorted(lines) == sorted({bare(requirement) for requirement in requirements()})


@pytest.mark.parametrize("requirement", requirements())
def test_bounds_are_lower_bounds(requirement: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9-]+>=[\d.]+(; sys_platform == '[a-z0-9]+')?", requirement)


def test_the_tested_version_of_everything_installed_is_written_down() -> None:
    pins = dict(
        line.lower().split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
    installed_here = ("dev", "train", "plot", "hf", "data", "gpu", "web", "notebook", "experiments")
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [
        *PROJECT["project"]["dependencies"],
        *(name for extra in installed_here for name in extras[extra]),
    ]
    for requirement in wanted:
        name, bound = requirement.lower().partition(";")[0].split(">=")
        assert name in pins, f"{name} has no line in constraints.txt"
        assert numbers(pins[name]) >= numbers(bound), f"{name}: the tested version is below its bound"


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def test_every_install_of_the_make_targets_is_constrained() -> None:
    # Without constraints, torch would come with gigabytes of CUDA libraries, and versions would drift.
    lines = [
        line
        for name in ("Makefile", ".ci/run")
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
        if "pip install" in line
    ]
    assert lines
    assert all("-c constraints.txt" in line for line in lines)


def test_ci_runs_what_a_developer_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.findall(r"^make (\S+)$", script, flags=re.MULTILINE) == [
        "check",
        "check-page",
        "check-docs",
        "check-slow",
        "test",
    ]
