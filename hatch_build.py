"""Builds the C++ part of the heart into the package where a compiler is at hand, in editable installs too.

Without a compiler the wheel is pure Python, and complete: the plain loop reads everything.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = Path("limelight", "matrix", "native")


class CompileNative(BuildHookInterface):  # type: ignore[type-arg]
    """Named in pyproject.toml."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # Run by its path: importing the package would ask for PyTorch, which is not there yet.
        build = runpy.run_path(str(Path(self.root) / NATIVE / "build.py"))
        missing = build["build"]()
        if missing:
            self.app.display_warning(f"Limelight without its C++ part: {missing}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True  # the wheel is one for this system
        build_data["artifacts"].append((NATIVE / build["LIBRARY"].name).as_posix())  # though git ignores it
