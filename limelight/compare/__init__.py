"""Attention against recurrence, by measurement.

rivals.py      who takes part: networks with the same number of parameters
recall.py      a task with a known distance: records, and a question about one of them
runs.py        trainings side by side, each in its own process, gone on with where they stopped
scope.py       how far and through how much can each relate two tokens?
figures.py     what was measured, as pictures
"""
