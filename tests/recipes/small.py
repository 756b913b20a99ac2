"""Four tiny tasks that can be learned in a second each, and the models that learn them.

pronounce   each letter has its phone: "bad" → "B AH D"
translate   the same words again: what the cross-attention must find is known
language    one sentence, again and again
classify    one word among others says which class it is
"""

from __future__ import annotations

import atexit
import random
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from rich.console import Console

from limelight.modules.model_io import SavedModel
from limelight.recipes.recipe import Recipe, parse_recipe
from limelight.recipes.train import train_recipe
from limelight.training.loop import TrainResult
from limelight.training.reporting import Reporter

PHONES = {"a": "AH", "b": "B", "d": "D", "i": "IY", "n": "N", "o": "OW", "s": "S", "t": "T"}
WORDS = ("red", "green", "blue", "cats", "dogs", "birds", "run", "sleep", "sing", "now", "here", "there")
KEYWORDS = {"good": "praise", "bad": "blame", "so-so": "doubt"}
SENTENCE = "the light falls on every word and every word on the light ."

SHAPE = """
[model]
width = 32
heads = 2
feed_forward = 32
encoder_layers = 1
decoder_layers = 1
positions = "rotary"
dropout = 0.0
"""
TRAINING = """
[training]
steps = {steps}
tokens = {tokens}
rate = {rate}
warmup = 10
average = 0.9
evaluate_every = {evaluate_every}
checkpoint_every = {checkpoint_every}
seed = 3
"""
SETTINGS = {
    "pronounce": ('source = "characters"\ntarget = "words"', {"steps": 90, "tokens": 300, "rate": 1.5e-2}),
    "translate": (
        'source = "words"\ntarget = "words"\nshared = true',
        {"steps": 80, "tokens": 400, "rate": 1e-2},
    ),
    "language": ('source = "words"\nwindow = 61', {"steps": 60, "tokens": 200, "rate": 1e-2}),
    "classify": ('source = "words"', {"steps": 40, "tokens": 300, "rate": 1e-2}),
}


def recipe_text(task: str, **training: object) -> str:
    """The recipe of a tiny task as a TOML file has it."""
    text, settings = SETTINGS[task]
    settings = settings | training
    last = dict.fromkeys(("evaluate_every", "checkpoint_every"), settings["steps"])
    table = TRAINING.format(**last | settings)
    return f'task = "{task}"\n\n[text]\n{text}\n{SHAPE}{table}\n[prediction]\nbeam = 2\nlongest = 12\n'


def recipe(task: str, **training: object) -> Recipe:
    return parse_recipe(recipe_text(task, **training))


def rows(task: str, count: int, seed: int) -> list[tuple[str, str]]:
    """(text, answer) rows of a task other than language; one seed gives one list."""
    chance = random.Random(f"{task} {seed}")

    def one() -> tuple[str, str]:
        if task == "pronounce":
            word = "".join(chance.choices("abdinost", k=chance.randint(2, 5)))
            return word, " ".join(PHONES[letter] for letter in word)
        words = chance.sample(WORDS, chance.randint(2, 5))
        if task == "translate":
            return " ".join(words), " ".join(words)
        keyword = chance.choice(list(KEYWORDS))
        words.insert(chance.randint(0, len(words)), keyword)
        return " ".join(words), KEYWORDS[keyword]

    return [one() for _ in range(count)]


def write_data(task: str, folder: Path) -> Path:
    """The data folder of a task."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, (count, seed) in {"train": (211, 0), "valid": (23, 1)}.items():
        if task == "language":
            words = islice(cycle(SENTENCE.split()), 7 * count)
            (folder / f"{part}.txt").write_text(" ".join(words) + "\n", encoding="utf-8")
        else:
            lines = [f"{source}\t{target}\n" for source, target in rows(task, count, seed)]
            (folder / f"{part}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def quiet(folder: Path) -> Reporter:
    return Reporter(folder, Console(quiet=True), tensorboard=False)


@cache
def trained(task: str) -> tuple[SavedModel, TrainResult, Path]:
    """The task's model, trained once a process; the folder holds `data` and the run `out`."""
    folder = Path(mkdtemp(prefix=f"limelight-{task}-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    out = folder / "out"
    saved, outcome = train_recipe(recipe(task), write_data(task, folder / "data"), out, reporter=quiet(out))
    return saved, outcome, folder
