"""`limelight look` at documents with other people's models, and `limelight atlas`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from shutil import copytree
from tempfile import mkdtemp
from typing import Any

import pytest
import torch
from rich.console import Console

from limelight.cli.arguments import named_documents
from limelight.cli.messages import how_far
from limelight.errors import InputError
from limelight.readings.atlas import MEASURES
from tests.capture import foreign
from tests.looking import constructed

pytest.importorskip("transformers")
Call = Callable[..., Any]


@cache
def saved(kind: str) -> str:
    """The folder of a model whose attention is known, as `save_pretrained` writes it."""
    folder = mkdtemp(prefix=f"limelight-{kind}-")
    made = constructed.encoder() if kind == "encoder" else constructed.decoder()
    made.save_pretrained(folder)
    constructed.tokenizer(special=kind == "encoder").save_pretrained(folder)
    return folder


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for name, text in constructed.DOCUMENTS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return [tmp_path / name for name in constructed.DOCUMENTS]


# ── look ──


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_the_document_that_must_be_looked_at_stands_first(
    kind: str, limelight: Call, files: list[Path]
) -> None:
    asked = ("--question", "ask2", "--head", "0.0", "--answer-tokens", "1")
    result = limelight("look", *files, "--model", saved(kind), *asked)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    start = lines.index(f"Which documents the {'question' if kind == 'encoder' else 'answer'} looks at")
    rank, name, _, share, free, *_ = lines[start + 3].split()
    assert (rank, name, share, free) == ("1", "c.txt", "100.0%", "100.0%")
    assert "c.txt" not in lines[start + 4]
    assert "of layer 0 head 0" in " ".join(result.stdout.split())
    assert "\x1b" not in result.stdout


def test_json_has_every_view_and_the_removal(limelight: Call, files: list[Path]) -> None:
    result = limelight(
        *("look", *files, "--model", saved("encoder"), "--question", "ask1", "--json"),
        *("--remove", "document", "--layer", "0"),
    )
    data = json.loads(result.stdout, parse_constant=pytest.fail)
    assert data["documents"] == list(constructed.DOCUMENTS)
    assert set(data["views"]) == {"weight", "weight, sink-free", "value norm", "value norm, sink-free"}
    assert data["removal"]["effect"]["labels"] == [list(constructed.DOCUMENTS)]
    assert len(data["views"]["weight"]["document"]["heads"]) == 2


@pytest.mark.parametrize(
    ("options", "start"),
    [(["--layer", "0"], "0"), (["--head", "0.1"], "0.1"), (["--layer", "0", "--head", "0.1"], "0,0.1")],
)
def test_a_page_begins_with_the_layers_that_were_read(
    options: list[str],
    start: str,
    limelight: Call,
    files: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved_with: list[Any] = []
    monkeypatch.setattr("limelight.cli.look.check_page", lambda path: None)
    monkeypatch.setattr(
        "limelight.viewer.export.html_file.save",
        lambda subject, path, slices, again: saved_with.append((subject.attentions[0].start, slices)),
    )
    asked = ("--model", saved("encoder"), "--question", "ask1", "--html", tmp_path / "page.html")
    assert limelight("look", *files, *asked, *options).exit_code == 0
    assert saved_with == [(start, start.split(","))]


def test_without_a_question_documents_look_at_each_other(
    limelight: Call, files: list[Path], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "look.svg"
    result = limelight("look", *files, "--model", saved("encoder"), "--svg", picture)
    assert result.exit_code == 0
    assert "Which documents the text looks at" in result.stdout
    assert all(name in picture.read_text(encoding="utf-8") for name in constructed.DOCUMENTS)


@pytest.mark.slow
def test_a_picture_of_what_was_looked_at(limelight: Call, files: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    png, svg = tmp_path / "look.png", tmp_path / "look.svg"
    asked = ("--question", "ask1", "--model", saved("encoder"))
    assert limelight("look", *files, *asked, "--png", png, "--svg", svg).exit_code == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "moon1" in svg.read_text(encoding="utf-8")


def test_a_long_text_is_cut_aloud_or_read_in_windows(limelight: Call, tmp_path: Path) -> None:
    long = tmp_path / "long.txt"
    long.write_text("the sun0 . " * 40, encoding="utf-8")
    asked = ("look", long, "--model", saved("encoder"), "--question", "ask0")
    said = " ".join(limelight(*asked).stdout.split())
    assert (
        "The text has 123 tokens and the model reads 61: the last 62 tokens of the documents were left out"
        in said
    )
    said = " ".join(limelight(*asked, "--windows").stdout.split())
    assert "it was read in 3 windows that overlap" in said


def test_our_own_models_take_a_question_too(
    limelight: Call, model: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "one.txt").write_text("green cats run", encoding="utf-8")
    result = limelight("look", tmp_path / "one.txt", "--model", model("translate"), "--question", "red birds")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "one.txt" in result.stdout


def test_a_bar_stands_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for terminal in (True, False):
        monkeypatch.setattr(
            "limelight.cli.messages.Console", partial(Console, force_terminal=terminal, width=80)
        )
        with how_far() as progress:
            progress("windows", 3, 7)
        said = capsys.readouterr().err
        assert ("3/7" in said) is terminal
        assert bool(said) is terminal


# ── Conversations ──

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|> {{ message['content'] }} </s> {% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture
def chatty(tmp_path: Path) -> Path:
    """A decoder with a chat template. The mark where it answers asks for the third topic."""
    pytest.importorskip("jinja2")
    words = (*constructed.VOCABULARY, "<|user|>", "<|system|>", "</s>", "<|assistant|>")
    made = constructed.decoder()
    made.resize_token_embeddings(len(words) + 4)
    table = made.transformer.wte.weight
    with torch.no_grad():
        table[-4:] = table[words.index("the") + 4]
        table[-1] = table[words.index("ask2") + 4]
    tokenizer = foreign.word_tokenizer(words, special=False)
    tokenizer.chat_template = TEMPLATE
    made.save_pretrained(tmp_path / "chatty")
    tokenizer.save_pretrained(tmp_path / "chatty")
    return tmp_path / "chatty"


def ranked(data: Any, part: int = 0) -> list[tuple[str, float]]:
    """Documents and their shares, from high to low."""
    reading = data["views"]["weight"]["document"]
    pairs = zip(reading["labels"][part], reading["values"], strict=True)
    return sorted(pairs, key=lambda pair: -pair[1])


ANSWERING = ("--head", "0.0", "--answer-tokens", "1")


def test_documents_in_a_chat(limelight: Call, chatty: Path, files: list[Path]) -> None:
    """The question asks for the first topic, but what predicts the answer is the template's mark."""
    asked = ("--model", chatty, "--chat", "--question", "ask0 ?", *ANSWERING)
    data = json.loads(limelight("look", *files, *asked, "--json").stdout)
    assert data["who"] == "answer" and data["question"] == "ask0 ?"
    assert ranked(data)[0] == ("c.txt", pytest.approx(1, abs=1e-5))
    plain = json.loads(
        limelight("look", *files, "--model", chatty, "--question", "ask0", *ANSWERING, "--json").stdout
    )
    assert ranked(plain)[0] == ("a.txt", pytest.approx(1, abs=1e-5))


def test_the_roles_of_a_conversation_are_its_parts(limelight: Call, chatty: Path, tmp_path: Path) -> None:
    said = [
        ("system", "the sun0 ."),
        ("user", "the moon1 ."),
        ("assistant", "star2 of the sun2 ."),
        ("user", "the ?"),
    ]
    file = tmp_path / "chat.json"
    file.write_text(json.dumps([{"role": role, "content": text} for role, text in said]), encoding="utf-8")
    result = limelight("look", file, "--model", chatty, "--chat", *ANSWERING, "--json")
    data = json.loads(result.stdout)
    assert data["documents"] == ["system", "user 1", "assistant", "user 2"]
    assert ranked(data)[0] == ("assistant", pytest.approx(1, abs=1e-5))
    with_question = limelight(
        "look", file, "--model", chatty, "--chat", "--question", "moon2", *ANSWERING, "--json"
    )
    data = json.loads(with_question.stdout)
    assert data["documents"] == ["system", "user 1", "assistant", "user 2", "user 3"]
    assert dict(ranked(data)) == pytest.approx(
        {"system": 0, "user 1": 0, "assistant": 2 / 3, "user 2": 0, "user 3": 1 / 3}, abs=1e-5
    )
    shown = limelight("look", file, "--model", chatty, "--chat", *ANSWERING).stdout
    assert "Which messages the answer looks at" in shown
    # Without an answer the last message looks.
    asking = ("--model", chatty, "--chat", "--head", "0.0", "--answer-tokens", "0", "--json")
    data = json.loads(limelight("look", file, *asking).stdout)
    assert data["who"] == "question" and len(ranked(data)) == 4


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no json", "must hold a conversation as JSON; it is no JSON"),
        ("[" * 100_000, "must hold a conversation as JSON; it is no JSON"),
        ('{"role": "user"}', "must hold a list of messages"),
        ('[{"role": "user"}]', 'A message must be {"role": "user"'),
        ("[]", "must end with a message that the model may answer"),
        ('[{"role": "assistant", "content": "sun0"}]', "must end with a message that the model may answer"),
    ],
)
def test_what_is_no_conversation_is_told(
    content: str, said: str, refused: Callable[..., str], chatty: Path, tmp_path: Path
) -> None:
    (tmp_path / "chat.json").write_text(content, encoding="utf-8")
    assert said in refused("look", tmp_path / "chat.json", "--model", chatty, "--chat")


# ── Names ──


def test_files_are_called_by_what_tells_them_apart(tmp_path: Path) -> None:
    paths = []
    for name in ("a/notes.md", "b/notes.md", "b/other.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"in {name}", encoding="utf-8")
        paths.append(str(path))
    found = named_documents([*paths, "a plain text"])
    assert list(found) == ["a/notes.md", "b/notes.md", "other.md", "text 4"]
    assert found["b/notes.md"] == "in b/notes.md"
    with pytest.raises(InputError, match="given twice"):
        named_documents([paths[0], paths[0]])


# ── Refusals, each one line ──


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "nowhere/at-all"), "neither a folder here nor in the local cache"),
        (("--model", "./nowhere", "--question", "a"), "No model './nowhere'"),
        (
            ("--question", "ask1", "--remove", "letter"),
            "--remove takes document, sentence, word; got 'letter'",
        ),
        (("--question", "ask1", "--beam", "3"), "--beam is for Limelight's own models"),
        (("--question", "ask1", "--head", "7.0"), "there is no layer 7 head 0"),
        (("--question", "ask1", "--layer", "3"), "There is no layer 3"),
        (("--question", "ask1", "--chat"), "has no chat template"),
        (("--question", " "), "A question must hold a word"),
    ],
)
def test_what_cannot_be_is_one_line(
    words: tuple[str, ...], said: str, refused: Callable[..., str], files: list[Path]
) -> None:
    if "--model" not in words:
        words = ("--model", saved("encoder"), *words)
    assert said in refused("look", *files, *words)


def test_documents_options_are_refused_for_lines(
    refused: Callable[..., str], model: Callable[[str], str]
) -> None:
    for option in (["--windows"], ["--answer-tokens", "3"], ["--trust-remote-code"]):
        assert f"{option[0]} is for documents" in refused(
            "look", "green", "--model", model("translate"), *option
        )


def test_a_folder_that_is_no_model_says_what_is_wrong(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert "cannot be loaded" in refused("look", "the sun0", "--model", tmp_path)


@pytest.mark.parametrize("broken", ["model.safetensors", "tokenizer.json"])
def test_a_broken_model_is_one_line(broken: str, refused: Callable[..., str], tmp_path: Path) -> None:
    copytree(saved("encoder"), tmp_path / "model")
    (tmp_path / "model" / broken).write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")
    assert "cannot be loaded" in refused("look", "the sun0", "--model", tmp_path / "model")


def test_names_of_files_are_no_markup(limelight: Call, tmp_path: Path) -> None:
    for name in ("[bold]one.txt", "[red]two.txt"):
        (tmp_path / name).write_text("the sun0 .", encoding="utf-8")
    shown = limelight("look", *sorted(tmp_path.glob("*.txt")), "--model", saved("encoder"))
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("[bold]one") >= 3 and shown.stdout.count("[red]two") >= 3


def test_code_of_others_runs_only_when_it_is_trusted(refused: Callable[..., str], tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "code.py").write_text(f"open({str(ran)!r}, 'w')\nclass Config: pass\n", encoding="utf-8")
    config = {"model_type": "unheard-of", "auto_map": {"AutoConfig": "code.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    line = refused("look", "the sun0", "--model", tmp_path)
    assert "brings code of its own" in line and "--trust-remote-code" in line
    assert not ran.exists()


# ── atlas ──


def test_the_atlas_of_a_model(limelight: Call, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    table, picture = tmp_path / "heads.csv", tmp_path / "heads.svg"
    result = limelight(
        "atlas", "the sun0 . the sun0 .", "--model", saved("decoder"), "--csv", table, "--svg", picture
    )
    assert result.exit_code == 0
    assert "text 1: 6 tokens" in result.stdout
    assert result.stderr == f"table: {table}\npicture: {picture}\n"
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["layer"], row["head"]) for row in rows] == [("0", "0"), ("0", "1")]
    assert set(rows[0]) == {"layer", "head", *MEASURES}
    # Head 1 looks at all alike: of six tokens the first gives ln 1, the second ln 2, and so on.
    assert float(rows[1]["entropy"]) == pytest.approx(6.579251 / 6, abs=1e-5)
    assert float(rows[1]["duplicate token"]) == pytest.approx((1 / 4 + 1 / 5 + 1 / 6) / 3, abs=1e-5)
    assert "induction" in picture.read_text(encoding="utf-8")


def test_an_atlas_of_nothing_is_refused(refused: Callable[..., str]) -> None:
    assert "no document holds a word" in refused("atlas", " ", "--model", saved("decoder"))


def test_without_a_text_the_model_reads_random_tokens(limelight: Call, model: Callable[[str], str]) -> None:
    told = limelight("atlas", "green cats", "--model", model("translate"), "--json")
    found = json.loads(told.stdout, parse_constant=pytest.fail)
    assert found["heads"][0]["duplicate token"] is None  # no token comes twice
    result = limelight("atlas", "--model", model("translate"), "--json")
    assert (
        result.exit_code == 2 and "different tokens are needed" in result.stderr
    )  # a vocabulary of 12 words
