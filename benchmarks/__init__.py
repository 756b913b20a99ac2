"""Measurements: `python -m benchmarks` lists them, `python -m benchmarks NAME --help` says what each takes.

Each is one module with a function `run(...)`, which prints a table and returns its numbers as plain values; with
`--json FILE` they are written down together with the date, the machine and the command.
"""
