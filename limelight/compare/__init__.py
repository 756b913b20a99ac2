"""Attention against recurrence, by measurement.

plan.py          the parts of the comparison, what they are asked, and what each hands to the report
rivals.py        who takes part: networks with the same number of parameters
runs.py          trainings side by side, each in its own process, gone on with where they stopped
budget.py        equal processor time: how many updates fit into it
timed.py         a training for a given processor time
kinds.py         what kind of run a result is
search.py        the same small search for every rival; what it found

scope*.py        how far, and through how many records, can each relate two tokens? (recall.py is the task)
accuracy*.py     how right are pronunciation and translation? (contests.py has the tasks)
alignment*.py    does cross-attention find the links that people set? (strongs.py judges, aligners.py are beside it)
generalisation*.py  what is general training worth? (language_models.py, fine_tuning.py; beside: words_alone.py)
efficiency*.py   how fast are training and decoding? (processes.py: in two processes)

sentences.py     sentences that follow from numbers
figures.py       what was measured, as pictures
report.py        what was measured, in the terminal and as a page
store.py         what was measured, on disk

A part of the comparison is a module with three functions (plan.py has the types):

    plan(options: Options) -> list[Run]              which runs there are; Run.work names measure()
    measure(folder: Path, **options) -> dict         one run, in its own process; plain values for JSON
    result(results: dict[str, dict]) -> Part         tables, figures and sentences, from the runs' dicts by name

`result` is a pure function of what stands in the JSON, so a page can be written again from it without a run; it
must do with the runs that are there (one seed, a rival that is missing) and with numbers that favour anyone.
"""
