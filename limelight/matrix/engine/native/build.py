"""Compile the C++ part, where there is a compiler; without one nothing is lost but speed.

`hatch_build.py` calls this when the package is built or installed, and `python -m limelight.matrix.engine.native`
calls it by hand. It imports the standard library only, since PyTorch is not there when a package is built.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
LIBRARY = HERE / "_strip.so"
SOURCES = ("job.hpp", "lanes.hpp", "row.hpp", "strip.cpp", "choice.cpp")
FLAGS = (
    *("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-Wno-psabi"),
    # Products and sums may become one rounding. Infinities and NaN stay what they are.
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros"),
)
AVX512 = ("-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma", "-mprefer-vector-width=512")
# A variant's name, how many floats its vectors hold, and the flags that its processors take.
Variant = tuple[str, int, tuple[str, ...]]
X86: tuple[Variant, ...] = (("avx512", 16, AVX512), ("avx2", 8, ("-mavx2", "-mfma")))
ANY: Variant = ("plain", 4, ())


def source() -> str:
    """What tells one state of the sources and flags from another; the library bears it, or is refused."""
    files = b"".join((HERE / name).read_bytes() for name in SOURCES)
    return hashlib.sha256(files + repr((FLAGS, X86, ANY)).encode()).hexdigest()[:16]


def build(library: Path = LIBRARY) -> str | None:
    """Compile `library`; None when it is there, else why not."""
    named = os.environ.get("CXX")
    compiler = next(filter(None, map(shutil.which, [named] if named else ["c++", "g++", "clang++"])), None)
    if compiler is None or platform.system() == "Windows":
        return "no C++ compiler such as g++ or clang++ was found"
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        objects, built = [], []
        variants = [*X86, ANY] if platform.machine().lower() in ("x86_64", "amd64") else [ANY]
        for name, width, flags in variants:
            output = Path(folder) / f"{name}.o"
            defined = (f"-DVARIANT={name}", f"-DWIDTH={width}")
            error = _run(compiler, *FLAGS, *flags, *defined, "-c", str(HERE / "strip.cpp"), "-o", str(output))
            if error is None:
                objects.append(str(output))
                built.append(f"-DHAS_{name.upper()}=1")
            elif name == "plain":
                return error
        together = Path(folder) / library.name
        choice = (*built, f'-DSOURCE="{source()}"')
        command = (*FLAGS, *choice, "-shared", str(HERE / "choice.cpp"), *objects, "-o", str(together))
        error = _run(compiler, *command)
        if error is None:
            together.replace(library)  # in one step: another process may have the old one open
        return error


def _run(*command: str) -> str | None:
    """Run a compiler; None if it succeeds, else what it said last."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return None if done.returncode == 0 else f"{command[0]} failed: {done.stderr.strip()[-500:]}"
