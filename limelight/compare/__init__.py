"""Attention against recurrence, by measurement.

rivals.py      who takes part: networks with the same number of parameters
recall.py      a task with a known distance: records, and a question about one of them
runs.py        trainings side by side, each in its own process, gone on with where they stopped
budget.py      equal processor time: how many updates fit into it
plan.py        the parts of the comparison, what they are asked, and what each hands to the report
sentences.py   sentences that follow from numbers
search.py      the same small search for every rival; what it found
scope.py       how far and through how much can each relate two tokens?
efficiency.py  how fast are training and decoding, and what do they cost with length?
figures.py     what was measured, as pictures
report.py      what was measured, in the terminal and as a page

A part of the comparison is a module with three functions (plan.py has the types):

    plan(options: Options) -> list[Run]              which runs there are; Run.work names measure()
    measure(folder: Path, **options) -> dict         one run, in its own process; plain values for JSON
    result(results: dict[str, dict]) -> Part         tables, figures and sentences, from the runs' dicts by name

`result` is a pure function of what stands in the JSON, so a page can be written again from it without a run; it
must do with the runs that are there (one seed, a rival that is missing) and with numbers that favour anyone.
"""
