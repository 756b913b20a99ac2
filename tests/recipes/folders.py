"""What may befall a run's folder, and what must hold whatever does: a state machine over real runs of a few updates.

Runs are trained, killed at any change of a file, out of room on the disk, copied, renamed, gone on with by other
settings or rows, fine-tuned and averaged, among files of the user's own.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from safetensors.torch import load_file

from limelight.errors import LimelightError
from limelight.modules.model_io import SavedModel, load_model
from limelight.recipes.model_soup import average
from limelight.recipes.recipe import Recipe, parse_recipe
from limelight.recipes.run_folder import _HALF_WRITTEN
from limelight.recipes.task import TASKS
from limelight.recipes.train import train_recipe
from limelight.training.checkpoints import FILES, checkpoints, step_of
from tests.recipes.faults import Fault, Killed, fault_at
from tests.recipes.small import quiet

PAIRS = ("a b\tA B", "b c a\tB C A", "c\tC", "a c\tA C", "b\tB", "c b a\tC B A", "b b\tB B")
ROWS = {
    "train": {"one": PAIRS, "other": PAIRS[2:]},
    "valid": {"one": PAIRS[:2], "other": ("c a\tA C", "a\tB")},
}
MOST_CHANGES = 120
"""A run of six updates changes files about so many times."""


@dataclass(frozen=True)
class Plan:
    """What a run is asked for."""

    steps: int = 4
    rate: float = 1e-2
    seed: int = 0
    tokens: int = 12
    train: str = "one"
    valid: str = "one"

    @property
    def begun(self) -> tuple[int, str]:
        """What cannot be changed on the way."""
        return self.seed, self.train

    @property
    def recipe(self) -> Recipe:
        return parse_recipe(
            f"""task = "translate"
[text]
source = "words"
target = "words"
[model]
width = 8
heads = 2
feed_forward = 8
encoder_layers = 1
decoder_layers = 1
[training]
steps = {self.steps}
tokens = {self.tokens}
rate = {self.rate}
seed = {self.seed}
warmup = 2
average = 0.5
evaluate_every = 2
checkpoint_every = 1
[prediction]
beam = 1
longest = 5
"""
        )

    def write(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        for part, rows in ROWS.items():
            (folder / f"{part}.tsv").write_text("\n".join(rows[getattr(self, part)]) + "\n", encoding="utf-8")
        return folder


OTHERS = {
    "steps": st.sampled_from((2, 4, 6)),
    "rate": st.sampled_from((1e-2, 3e-2)),
    "seed": st.sampled_from((0, 1)),
    "tokens": st.sampled_from((12, 30)),
    "train": st.sampled_from(("one", "other")),
    "valid": st.sampled_from(("one", "other")),
}
CHANGE = st.sampled_from(("", *OTHERS)).flatmap(
    lambda name: st.just({}) if not name else st.fixed_dictionaries({name: OTHERS[name]})
)
FOREIGN = (
    "notes.md",
    "checkpoint-notes.txt",
    "checkpoint-backup/weights.safetensors",
    "checkpoint-12/progress.json",
    "tensorboard-mine/log",
    "model/notes.md",
    "newest/notes.txt",
)
MOST_STEPS = 12
CLOCKS = ("cpu_seconds", "judging_seconds")
"""What differs from machine to machine in a checkpoint."""
befallen: Counter[str] = Counter()
"""How often what befell a folder, since somebody cleared it."""
_REFERENCES: dict[Plan, dict[str, Any]] = {}


def room() -> Path:
    """A folder for a sequence, in memory where the system has such a place."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="limelight-folders-", dir=memory if memory.is_dir() else None))


def weights(saved: SavedModel) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in saved.model.named_parameters()}


def state(out: Path) -> dict[str, Any]:
    """Where a run has come to: every number of its newest checkpoint, its best weights, and its counters."""
    last = checkpoints(out)[-1]
    progress = json.loads((last / "progress.json").read_text(encoding="utf-8"))
    for clock in CLOCKS:
        del progress[clock]
    files = [*sorted(last.glob("*.safetensors")), out / "best.safetensors"]
    return {
        f"{file.name}/{name}": tensor.tolist() for file in files for name, tensor in load_file(file).items()
    } | {"progress": progress}


def undisturbed(plan: Plan) -> dict[str, Any]:
    """What a run has come to that nothing befell."""
    if plan not in _REFERENCES:
        place = room()
        try:
            train_recipe(
                plan.recipe, plan.write(place / "data"), place / "run", reporter=quiet(place / "run")
            )
            _REFERENCES[plan] = state(place / "run")
        finally:
            shutil.rmtree(place)
    return _REFERENCES[plan]


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the lock, and but what is half written and swept away."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and path.name != "run.lock"
        and not any(
            _HALF_WRITTEN.fullmatch(part) or part.endswith(".partial")
            for part in path.relative_to(folder).parts
        )
    }


class Folders(RuleBasedStateMachine):
    """One run's folder and what befalls it. `told` are the plans that its checkpoints were written by, in order."""

    def __init__(self) -> None:
        super().__init__()
        torch.set_num_threads(1)
        undisturbed(Plan())  # so that all that is imported late is there: half an import is another matter
        befallen["sequences"] += 1
        self.place = room()
        self.out = self.place / "run"
        self.plan = Plan()
        self.data = self.plan.write(self.place / "data")
        self.told: list[Plan] = []
        self.foreign: dict[Path, bytes] = {}
        self.cards: set[bytes] = set()
        self.number = 0

    def teardown(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)

    # ---- what befalls it --------------------------------------------------------------------------

    @rule(change=CHANGE)
    def train(self, change: dict[str, object]) -> None:
        self.trained(change)

    @rule(change=CHANGE, fault=st.sampled_from(("kill", "full")), at=st.integers(1, MOST_CHANGES))
    def strike(self, change: dict[str, object], fault: Fault, at: int) -> None:
        self.trained(change, fault, at)

    @rule(kills=st.lists(st.integers(1, MOST_CHANGES), min_size=1, max_size=3), change=CHANGE)
    def begin_and_be_killed(self, kills: list[int], change: dict[str, object]) -> None:
        """A new run, killed a few times on its way to the end."""
        self.number += 1
        self.out, self.told, self.cards = self.place / f"new-{self.number}", [], set()
        self.plan = replace(self.plan, **change)  # type: ignore[arg-type]
        for at in kills:
            self.trained({}, "kill", at)
        self.trained({})

    @rule(at=st.integers(0, MOST_CHANGES), fault=st.sampled_from(("kill", "full")))
    def go_further(self, at: int, fault: Fault) -> None:
        """More updates than before; `at` 0 is without a fault."""
        if self.plan.steps < MOST_STEPS:
            self.trained({"steps": self.plan.steps + 2}, fault if at else None, at)

    def trained(self, change: dict[str, object], fault: Fault | None = None, at: int = 0) -> None:
        """Train by the plan with something changed, and see that what must hold does."""
        plan = replace(self.plan, **change)  # type: ignore[arg-type]
        plan.write(self.data)
        before, newest = content(self.out) if self.out.is_dir() else {}, self.newest()
        stood = self.counters()
        ended, said = "done", ""
        try:
            if fault:
                with fault_at(fault, at):
                    saved, outcome = self.run(plan)
            else:
                saved, outcome = self.run(plan)
        except Killed:
            ended = "killed"
        except OSError:
            assert fault == "full"
            ended = "full"
        except LimelightError as error:
            ended, said = "refused", str(error)
        befallen[f"training: {ended}"] += 1
        self.holds(newest)
        if ended == "refused":
            assert re.search(r"finished|begun differently", said), said
            assert plan != self.plan, f"the same command is refused: {said}"
            assert content(self.out) == before, "a refusal has changed the folder"
            self.plan.write(self.data)
            return
        if newest is None and self.newest() is None and ended != "done":
            if ended == "full":
                assert not self.out.exists() or set(content(self.out)) <= set(before), (
                    "a run that failed left files"
                )
            return  # nothing was made: the next may be another
        if ended != "done" and self.newest() == newest:
            if self.counters() != stood:  # no update, but its scores are of these rows now
                self.tell(replace(self.plan, valid=plan.valid))
            self.plan.write(self.data)
            return  # and here: the next goes on by the plan of before
        self.plan = plan
        self.tell(plan)
        if ended == "done":
            self.agrees(saved, outcome.progress.step)

    @rule(names=st.sets(st.sampled_from(FOREIGN), min_size=1))
    def add(self, names: set[str]) -> None:
        for name in sorted(names):
            found = checkpoints(self.out)
            inside, _, rest = name.partition("/")
            if inside == "newest" and found:
                self.write(found[-1] / rest)
            elif inside != "newest" and (inside != "model" or (self.out / "model").is_dir()):
                self.write(self.out / name)

    def write(self, path: Path) -> None:
        """A file of the user's, where there is none."""
        if path.exists():
            return
        self.number += 1
        if not self.out.is_dir():
            self.out.mkdir()
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"mine {self.number}", encoding="utf-8")
        self.foreign[path] = path.read_bytes()
        befallen["a file of the user's"] += 1

    @precondition(lambda self: (self.out / "model" / "card.md").is_file())
    @rule()
    def edit_card(self) -> None:
        self.number += 1
        card = self.out / "model" / "card.md"
        card.write_text(card.read_text(encoding="utf-8") + f"\nMine {self.number}.\n", encoding="utf-8")
        self.cards = {card.read_bytes()}
        befallen["a card edited"] += 1

    @precondition(lambda self: self.out.is_dir())
    @rule(copy=st.booleans())
    def move(self, copy: bool) -> None:
        """Go on in a copy of the folder, which stays as it is, or in the folder by another name."""
        self.number += 1
        other = self.place / f"run-{self.number}"
        mine = {path: data for path, data in self.foreign.items() if path.is_relative_to(self.out)}
        if copy:
            shutil.copytree(self.out, other)
            self.foreign |= {self.out / name: data for name, data in content(self.out).items()}
        else:
            self.out.rename(other)
            self.foreign = {path: data for path, data in self.foreign.items() if path not in mine}
        self.foreign |= {other / path.relative_to(self.out): data for path, data in mine.items()}
        self.out = other
        befallen["the folder copied" if copy else "the folder renamed"] += 1

    @precondition(lambda self: (self.out / "model").is_dir())
    @rule()
    def tune_and_average(self) -> None:
        """Fine-tune the model in a folder of its own, twice by different paths, and average it with what came out."""
        self.number += 1
        before = content(self.out)
        tuned, link = self.place / f"tuned-{self.number}", self.place / f"link-{self.number}"
        recipe = replace(self.plan, steps=2, seed=5).recipe
        train_recipe(recipe, self.data, tuned, self.out, quiet(tuned))
        link.symlink_to(self.out)
        train_recipe(recipe, self.data, tuned, link, quiet(tuned))  # it is the same model
        mean = self.place / f"mean-{self.number}"
        average([self.out, tuned], self.data, mean)
        parts = [weights(load_model(folder)) for folder in (self.out, tuned)]
        for name, weight in weights(load_model(mean)).items():
            torch.testing.assert_close(weight, (parts[0][name] + parts[1][name]) / 2)
        assert content(self.out) == before
        befallen["fine-tuned and averaged"] += 1

    # ---- what must hold ---------------------------------------------------------------------------

    def run(self, plan: Plan):  # type: ignore[no-untyped-def]
        return train_recipe(plan.recipe, self.data, self.out, reporter=quiet(self.out))

    def tell(self, plan: Plan) -> None:
        self.told = [*self.told, plan] if self.told[-1:] != [plan] else self.told

    def counters(self) -> dict[str, Any]:
        """What the newest checkpoint says of where the run stands, but for the clocks."""
        found = checkpoints(self.out) if self.out.is_dir() else []
        counters = json.loads((found[-1] / "progress.json").read_text(encoding="utf-8")) if found else {}
        return {name: value for name, value in counters.items() if name not in CLOCKS}

    def newest(self) -> int | None:
        found = checkpoints(self.out) if self.out.is_dir() else []
        return step_of(found[-1]) if found else None

    def holds(self, newest: int | None) -> None:
        """No file of the user's was touched; the newest checkpoint is whole, and no older one than before."""
        lost = [
            path for path, data in self.foreign.items() if not path.is_file() or path.read_bytes() != data
        ]
        stored = [path.parent.with_name(f".{path.parent.name}.older") / path.name for path in lost]
        assert all(path.is_file() for path in stored), f"{lost} are gone"
        now = self.newest()
        assert newest is None or (now is not None and now >= newest), (
            f"checkpoint {newest} is lost, {now} is left"
        )
        if now is not None:
            last = checkpoints(self.out)[-1]
            for name in FILES:
                assert (last / name).is_file()
                if name.endswith(".safetensors"):
                    load_file(last / name)
        model, older = self.out / "model", self.out / ".model.older"
        cards = {path.read_bytes() for folder in (model, older) for path in folder.glob("card*.md")}
        assert self.cards <= cards, "an edited card is gone"
        if model.is_dir():
            load_model(model)

    def agrees(self, saved: SavedModel, step: int) -> None:
        """The folder, the card and the weights tell of one model, and of how it was really made."""
        loaded, recipe = load_model(self.out / "model"), self.plan.recipe
        best = load_file(self.out / "best.safetensors")
        made = weights(loaded)
        assert all(torch.equal(made[name], best[name]) for name in made)
        judged = TASKS["translate"](recipe)
        measures = judged.judge(loaded, judged.read(self.data, "valid")).measures
        card = saved.card
        assert f"- loss: {measures['loss']:.4g}\n" in card
        assert f"{loaded.training['updates']:,} updates" in card
        assert loaded.training["updates"] == step
        kept = (self.out / "recipe.toml").read_text(encoding="utf-8")
        assert (
            parse_recipe(kept).training == parse_recipe(card.split("```toml\n")[1].split("```")[0]).training
        )
        plans = {replace(plan, valid="one", steps=0) for plan in self.told}
        assert ("From update" in card) <= (len({replace(plan, valid="one") for plan in self.told}) > 1)
        if len(plans) == 1 and len({plan.steps for plan in self.told}) == 1:
            if len({plan.valid for plan in self.told}) == 1:
                now, expected = state(self.out), undisturbed(self.plan)
                different = [name for name in expected if now.get(name) != expected[name]]
                assert not different and now.keys() == expected.keys(), (
                    f"{different[:3]} not the same to the bit"
                )
                befallen["compared with an undisturbed run, bit by bit"] += 1
        leftovers = [
            path.name for path in self.out.iterdir() if path.name.startswith(".") or "partial" in path.name
        ]
        assert not leftovers, leftovers
