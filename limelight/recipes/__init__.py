"""Recipes: a TOML file in, a trained model with its card out. The shipped ones are the TOML files beside this code.

recipe.py      what a recipe says                       task.py           what differs from task to task
train.py       a whole training run                     resume.py         settings of a run that is gone on with
run_folder.py  which files of a folder are the run's    provenance.py     what a run was begun with
data_checks.py rows that cannot be learned              data_rows.py      file and line of a row; unknown_tokens.py
fine_tune.py   what a trained model hands on            model_soup.py     the mean of several models
metrics.py     error rates, BLEU, accuracy              model_card.py     the card of a trained model
choose_alignment_heads.py  which heads of a trained model align words
"""
