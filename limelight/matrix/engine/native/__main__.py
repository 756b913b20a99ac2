"""python -m limelight.matrix.engine.native: compile the C++ part where the package is installed."""

from __future__ import annotations

import sys

from limelight.matrix.engine.native.build import LIBRARY, build

if __name__ == "__main__":
    missing = build()
    print(f"{LIBRARY} is not built: {missing}" if missing else f"{LIBRARY} is built")
    sys.exit(missing is not None)
