"""The Triton backend, for NVIDIA GPUs; imported only where it is chosen.

support.py        can Triton read this matrix, and if not, why      block_mask.py  a mask in numbers that kernels take
loop.py           which kernel for which reduction                  launch.py      sizes, grids and arguments
tile.py           one tile of scores                                row_kernel.py  row statistics and row sums
column_kernel.py  column sums                                       area_kernel.py sums and maxima of areas
operands.py       the arguments of the kernels                      area_runs.py   which areas make up a picture

`tile`, `row_kernel`, `column_kernel` and `area_kernel` are written in Triton's language, a part of Python's, and
import it; nothing else here does. On the CPU they run in Triton's interpreter, where TRITON_INTERPRET is 1.
"""
