"""`limelight predict`: texts from the command, a file or a pipe; searched for or drawn."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from limelight.cli import predict
from limelight.cli.messages import tell_unknown
from limelight.errors import InputError
from limelight.predicting.predictor import Prediction, Predictor
from limelight.predicting.sampling import Sampling
from limelight.text.tokenizers import Tokenizer
from tests.recipes import small

Call = Callable[..., Any]
Model = Callable[[str], str]


def test_one_line_a_text_in_their_order(limelight: Call, model: Model) -> None:
    result = limelight("predict", "bad", "sit", "a", "--model", model("pronounce"))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "B AH D\nS IY T\nAH\n", "")


def test_every_kind_of_model_answers(limelight: Call, model: Model) -> None:
    assert limelight("predict", "green cats", "--model", model("translate")).stdout == "green cats\n"
    assert limelight("predict", "red bad now", "--model", model("classify")).stdout == "blame\n"
    assert limelight("predict", "falls on", "--model", model("language")).stdout.startswith(" every word and")


def test_lines_come_from_a_file(limelight: Call, model: Model, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("bad\r\n\nsit\nab\u2028ba\n", encoding="utf-8")
    result = limelight("predict", tmp_path / "words.txt", "--model", model("pronounce"))
    assert result.stdout.splitlines()[:3] == ["B AH D", "", "S IY T"]
    assert len(result.stdout.split("\n")) == 4 + 1  # a line separator of Unicode ends no line of a file


def test_lines_come_through_a_pipe_and_blank_ones_keep_their_place(limelight: Call, model: Model) -> None:
    result = limelight("predict", "--model", model("pronounce"), given="\nbad\n\nsit\n\n")
    assert (result.exit_code, result.stdout) == (0, "\nB AH D\n\nS IY T\n\n")
    shown = limelight("predict", "--model", model("pronounce"), "--json", given="bad\n\nsit").stdout
    assert [json.loads(line)["text"] for line in shown.splitlines()] == ["B AH D", "", "S IY T"]


def test_of_several_answers_each_stands_on_one_line(
    limelight: Call, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = Predictor.predict

    def in_lines(*given: Any, **options: Any) -> Any:
        return [replace(answer, text="one\ntwo\r\n\nthree") for answer in answered(*given, **options)]

    monkeypatch.setattr(Predictor, "predict", in_lines)
    shown = limelight("predict", "bad", "sit", "--model", model("pronounce"))
    assert shown.stdout == "one two  three\n" * 2
    assert limelight("predict", "bad", "--model", model("pronounce")).stdout.split() == [
        "one",
        "two",
        "three",
    ]


def test_a_line_is_answered_with_the_spaces_that_it_has(limelight: Call, model: Model) -> None:
    shown = limelight("predict", "--model", model("pronounce"), "--json", given="  bad \n").stdout
    assert json.loads(shown)["source"] == "  bad "


def test_letters_that_the_model_does_not_know_are_counted(limelight: Call, model: Model) -> None:
    result = limelight("predict", "bad", "bïd😀", "--model", model("pronounce"))
    assert result.exit_code == 0
    assert result.stderr == "note: 2 characters in the input that this model does not know: ï 😀\n"
    result = limelight("predict", "BAd", "--model", model("pronounce"))
    assert (
        result.stderr == "note: 2 characters in the input that this model does not know: B A; it knows b a\n"
    )
    result = limelight("predict", "red zebras", "--model", model("translate"))
    assert result.stderr == "note: 1 word in the input that this model does not know: zebras\n"


def test_json_has_one_object_a_line(limelight: Call, model: Model) -> None:
    result = limelight("predict", "bad", "größe", "--model", model("pronounce"), "--json")
    data = [json.loads(line, parse_constant=pytest.fail) for line in result.stdout.splitlines()]
    found = Predictor(small.trained("pronounce")[0]).predict(["bad", "größe"])
    assert data == [
        {"line": number} | json.loads(json.dumps(each.to_json())) for number, each in enumerate(found, 1)
    ]
    assert "größe" in result.stdout


def test_what_is_drawn_depends_on_the_seed_alone(limelight: Call, model: Model) -> None:
    def drawn(seed: int) -> str:
        words = (
            "predict",
            "the",
            "--model",
            model("language"),
            "--sample",
            "--temperature",
            3,
            "--seed",
            seed,
        )
        return limelight(*words).stdout

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(5)}) > 1


def test_a_careful_draw_is_the_likeliest_answer(limelight: Call, model: Model) -> None:
    words = ("predict", "bad", "--model", model("pronounce"), "--sample")
    assert limelight(*words, "--temperature", "0.01").stdout == "B AH D\n"
    assert limelight(*words, "--top-k", "1").stdout == "B AH D\n"


def test_a_drawn_answer_has_no_probability_in_json(limelight: Call, model: Model) -> None:
    result = limelight("predict", "bad", "--model", model("pronounce"), "--sample", "--json")
    assert json.loads(result.stdout, parse_constant=pytest.fail)["log_probability"] is None


def test_the_longest_answer_can_be_bounded(limelight: Call, model: Model) -> None:
    words = ("predict", "falls on", "--model", model("language"), "--beam", 1)
    assert limelight(*words, "--longest", 3).stdout == " every word and\n"


@pytest.mark.parametrize("seed", range(3))
def test_what_comes_piece_by_piece_is_the_drawn_answer(seed: int) -> None:
    # What a terminal is shown with --sample, where a pipe gets whole lines.
    predictor, sampling = Predictor(small.trained("language")[0]), Sampling(temperature=3, seed=seed)
    pieces = list(predictor.stream("the light", sampling, 12))
    assert len(pieces) > 1
    assert "".join(pieces) == predictor.predict(["the light"], sampling=sampling)[0].text


@pytest.mark.parametrize(
    ("words", "streamed"),
    [(("--beam", 1), True), (("--sample",), True), (("--beam", 2), False), (("--beam", 1, "--json"), False)],
)
def test_a_terminal_is_shown_the_answer_as_it_comes(
    words: tuple[object, ...],
    streamed: bool,
    limelight: Call,
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[str] = []

    def stream(self: Predictor, text: str, *_: object) -> Generator[str, None, Prediction]:
        heard.append(text)
        yield from ("piece ", "by piece")
        return Prediction(text, "piece by piece", 0.0, [], [])

    monkeypatch.setattr(Predictor, "stream", stream)
    monkeypatch.setattr(predict, "_to_terminal", lambda: True)
    result = limelight("predict", "bad", "--model", model("pronounce"), *words)
    assert result.exit_code == 0
    assert heard == ["bad"] * streamed
    assert (result.stdout == "piece by piece\n") == streamed


def test_a_classifier_writes_nothing_piece_by_piece() -> None:
    with pytest.raises(InputError, match="task 'classify' writes no text"):
        next(Predictor(small.trained("classify")[0]).stream("good", Sampling()))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--beam", "0"), "beam must be from 1 to 1,000, longest at least 1; got beam = 0"),
        (("--beam", "1000000"), "beam must be from 1 to 1,000"),
        (("--longest", "0"), "longest = 0"),
        (("--sample", "--longest", "0"), "longest = 0"),
        (("--top-k", "3"), "got --top-k without it"),
        (("--temperature", "0.5", "--seed", "0"), "got --temperature, --seed without it"),
        (("--sample", "--temperature", "0"), "temperature must be above 0"),
        (("--sample", "--top-p", "1.5"), "top_p above 0 up to 1"),
        (("--sample", "--top-k", "-1"), "top_k must be 0 (all) or more"),
        (("--sample", "--beam", "5"), "is not searched for: --beam means nothing"),
        (("--sample", "--length-penalty", "1"), "is not searched for: --length-penalty"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: tuple[str, ...], said: str, refused: Callable[..., str], model: Model
) -> None:
    assert said in refused("predict", "bad", "--model", model("pronounce"), *words)


def test_a_classifier_is_asked_for_no_longest_answer(refused: Callable[..., str], model: Model) -> None:
    line = refused("predict", "good", "--model", model("classify"), "--longest", 3, "--sample")
    assert "A classifier writes nothing: --longest, --sample means nothing" in line


def test_a_named_pipe_is_a_file(limelight: Call, model: Model, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("sit\n",))
    writer.start()
    result = limelight("predict", tmp_path / "pipe", "bad", "--model", model("pronounce"))
    writer.join()
    assert result.exit_code == 0
    assert result.stdout == "S IY T\nB AH D\n"


def test_what_is_not_known_reaches_no_terminal_as_a_command(limelight: Call, model: Model) -> None:
    result = limelight("predict", "bad\x1b[31m", "--model", model("pronounce"))
    assert "\x1b" not in result.stderr and "does not know" in result.stderr


def test_texts_and_files_are_answered_in_their_order(limelight: Call, model: Model, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("sit\n\n", encoding="utf-8")
    result = limelight("predict", "bad", tmp_path / "words.txt", "a", "--model", model("pronounce"))
    assert result.stdout == "B AH D\nS IY T\n\nAH\n"


def test_an_empty_pipe_is_refused(refused: Callable[..., str], model: Model) -> None:
    assert "no line with text" in refused("predict", "--model", model("pronounce"), given="\n \n")


def test_a_pipe_that_is_no_text_is_refused(refused: Callable[..., str], model: Model) -> None:
    line = refused("predict", "--model", model("pronounce"), given=b"gr\xf6\xdfe\n")
    assert "found the byte(s) F6" in line
    assert "iconv" in line
    assert "NUL" in refused("predict", "--model", model("pronounce"), given=b"a\0b\n")


def test_a_pipe_is_read_as_a_file_is(limelight: Call, model: Model) -> None:
    given = b"\xef\xbb\xbfbad\r\nsit\r\n"  # with the mark and the line ends of Windows
    assert limelight("predict", "--model", model("pronounce"), given=given).stdout == "B AH D\nS IY T\n"


def test_a_dash_stands_for_the_pipe(limelight: Call, refused: Call, model: Model) -> None:
    result = limelight("predict", "a", "-", "--model", model("pronounce"), given="bad\n\nsit\n")
    assert result.stdout == "AH\nB AH D\n\nS IY T\n"
    assert "no line with text" in refused("predict", "-", "--model", model("pronounce"), given="")


def test_white_space_at_the_ends_of_a_line_changes_no_answer(limelight: Call, model: Model) -> None:
    result = limelight("predict", "--model", model("pronounce"), given="  bad\n\tsit \n\u00a0a\n")
    assert (result.stdout, result.stderr) == ("B AH D\nS IY T\nAH\n", "")


def test_what_cannot_be_seen_is_named_by_its_number(limelight: Call, model: Model) -> None:
    result = limelight("predict", "bad sit", "a\u200db\u0301", "--model", model("pronounce"))
    assert "does not know: U+0020 U+200D U+0301\n" in result.stderr


def test_a_file_that_is_not_there_is_named(refused: Callable[..., str], model: Model, tmp_path: Path) -> None:
    line = refused("predict", tmp_path / "nowhere.txt", "--model", model("pronounce"))
    assert str(tmp_path / "nowhere.txt") in line


# ── Nothing is lost, nothing is silent ──


def test_a_file_of_one_line_gives_one_line(
    limelight: Call, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_lines(self: Predictor, texts: list[str], **_: object) -> list[Prediction]:
        return [Prediction(text, "one\ntwo\rthree\u2028four", 0.0, [], []) for text in texts]

    monkeypatch.setattr(Predictor, "predict", in_lines)
    (tmp_path / "one.txt").write_text("bad\n")
    words = ("predict", "--model", model("pronounce"))
    assert limelight(*words, tmp_path / "one.txt").stdout == "one two three\u2028four\n"
    assert limelight(*words, given="bad").stdout == "one two three\u2028four\n"
    assert limelight(*words, "bad").stdout.count("\n") == 2  # a text in the command is not a line of a file


def test_a_cut_answer_is_told_by_its_line(limelight: Call, model: Model, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("a\n\nbad\nsit\n")
    words = ("predict", tmp_path / "words.txt", "--model", model("pronounce"), "--beam", 1, "--longest", 2)
    result = limelight(*words)
    assert len(result.stdout.split("\n")) == 4 + 1
    assert "note: 2 of 3 answers are cut at the longest length allowed: line 3 of" in result.stderr
    shown = [json.loads(line) for line in limelight(*words, "--json").stdout.splitlines()]
    assert [(each["line"], each["cut"]) for each in shown] == [(1, False), (2, False), (3, True), (4, True)]


def test_an_answer_cut_where_learned_positions_end_is_told_so(
    limelight: Call, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limelight.predicting.limits.last_position", lambda model: 3)
    result = limelight("predict", "ab", "--model", model("pronounce"))
    assert (
        "the answer is cut at the end of the 3 positions that the model has learned: text 1; split"
        in result.stderr
    )
    assert "--longest" not in result.stderr


def test_a_prompt_beyond_the_window_is_told(limelight: Call, model: Model) -> None:
    long = ("the light falls on every word " * 11).strip()
    result = limelight("predict", long, "--model", model("language"), "--longest", 3)
    assert "than the 61 tokens that the model was trained to read at once" in " ".join(result.stderr.split())
    assert (
        limelight("predict", "falls on", "--model", model("language"), "--longest", 3).stderr.count("61") == 0
    )


def test_how_an_answer_begins_can_be_given(
    limelight: Call, model: Model, refused: Callable[..., str]
) -> None:
    words = ("predict", "bad", "sit", "--model", model("pronounce"))
    shown = limelight(*words, "--prefix", "S AH").stdout.splitlines()
    assert [each.split()[:2] for each in shown] == [["S", "AH"], ["S", "AH"]]
    shown = limelight(*words, "--prefix", "B", "--prefix", "S IY").stdout.splitlines()
    assert shown == ["B AH D", "S IY T"]
    assert "3 for 2 texts" in refused(*words, *("--prefix", "B") * 3)
    assert "holds what this model cannot write: XX" in refused(*words, "--prefix", "B XX")


def test_letters_known_in_another_normal_form_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = Tokenizer.train(["caf\u00e9"], "characters")
    tell_unknown(tokenizer, ["cafe\u0301"])
    assert "it knows all of it in the normal form NFC" in capsys.readouterr().err
    tell_unknown(tokenizer, ["x"])
    assert "NFC" not in capsys.readouterr().err


def test_a_tab_in_a_text_is_told(limelight: Call, model: Model, tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("green cats\tgrün\nred bad\n", encoding="utf-8")
    result = limelight("predict", tmp_path / "pairs.tsv", "--model", model("translate"))
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)
    assert "note: a text holds a tab" in result.stderr and "--pharaoh" in result.stderr
    assert "tab" not in limelight("predict", "green cats", "--model", model("translate")).stderr
