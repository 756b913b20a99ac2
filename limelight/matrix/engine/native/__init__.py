"""The native loop: some rows of the matrix at a time, every sum in a few sweeps while they are in the cache.

build.py    compile the C++ part; python -m limelight.matrix.engine.native
library.py  load it, and the other side of its structs     strip.cpp  the sweeps     lanes.hpp  vectors
takes.py    what each reduction takes of what was found         loop.py    the pass over panels and row blocks

Where the C++ part is missing this loop refuses, `why()` says so, and the plain one reads.
"""
