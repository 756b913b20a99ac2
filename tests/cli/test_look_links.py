"""`limelight look --pharaoh` and `--tsv`: links of the tokens between spaces, a line out for every line in."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from limelight.cli.look_links import _sides
from limelight.errors import InputError
from limelight.looking.look import look
from limelight.looking.word_alignment import SpacedTokens, align, is_tokenized, token_groups
from limelight.predicting.predictor import Predictor
from limelight.readings import alignment
from tests.recipes import small

Call = Callable[..., Any]
Model = Callable[[str], str]
SOURCES = ["green cats run", "", "red birds ( now )", "now here"]
TARGETS = ["green cats run", "", "red birds ( now )", "now here"]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    source, target, both = (tmp_path / name for name in ("s.txt", "t.txt", "both.tsv"))
    source.write_text("\n".join(SOURCES) + "\n", encoding="utf-8")
    target.write_text("\n".join(TARGETS) + "\n", encoding="utf-8")
    pairs = [f"{one}\t{other}" if one else "" for one, other in zip(SOURCES, TARGETS, strict=True)]
    both.write_text("\n".join(pairs) + "\n", encoding="utf-8")
    return source, target, both


def expected() -> list[str]:
    """From the dense weights of the chosen heads: the highest column of each row of tokens."""
    predictor = Predictor(small.trained("translate")[0])
    [chosen] = [look(predictor, ["green cats"])[0]]
    heads = chosen.alignment.heads if chosen.alignment is not None else None
    lines = []
    for source, target in zip(SOURCES, TARGETS, strict=True):
        if not source:
            lines.append("")
            continue
        trace = predictor.trace(predictor.score(source, target))
        assert trace.target is not None
        sides = token_groups(trace.target), token_groups(trace.source)
        table = alignment(trace.layers("cross"), *sides, heads).raw.values
        lines.append(" ".join(f"{row.argmax()}-{number}" for number, row in enumerate(table)))
    return lines


def test_every_line_has_its_links(limelight: Call, model: Model, files: tuple[Path, Path, Path]) -> None:
    source, target, both = files
    of_two = limelight("look", source, "--answer", target, "--model", model("translate"), "--pharaoh")
    of_one = limelight("look", both, "--model", model("translate"), "--pharaoh")
    assert of_two.exit_code == of_one.exit_code == 0, of_two.stderr
    assert of_two.stdout == of_one.stdout
    lines = of_two.stdout.removesuffix("\n").split("\n")
    assert lines == expected()
    assert lines[1] == "" and [pair.split("-")[1] for pair in lines[2].split()] == list("01234")


def test_a_table_has_tokens_weights_and_characters(
    limelight: Call, model: Model, files: tuple[Path, Path, Path]
) -> None:
    result = limelight("look", files[2], "--model", model("translate"), "--tsv")
    assert result.exit_code == 0, result.stderr
    rows = list(csv.DictReader(result.stdout.splitlines(), delimiter="\t"))
    assert {row["line"] for row in rows} == {"1", "3", "4"}
    for row in rows:
        source, target = (side[int(row["line"]) - 1] for side in (SOURCES, TARGETS))
        assert source[int(row["source start"]) : int(row["source end"])] == row["source token"]
        assert target[int(row["target start"]) : int(row["target end"])] == row["target token"]
        assert 0 < float(row["weight"]) <= 1
    pharaoh = limelight("look", files[2], "--model", model("translate"), "--pharaoh").stdout.split()
    assert [f"{row['source']}-{row['target']}" for row in rows] == pharaoh


@pytest.mark.parametrize("between", ["\t", " ||| "])
def test_pairs_come_through_a_pipe(limelight: Call, model: Model, between: str) -> None:
    given = f"green cats{between}green cats\r\n\r\nnow here{between}now here\r\n"
    result = limelight("look", "--model", model("translate"), "--pharaoh", given=given)
    assert result.exit_code == 0, result.stderr
    assert [len(line.split()) for line in result.stdout.removesuffix("\n").split("\n")] == [2, 0, 2]


def test_a_pipe_of_pairs_is_read_as_a_file_is(limelight: Call, refused: Call, model: Model) -> None:
    words = "look", "-", "--model", model("translate"), "--pharaoh"
    marks = limelight(*words, given="\ufeffgreen cats\tgreen cats\r\r\n\ufeffnow\tnow")
    assert (marks.exit_code, marks.stdout.count("\n")) == (0, 2)
    assert "know" not in marks.stderr
    nothing = limelight(*words, given="")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "line 2: text must have no NUL" in refused(*words, given="a\tb\na\0\tb\n")
    assert "UTF-16" in refused(*words, given="a\tb\n".encode("utf-16"))


@pytest.mark.parametrize(
    ("line", "sides"),
    [
        ("a b ||| c", ("a b", "c")),
        ("||| c", ("", "c")),
        ("a b |||", ("a b", "")),
        ("|||", ("", "")),
        (" \t", (" ", "")),
    ],
)
def test_a_blank_side_may_have_lost_its_space(line: str, sides: tuple[str, str]) -> None:
    assert _sides(line, 1) == sides


def test_two_marks_in_one_line_are_refused() -> None:
    with pytest.raises(InputError, match=r"line 7 has a tab and \|\|\|"):
        _sides("a\tb ||| c", 7)


def test_what_has_no_link_is_told(limelight: Call, model: Model, tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text("green cats\t\nnow\tnow\n", encoding="utf-8")
    result = limelight("look", file, "--model", model("translate"), "--pharaoh")
    assert result.stdout.split("\n")[0] == ""
    assert "line 1: one side is blank" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["green cats", "--pharaoh"], "line 1 must be SOURCE, a tab, TARGET"),
        (["a b", "--answer", "c", "--answer", "d", "--pharaoh"], "there are 2 for 1 texts"),
        (["a\tb", "--pharaoh", "--json"], "prints links and nothing else: leave --json out"),
        (["a\tb", "--pharaoh", "--tsv"], "leave --pharaoh out"),
    ],
)
def test_what_cannot_be_linked_is_refused(limelight: Call, model: Model, words: list[str], said: str) -> None:
    result = limelight("look", *words, "--model", model("translate"))
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_a_model_that_writes_no_translation_is_refused(limelight: Call, model: Model) -> None:
    result = limelight("look", "a\tb", "--model", model("classify"), "--pharaoh")
    assert result.exit_code == 2 and "writes one text for another" in result.stderr


# ── Words of a text that is cut by spaces ──


def test_a_given_pair_that_is_cut_by_spaces_keeps_its_tokens(limelight: Call, model: Model) -> None:
    given = "red cats ( now , here ) ."
    result = limelight("look", given, "--answer", given, "--model", model("translate"), "--json")
    [data] = json.loads(result.stdout)
    assert data["alignment"]["raw"]["labels"] == [given.split(), given.split()]
    for side in ("source", "target"):
        assert [given[start:end] for start, end in data["spans"][side]] == given.split()
    assert "between spaces" in data["heads"]


@pytest.mark.parametrize("task", ["translate", "language"])
def test_words_have_their_characters(task: str) -> None:
    [found] = look(Predictor(small.trained(task)[0]), ["the light" if task == "language" else "red cats"])
    assert found.alignment is not None
    for names, spans in zip((found.alignment.targets, found.alignment.sources), found.spans, strict=True):
        assert [end - start for start, end in spans] == [len(name) for name in names]
    if task == "translate":
        assert [found.prediction.source[a:b] for a, b in found.spans[1]] == list(found.alignment.sources)
        assert [found.prediction.text[a:b] for a, b in found.spans[0]] == list(found.alignment.targets)


def test_tokens_are_what_stands_between_spaces() -> None:
    assert SpacedTokens.of("  a\u00a0b  c\t").names == ("a\u00a0b", "c")
    assert SpacedTokens.of("  a\u00a0b  c\t").spans == ((2, 5), (7, 8))
    for text, tokenized in (
        ("It &apos;s a file.txt .", True),
        ("A file.", False),
        ("a b", False),
        ("", False),
    ):
        assert is_tokenized(text) is tokenized
    predictor = Predictor(small.trained("translate")[0])
    assert [found.pharaoh() for found in align(predictor, [("", ""), (" ", "now")])] == ["", ""]


def test_of_no_line_there_is_no_line(limelight: Call, model: Model) -> None:
    result = limelight("look", "-", "--model", model("translate"), "--pharaoh", given="")
    assert (result.exit_code, result.stdout) == (0, "")
