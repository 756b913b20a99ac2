"""The loops on an NVIDIA GPU, in Triton, imported only when chosen.

serves.py    can Triton read this matrix, and if not, why     sight.py     a mask in numbers that kernels take
loop.py      which kernel for which reduction                      launch.py    sizes, grids and arguments
tile.py      one tile of scores                               rows.py      row statistics and row sums
columns.py   column sums                                      areas.py     sums and maxima of areas
operands.py  what the kernels are given                       cells.py     which areas make up a picture

`tile`, `rows`, `columns` and `areas` are written in Triton's language, a part of Python's, and import it;
nothing else here does. On tensors of the CPU they run in Triton's interpreter, where TRITON_INTERPRET is 1.
"""
