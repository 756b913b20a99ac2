"""`limelight look`: on the screen, as a picture, as JSON; from words, from a file."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from limelight.cli.look import DEFAULT_MODEL
from limelight.looking.look import look
from limelight.models import shipped_models
from limelight.predicting.predictor import Prediction, Predictor
from tests.recipes import small

Call = Callable[..., Any]
Model = Callable[[str], str]

# ── On the screen ──


def test_the_answer_its_words_and_their_ranks(limelight: Call, model: Model) -> None:
    result = limelight("look", "green cats run", "--model", model("translate"))
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert "answer  green cats run" in lines
    assert "rank 1 = highest" in result.stdout
    for word in ("green", "cats", "run"):
        assert any(line.split()[:2] == [word, word] for line in lines)
    assert "chosen by" in " ".join(result.stdout.split())


@pytest.mark.slow
def test_nothing_but_text_comes_through_a_pipe(limelight: Call, model: Model) -> None:
    for task, text in (("translate", "red cats"), ("classify", "good"), ("language", "the light")):
        assert "\x1b" not in limelight("look", text, "--model", model(task)).output


def test_markup_is_text(limelight: Call, model: Model) -> None:
    result = limelight("look", "red [bold]cats[/bold] größe 😀", "--model", model("classify"))
    assert result.exit_code == 0
    assert "red [bold]cats[/bold] größe 😀" in result.stdout


def test_without_a_text_a_sample_is_looked_at(limelight: Call, model: Model) -> None:
    result = limelight("look", "--model", model("classify"))
    assert result.exit_code == 0
    assert "Save" in result.stdout


def test_the_default_model_comes_with_the_package() -> None:
    assert DEFAULT_MODEL in shipped_models()


# ── As JSON ──


def test_json_is_what_the_library_gives(limelight: Call, model: Model) -> None:
    texts = ["green cats run", "now here"]
    result = limelight("look", *texts, "--model", model("translate"), "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    data = json.loads(result.stdout, parse_constant=pytest.fail)
    expected = [each.to_json() for each in look(Predictor(small.trained("translate")[0]), texts)]
    assert data == json.loads(json.dumps(expected))


# ── From a file ──


def test_each_line_of_a_file_is_looked_at(limelight: Call, model: Model, tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("\ufeffgreen cats\r\n\r\n  now here\n", encoding="utf-8")
    result = limelight("look", file, "red birds", "--model", model("translate"), "--json")
    looks = json.loads(result.stdout)
    sources = [each["prediction"]["source"] for each in looks]
    assert sources == ["green cats", "  now here", "red birds"]
    assert [each["line"] for each in looks] == [1, 3, 4]
    limelight("look", file, "red birds", "--model", model("translate"), "--svg", tmp_path / "look.svg")
    assert {path.name for path in tmp_path.glob("*.svg")} == {"look-1.svg", "look-3.svg", "look-4.svg"}


def test_of_many_lines_one_without_an_answer_is_told_and_passed_over(
    limelight: Call, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = Predictor.predict

    def silent(self: Predictor, texts: list[str], **options: Any) -> list[Prediction]:
        answers = predict(self, texts, **options)
        return [replace(each, text="", target_ids=[]) if "[red]" in each.source else each for each in answers]

    monkeypatch.setattr(Predictor, "predict", silent)
    words = ("--model", model("translate"), "--json")
    result = limelight("look", "green cats", "the [red] cats", "now here", *words)
    assert result.exit_code == 0, result.output
    sources = [each["prediction"]["source"] for each in json.loads(result.stdout)]
    assert sources == ["green cats", "now here"]
    assert "note: There is nothing to look at: the answer to 'the [red] cats'" in result.stderr
    assert limelight("look", "the [red] cats", *words).exit_code == 2  # alone it is an error


def test_a_file_that_is_no_text_is_refused(refused: Callable[..., str], model: Model, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"\xff\xfe\x00")
    assert "UTF-16" in refused("look", tmp_path / "data.bin", "--model", model("translate"))


@pytest.mark.parametrize("name", ["nowhere.txt", "NOTES.md", "texts/nowhere", "./a.out"])
def test_a_mistyped_file_name_is_not_looked_at_as_a_text(
    name: str, refused: Callable[..., str], limelight: Call, model: Model
) -> None:
    line = refused("look", name, "--model", model("classify"))
    assert f"There is no such file: {name}" in line
    assert limelight("look", f"{name} ", "--model", model("classify")).exit_code == 0  # as it says


def test_a_folder_is_refused_and_a_word_that_is_also_a_folder_is_not(
    refused: Callable[..., str],
    limelight: Call,
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "is a folder" in refused("look", tmp_path, "--model", model("classify"))
    (tmp_path / "good").mkdir()
    monkeypatch.chdir(tmp_path)
    assert limelight("look", "good", "--model", model("classify")).exit_code == 0


def test_answers_stay_with_their_lines(limelight: Call, model: Model, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("red cats\n\ndogs run\n", encoding="utf-8")
    (tmp_path / "answers.txt").write_text("cats run\n\nrun now\n", encoding="utf-8")
    words = ("look", tmp_path / "texts.txt", "--model", model("translate"), "--json", "--answer")
    found = json.loads(limelight(*words, tmp_path / "answers.txt").stdout)
    pairs = [(each["prediction"]["source"], each["prediction"]["text"]) for each in found]
    assert pairs == [("red cats", "cats run"), ("dogs run", "run now")]
    (tmp_path / "answers.txt").write_text("cats run\nrun now\n", encoding="utf-8")
    said = limelight(*words, tmp_path / "answers.txt").stderr
    assert "line by line; there are 2 for 3 texts" in said


def test_words_that_the_model_does_not_know_are_counted(limelight: Call, model: Model) -> None:
    result = limelight("look", "good zebras/lions zebras", "--model", model("classify"))
    assert result.exit_code == 0
    assert result.stderr == "note: 2 words in the input that this model does not know: zebras/lions zebras\n"
    words = ("look", "green cats run", "--answer", "zebras run", "--model", model("translate"))
    said = limelight(*words).stderr
    assert "in the given answer that this model does not know: zebras\n" in said


def test_a_text_too_long_to_be_a_path_is_a_text(limelight: Call, model: Model) -> None:
    result = limelight("look", "good " * 61, "--model", model("classify"), "--json")
    assert json.loads(result.stdout)[0]["prediction"]["text"] == "praise"


# ── As a picture ──


def test_pictures_are_real(limelight: Call, model: Model, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    png, svg = tmp_path / "look.png", tmp_path / "look.svg"
    result = limelight("look", "green cats", "--model", model("translate"), "--png", png, "--svg", svg)
    assert result.exit_code == 0
    assert f"picture: {png}" in result.stderr
    data = png.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert min(width, height) > 100
    text = "".join(ElementTree.parse(svg).getroot().itertext())
    assert "green" in text
    assert "cats" in text


@pytest.mark.slow
def test_several_texts_give_numbered_pictures(limelight: Call, model: Model, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = limelight(
        "look", "good", "bad red", "--model", model("classify"), "--svg", tmp_path / "look.svg"
    )
    assert result.exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["look-1.svg", "look-2.svg"]


@pytest.mark.parametrize(
    ("option", "name", "said"),
    [
        ("--png", "look.jpg", "must end in .png; got 'look.jpg'"),
        ("--svg", "look.png", "must end in .svg; got 'look.png'"),
        ("--png", "nowhere/look.png", "folder must exist"),
        ("--png", "folder.png", "folder.png is a folder"),
        ("--png", "look.png", "pip install 'limelight[plot]'"),
    ],
)
def test_a_picture_that_cannot_be_is_refused_before_anything_is_computed(
    option: str,
    name: str,
    said: str,
    refused: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    monkeypatch.setattr(Predictor, "load", pytest.fail)
    (tmp_path / "folder.png").mkdir()
    assert said in refused("look", "good", option, tmp_path / name)


# ── Heads ──


def test_a_head_can_be_chosen(limelight: Call, model: Model) -> None:
    result = limelight("look", "green cats", "--model", model("translate"), "--head", "0.1", "--json")
    (data,) = json.loads(result.stdout)
    (expected,) = look(Predictor(small.trained("translate")[0]), ["green cats"], heads=[(0, 1)])
    assert data["alignment"] == json.loads(json.dumps(expected.to_json()))["alignment"]


@pytest.mark.parametrize("word", ["2", "one.two", "1.2.3", "", "0.x"])
def test_a_head_is_written_as_layer_and_head(word: str, refused: Callable[..., str], model: Model) -> None:
    line = refused("look", "green cats", "--model", model("translate"), "--head", word)
    assert f"--head takes LAYER.HEAD, both counted from 0, such as 2.1; got {word}" in line


@pytest.mark.parametrize("word", ["2.1", "0.7", "-1.0"])
def test_a_head_that_the_model_has_not_is_refused(
    word: str, refused: Callable[..., str], model: Model
) -> None:
    line = refused("look", "green cats", "--model", model("translate"), f"--head={word}")
    layer, head = word.split(".")
    assert f"there is no layer {layer} head {head}" in line


# ── Refusals ──


@pytest.mark.parametrize("text", ["", "   ", "\t\n"])
def test_a_text_of_spaces_is_refused(text: str, refused: Callable[..., str], model: Model) -> None:
    assert "nothing to look at" in refused("look", text, "--model", model("translate"))


def test_a_model_that_is_not_there_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    line = refused("look", "green", "--model", tmp_path / "nowhere")
    assert "No model" in line
    assert "limelight train" in line


def test_a_beam_of_nothing_is_refused(refused: Callable[..., str], model: Model) -> None:
    assert "beam" in refused("look", "green", "--model", model("translate"), "--beam", "0")
