"""The C++ backend: some rows of the matrix at a time, every sum in a few sweeps while they are in the cache.

build.py               compiles the C++ part; python -m limelight.matrix.engine.native
library.py             loads it; the Python side of its structs      kernel_call.py  one call of it, for a row block
reduction_adapters.py  what each reduction takes of its results      loop.py         the pass over row blocks
strip.cpp, row.hpp     the sweeps over a strip and a row; lanes.hpp: vectors; job.hpp: the structs;
                       choice.cpp: the variant for this processor

Where the C++ part is missing this backend refuses, `why()` says so, and the plain one reads.
"""
