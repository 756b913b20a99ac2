"""The training loop, and what it needs.

loop.py      the loop; optimizer.py, schedule.py, precision.py       batches.py       examples and their order
checkpoints.py, best_weights.py  what survives a kill                interrupts.py    Ctrl-C between two updates
reporting.py  progress bar, log, TensorBoard                         number_ranges.py numbers of a recipe
single_process.py  refuses a training that was started as one of several processes
"""
