"""Builds the C++ part of the heart and the page of the viewer into the package, in editable installs too.

Without a compiler the wheel is pure Python, and complete: the plain loop reads everything. Without npm's registry it
holds no page; all else works.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = Path("limelight", "matrix", "engine", "native")
PAGE = Path("limelight", "viewer", "static")


class BuildParts(BuildHookInterface):  # type: ignore[type-arg]
    """Named in pyproject.toml."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self.compile_native(build_data)
        self.build_page(build_data)

    def compile_native(self, build_data: dict[str, Any]) -> None:
        # Run by its path: importing the package would ask for PyTorch, which is not there yet.
        build = runpy.run_path(str(Path(self.root) / NATIVE / "build.py"))
        missing = build["build"]()
        if missing:
            self.app.display_warning(f"Limelight without its C++ part: {missing}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True  # the wheel is one for this system
        build_data["artifacts"].append((NATIVE / build["LIBRARY"].name).as_posix())  # though git ignores it

    def build_page(self, build_data: dict[str, Any]) -> None:
        script = Path(self.root, "web", "build.py")
        missing = runpy.run_path(str(script))["build"]() if script.is_file() else "its sources are not here"
        if missing and not Path(self.root, PAGE, "page.js").is_file():
            self.app.display_warning(f"Limelight without its page: {missing}")
            return
        build_data["artifacts"].append(f"{PAGE.as_posix()}/*")  # though git ignores it
