"""`limelight train`, `embed`, `models` and `data`, each on something tiny."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from limelight.modules.model_io import load_model
from limelight.modules.word_vectors import WordVectors
from limelight.recipes import train
from limelight.training.reporting import Reporter
from tests.recipes import small

Call = Callable[..., Any]
Model = Callable[[str], str]
Refused = Callable[..., str]

# ── train ──


@pytest.fixture
def to_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """The words of a command that trains a tiny classifier into tmp_path / "run"."""
    monkeypatch.setattr(Reporter, "_writer", lambda self: None)  # TensorBoard is slow to import
    recipe = tmp_path / "mine.toml"
    recipe.write_text(small.recipe_text("classify", steps=3, evaluate_every=2), encoding="utf-8")
    data = small.write_data("classify", tmp_path / "data")
    return "train", recipe, "--data", data, "--out", tmp_path / "run"


def test_training_ends_in_a_model_and_says_where(
    limelight: Call, to_train: tuple[object, ...], tmp_path: Path
) -> None:
    result = limelight(*to_train)
    assert result.exit_code == 0, result.output
    line = " ".join(result.stdout.split())
    assert line.startswith(f"{tmp_path / 'run' / 'model'}: ")
    assert "3 updates" in line
    assert "accuracy" in line
    assert result.stderr.count("accuracy") == 2  # one line an evaluation, as nobody watches a bar
    assert limelight("predict", "good", "--model", tmp_path / "run").exit_code == 0

    again = limelight(*to_train)
    assert again.exit_code == 0
    assert again.stderr == ""  # there was nothing left to do
    more = limelight(*to_train, "--steps", "5")
    assert "5 updates" in " ".join(more.stdout.split())


@pytest.mark.slow
def test_fine_tuning_begins_from_a_model(limelight: Call, to_train: tuple[object, ...], model: Model) -> None:
    result = limelight(
        *to_train, "--from", model("classify"), "--rate", "1e-9", "--seed", "7", "--threads", "1"
    )
    assert result.exit_code == 0, result.output
    assert "accuracy 1" in " ".join(result.stdout.split())


def test_a_model_of_another_task_is_refused(
    refused: Refused, to_train: tuple[object, ...], model: Model
) -> None:
    assert "cannot begin a run of 'classify'" in refused(*to_train, "--from", model("translate"))


def test_no_thread_is_refused(refused: Refused, to_train: tuple[object, ...]) -> None:
    line = refused(*to_train, "--threads", "0")
    assert "threads" in line
    assert "greater than or equal to 1" in line


def test_a_mean_is_made_and_set_beside_its_parts(limelight: Call, model: Model, tmp_path: Path) -> None:
    part = Path(model("classify"))
    other = copytree(part / "model", tmp_path / "other")
    data, out = part.parent / "data", tmp_path / "mean"
    result = limelight("average", part, other, "--data", data, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"{out}: loss" in result.stdout
    assert load_model(out).task == "classify"


def test_a_slip_in_a_recipe_is_named(refused: Refused, to_train: tuple[object, ...], tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(file.read_text(encoding="utf-8").replace("warmup", "warm_up"), encoding="utf-8")
    line = refused(*to_train)
    assert f"{file} [training]: unknown entry 'warm_up'; did you mean 'warmup'?" in line


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("transalte", "one of classify, language, pronounce, pronounce-again, translate"),
        ("x.toml", "No recipe"),
    ],
)
def test_a_recipe_that_is_not_there_is_refused(
    recipe: str, said: str, refused: Refused, tmp_path: Path
) -> None:
    assert said in refused("train", recipe, "--data", tmp_path, "--out", tmp_path / "run")


def test_missing_data_are_named(refused: Refused, tmp_path: Path) -> None:
    line = refused("train", "translate", "--data", tmp_path, "--out", tmp_path / "run")
    assert str(tmp_path / "train.tsv") in line
    assert "limelight data" in line


def test_a_folder_that_cannot_be_made_is_one_line(
    refused: Refused, to_train: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "run").write_text("a file", encoding="utf-8")
    assert str(tmp_path / "run") in refused(*to_train)


def test_a_stopped_training_says_that_it_goes_on(
    limelight: Call, to_train: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "train_recipe", stopped)
    result = limelight(*to_train)
    assert result.exit_code == 130
    assert result.stderr == "limelight: stopped. The same command goes on from here.\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(28, "No space left on device", "run/x"),
            "run/x: No space left on device. Make room for it, and give",
        ),
        (OSError(13, "Permission denied", "run/x"), "run/x: Permission denied."),
        (MemoryError(), "must fit into memory; it does not. .* (MemoryError)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "must fit into memory"),
        (
            UnicodeEncodeError("utf-8", "ab\ud83dcd", 2, 3, "surrogates not allowed"),
            "half of a UTF-16 pair: 'ab",
        ),
    ],
)
def test_what_comes_from_below_is_one_line(
    error: Exception,
    said: str,
    refused: Refused,
    to_train: tuple[object, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(train, "train_recipe", failing)
    line = refused(*to_train)
    assert all(part in line for part in said.split(".*"))


def test_a_training_that_ended_early_says_so(
    limelight: Call, to_train: tuple[object, ...], tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    text = file.read_text(encoding="utf-8")
    text = text.replace("[training]", "[training]\npatience = 1").replace(
        "evaluate_every = ", "evaluate_every = 1#"
    )
    file.write_text(re.sub("rate = .*", "rate = 1e-30", text), encoding="utf-8")
    result = limelight(*to_train, "--steps", 9)
    assert result.exit_code == 0
    assert "2 updates" in result.stdout
    assert "ended early: no better evaluation within the recipe's patience" in result.stdout


# ── embed ──


def test_vectors_are_trained_and_looked_up(limelight: Call, tmp_path: Path) -> None:
    pytest.importorskip("gensim")
    corpus, file = tmp_path / "texts", tmp_path / "vectors.txt"
    corpus.mkdir()
    (corpus / "a.txt").write_text(f"{small.SENTENCE}\n" * 7, encoding="utf-8")
    (corpus / "b.txt").write_text("Word by word.\n" * 7, encoding="utf-8")
    made = limelight("embed", "train", corpus, "--out", file, "--width", 5, "--epochs", 1, "--seed", 3)
    assert (made.exit_code, made.stderr) == (0, "")
    vectors = WordVectors.load(file)
    assert made.stdout == f"{file}: {len(vectors)} words, 5 numbers each\n"
    assert "by" in vectors

    shown = limelight("embed", "nearest", file, "light", "--count", 3)
    expected = vectors.nearest("light", 3)
    assert [line.split()[:2] for line in shown.stdout.splitlines()[1:]] == [
        [str(rank), word] for rank, (word, _) in enumerate(expected, 1)
    ]
    data = json.loads(limelight("embed", "nearest", file, "light", "--count", 3, "--json").stdout)
    assert data == [{"word": word, "cosine": cosine} for word, cosine in expected]


def test_a_word_without_a_vector_names_its_neighbours(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "vectors.txt").write_text("2 1\nlight 0.5\nword -1\n", encoding="utf-8")
    assert "Near spellings: light" in refused("embed", "nearest", tmp_path / "vectors.txt", "lihgt")
    assert "count of at least 1" in refused(
        "embed", "nearest", tmp_path / "vectors.txt", "light", "--count", 0
    )


def test_a_corpus_that_is_not_there_is_named(refused: Refused, tmp_path: Path) -> None:
    beforehand = refused("embed", "train", tmp_path / "nowhere.txt", "--out", tmp_path / "no" / "vectors.txt")
    assert "folder must exist" in beforehand
    line = refused("embed", "train", tmp_path / "nowhere.txt", "--out", tmp_path / "vectors.txt")
    assert str(tmp_path / "nowhere.txt") in line


# ── models ──


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the tiny classifier comes with the package."""
    (tmp_path / "tiny").symlink_to(small.trained("classify")[2] / "out" / "model")
    monkeypatch.setattr("limelight.models.FOLDER", tmp_path)


@pytest.mark.usefixtures("shelf")
def test_models_are_listed(limelight: Call) -> None:
    saved = small.trained("classify")[0]
    result = limelight("models")
    assert result.exit_code == 0
    _, line = result.stdout.splitlines()  # a heading, and one line a model
    assert line.split()[:3] == ["tiny", "classify", f"{saved.parameters:,}"]
    assert line.rstrip().endswith("/tiny")
    (data,) = json.loads(limelight("models", "--json").stdout)
    assert data == {
        "name": "tiny",
        "task": "classify",
        "parameters": saved.parameters,
        "training": saved.training,
    }


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize("folder", [False, True])
def test_a_models_card_is_shown(limelight: Call, model: Model, folder: bool) -> None:
    result = limelight("models", model("classify") if folder else "tiny")
    assert result.exit_code == 0
    shown = " ".join(result.stdout.split())
    assert "blame, doubt, praise" in shown
    assert "\x1b" not in shown


@pytest.mark.usefixtures("shelf")
def test_a_model_that_is_not_there_names_those_that_are(refused: Refused) -> None:
    assert "or one of tiny" in refused("models", "tinny")


# ── data ──


def test_a_data_set_that_is_not_there_names_those_that_are(refused: Refused, tmp_path: Path) -> None:
    line = refused("data", "pronounciation", "--out", tmp_path)
    assert "one of general-en, " in line
    assert "translate-en-de; got 'pronounciation'" in line


@pytest.mark.parametrize(("name", "tool"), [("pronounce", "pip"), ("translate-en-de", "apt-get")])
def test_without_a_network_there_is_one_clear_line(
    name: str, tool: str, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(command: list[str], **_: object) -> None:
        said = "WARNING: Retrying\nERROR: Temporary failure in name resolution\n"
        raise subprocess.CalledProcessError(100, command, "", said)

    monkeypatch.setattr(subprocess, "run", no_network)
    line = refused("data", name, "--out", tmp_path / "corpus")
    assert "ERROR: Temporary failure in name resolution" in line
    assert tool in line
    assert not (tmp_path / "corpus").exists()
