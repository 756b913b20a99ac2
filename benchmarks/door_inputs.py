"""What `benchmarks doors` gives to commands and functions: odd texts, files, paths, numbers, models and recipes."""

from __future__ import annotations

import codecs
import gzip
import json
import os
import random
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

TEXTS = ["the lime light lights the limelight", "a light in the dark", "dark limes in the light of day"]
LETTERS = (
    "abe tXÄß😀e\u0301\u0308\u200b\u200d\ufeff東नि\u064e١İıﬁ\u202e\u2028\x85\x0b\x0c\x1c\x1b[]<>&\"'\\|/.-–…0"
)
STRINGS = [
    "", " ", "\t", "a", "-", "--", "-1", "nan", "inf", "1e309", "0x10", "٣", "None", "true", "[]", "{}", "null",
    "the light", "a b c. D e? f!", "e\u0301", "\udc80", "\ud83d", "a\udfffb", "\ufeff", "\u200b", "😀", "İ",
    "-h", "%s%n", "{0}", "$HOME", "~", "..", "*", "[red]x[/red]", "\x1b[31m", "a\rb", "a\nb", "light", "1.0",
    "0.0", "9.9", "-1.-1", "1.", "word", "sentence", "cuda", "cpu",
]  # fmt: skip
NUMBERS = [
    "0", "1", "2", "3", "-1", "-2", "7", "0.5", "-0.0", "1e-320", "1e308", "1e309", "nan", "inf", "-inf", str(2**31),
    str(2**63), str(10**30), "1_000", "", "x", "٣", "1.5", " 1", "0x1",
]  # fmt: skip
SMALL_NUMBERS = ["1", "2", "3", "0", "5"]


@dataclass(frozen=True)
class Sandbox:
    """Where one case plays: a fresh folder, and beside it what all of them read."""

    here: Path
    shared: Path

    @property
    def models(self) -> list[Path]:
        return sorted(self.shared.glob("models/*"))


def text(dice: random.Random) -> str:
    """Often a plain one, so that something is answered; else a nasty one."""
    roll = dice.random()
    if roll < 0.45:
        return dice.choice(TEXTS)
    if roll < 0.7:
        return dice.choice(STRINGS)
    if roll < 0.97:
        return "".join(dice.choices(LETTERS, k=dice.choice((1, 2, 5, 40)))).lstrip("/")
    return "ab c" * dice.choice((100, 1000))


def without_nul(value: str) -> str:
    """As an argument of a command, or a file's name, can be."""
    return value.replace("\0", "")


# ── Files ──


def rows(dice: random.Random, kind: str) -> str:
    """The content of a good file of `kind`: txt, tsv, jsonl, json, vectors, toml."""
    texts = [dice.choice(TEXTS) for _ in range(dice.choice((1, 2, 5)))]
    if kind == "tsv":
        return "".join(f"{each}\t{dice.choice(('good', 'bad'))}\n" for each in texts)
    if kind == "jsonl":
        return "".join(json.dumps({"text": each, "label": dice.choice("xy")}) + "\n" for each in texts)
    if kind == "json":
        return json.dumps([{"role": "user", "content": each} for each in texts])
    if kind == "vectors":
        words = sorted({word for each in texts for word in each.split()})
        return f"{len(words)} 3\n" + "".join(f"{word} 0.5 -1 {len(word)}\n" for word in words)
    if kind == "toml":
        return recipe(dice)
    return "\n".join(texts) + "\n"


def mangled(dice: random.Random, good: str) -> bytes:
    """The bytes of a file, mostly not as they should be."""
    data = good.encode("utf-8", "surrogatepass")
    ways: list[Callable[[], bytes]] = [
        lambda: data,
        lambda: data,
        lambda: data,
        lambda: data.replace(b"\n", b"\r\n"),
        lambda: data.replace(b"\n", b"\r"),
        lambda: data.replace(b" ", b"\r", 1),
        lambda: data.replace(b"t", b"\0", 1),
        lambda: codecs.BOM_UTF8 + data,
        lambda: (codecs.BOM_UTF8 + data) * 2,
        lambda: good.encode("utf-16"),
        lambda: good.encode("utf-16-le"),
        lambda: good.encode("utf-32"),
        lambda: data.replace(b"e", b"\xe9", 1),
        lambda: data.replace(b" ", b"\x92"),
        lambda: gzip.compress(data),
        lambda: b"PK\x03\x04" + data,
        lambda: b"",
        lambda: b"\n\n \t\n",
        lambda: data[: dice.randrange(len(data) + 1)],
        lambda: data + "e\u0301é\u2028\x85\x0b\ufeff\u200b".encode(),
        lambda: data.replace(b"\t", b"\t\t", 1),
        lambda: data.replace(b"\n", b"\n\n\n"),
        lambda: dice.randbytes(dice.choice((1, 7, 100))),
        lambda: data + b"x" * 5000 + b"\n",
        lambda: flipped(dice, data),
        lambda: data + b'{"text": "\\ud83d", "label": "\\udc00"}\n',
        lambda: data.replace(b"0.5", b"1e999").replace(b"3", b"99999999999999999999", 1),
    ]
    return dice.choice(ways)()


def flipped(dice: random.Random, data: bytes) -> bytes:
    """Some bytes changed."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 3, 20))):
        if changed:
            changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


def file(dice: random.Random, box: Sandbox, kind: str | None = None) -> Path:
    """A file to read."""
    kind = kind or dice.choice(("txt", "txt", "tsv", "jsonl", "json", "vectors", "toml"))
    name = dice.choice(("in", "a b", "ü", "e\u0301", "-x", "x" * 50, "a[b]", "line\nend"))
    path = box.here / f"{name}-{dice.randrange(1000)}.{ {'vectors': 'txt'}.get(kind, kind) }"
    path.write_bytes(mangled(dice, rows(dice, kind)))
    return path


def bad_path(dice: random.Random, box: Sandbox) -> Path:
    """A path that is not what it should be."""
    solid = box.here / "solid.txt"
    solid.write_text("the light\n")
    loop = box.here / "loop"
    if not loop.is_symlink():
        loop.symlink_to(loop)
    broken = box.here / "broken.txt"
    if not broken.is_symlink():
        broken.symlink_to(box.here / "nowhere")
    full = box.here / "full.txt"
    if not full.is_symlink():
        full.symlink_to("/dev/full")
    return dice.choice(
        [
            box.here / "absent.txt",
            box.here / "absent" / "deep.txt",
            box.here,
            solid / "inside.txt",
            box.here / ("n" * 300),
            loop,
            loop / "x.txt",
            broken,
            Path("/dev/null"),
            Path("/dev/full"),
            Path("/proc/nope/out.txt"),
            Path("/proc/self/mem"),
            Path(),
            full,
            box.here / "\udcff.txt",
        ]
    )


def folder(dice: random.Random, box: Sandbox) -> Path:
    """A folder of data."""
    path = box.here / f"data-{dice.randrange(1000)}"
    path.mkdir(exist_ok=True)
    for part in ("train", "valid", "test"):
        for kind in dice.choice((("tsv",), ("tsv", "jsonl", "txt"), ("txt",), ("jsonl",), ())):
            good = rows(dice, kind)
            data = good.encode() if dice.random() < 0.7 else mangled(dice, good)
            (path / f"{part}.{kind}").write_bytes(data)
    return path


# ── Models and recipes ──


def model(dice: random.Random, box: Sandbox) -> Path | str:
    """A model's folder: often a good one; or one of which something was changed; or no model at all."""
    roll = dice.random()
    if roll < 0.6:
        return dice.choice(box.models)
    if roll < 0.7:
        return dice.choice((bad_path(dice, box), file(dice, box), without_nul(text(dice)), "pronounce"))
    copy = box.here / f"model-{dice.randrange(10**6)}"
    shutil.copytree(dice.choice(box.models), copy)
    target = dice.choice(sorted(copy.iterdir()))
    if target.suffix == ".json" and dice.random() < 0.6:
        tree = json.loads(target.read_text())
        target.write_text(json.dumps(changed_tree(dice, tree)))
    elif target.suffix == ".safetensors" and dice.random() < 0.6:
        target.write_bytes(changed_tensors(dice, target.read_bytes()))
    else:
        data = target.read_bytes()
        target.unlink()
        way = dice.randrange(5)
        if way == 0:
            target.mkdir()
        elif way < 4:
            target.write_bytes((data[: dice.randrange(len(data) + 1)], flipped(dice, data), b"")[way - 1])
    return copy


ODD: list[Any] = [
    None,
    -1,
    0,
    1,
    2.5,
    1e308,
    10**30,
    "",
    "x",
    True,
    [],
    {},
    [1],
    {"a": 1},
    "learned",
    "\ud83d",
    2**31,
]


def changed_tree(dice: random.Random, tree: Any) -> Any:
    """JSON with one value changed, dropped or added somewhere."""
    if isinstance(tree, dict) and tree and dice.random() < 0.85:
        key = dice.choice(sorted(tree))
        roll = dice.random()
        if roll < 0.5:
            return tree | {key: changed_tree(dice, tree[key])}
        if roll < 0.65:
            return {name: value for name, value in tree.items() if name != key}
        return tree | ({key: dice.choice(ODD)} if roll < 0.95 else {"odd": dice.choice(ODD)})
    if isinstance(tree, list) and tree and dice.random() < 0.7:
        place = dice.randrange(len(tree))
        return [*tree[:place], changed_tree(dice, tree[place]), *tree[place + 1 :]]
    return dice.choice(ODD)


def changed_tensors(dice: random.Random, data: bytes) -> bytes:
    """A safetensors file whose header, or what it tells, is wrong; or whose numbers are none."""
    size = int.from_bytes(data[:8], "little")
    way = dice.randrange(6)
    if way == 0:
        return (2 ** dice.choice((20, 40, 63))).to_bytes(8, "little") + data[8:]
    if way == 1:
        return data[: 8 + size]
    if way == 2:
        return data[: 8 + size] + b"\xff" * (len(data) - 8 - size)  # all NaN
    header = json.loads(data[8 : 8 + size])
    header = changed_tree(dice, header) if way < 5 else dict(sorted(header.items())[1:])
    told = json.dumps(header).encode()
    told += b" " * (-len(told) % 8)
    return len(told).to_bytes(8, "little") + told + data[8 + size :]


RECIPE: dict[str, dict[str, list[str]]] = {
    "text": {
        "source": ['"bpe"', '"characters"', '"words"'],
        "target": ['"bpe"', '"characters"', '"words"'],
        "size": ["300", "400"],
        "shared": ["true", "false"],
        "window": ["9", "2", "17"],
        "vectors": ['""', '"absent.txt"'],
    },
    "model": {
        "width": ["8", "12"],
        "heads": ["2", "1"],
        "feed_forward": ["8"],
        "encoder_layers": ["1"],
        "decoder_layers": ["1"],
        "dropout": ["0.0", "0.1"],
        "positions": ['"rotary"', '"learned"', '"alibi"', '"none"', '"sinusoidal"'],
        "longest": ["16", "64"],
        "norm": ['"pre"', '"post"'],
    },
    "training": {
        "steps": ["1", "2"],
        "tokens": ["50", "100"],
        "rate": ["1e-3"],
        "warmup": ["1"],
        "average": ["0.0", "0.5"],
        "evaluate_every": ["1", "2"],
        "checkpoint_every": ["1", "2"],
        "seed": ["0"],
    },
    "prediction": {"beam": ["1", "2"], "longest": ["3"], "length_penalty": ["0.6"]},
}
WORDS = [
    "-1",
    "0",
    "1",
    "nan",
    "inf",
    "-inf",
    "1e308",
    str(2**62),
    '"x"',
    '""',
    "true",
    "[]",
    "[1]",
    "{}",
    "2.5",
    "3",
]


def recipe(dice: random.Random) -> str:
    """TOML of a tiny recipe, in which one or two words may be changed."""
    task = dice.choice(("translate", "pronounce", "language", "classify"))
    tables = {
        name: {word: dice.choice(values) for word, values in words.items()} for name, words in RECIPE.items()
    }
    for _ in range(dice.choice((0, 0, 1, 2))):
        table = dice.choice(sorted(tables))
        word = dice.choice((*sorted(tables[table]), "odd", "architecture"))
        tables[table][word] = dice.choice((*WORDS, '"recurrent"'))
    if tables["training"]["steps"] not in ("1", "2", "0", "-1"):  # a case is to be short
        tables["training"]["steps"] = dice.choice(("1", '"x"', "-1", "2.5", "true"))
    parts = [f'task = "{task}"' if dice.random() < 0.97 else f"task = {dice.choice(WORDS)}"]
    for name, words in tables.items():
        parts += [f"[{name}]", *(f"{word} = {value}" for word, value in words.items())]
    return "\n".join(parts) + "\n"


# ── What all cases share ──


def build_shared(shared: Path) -> None:
    """Small random models of every task and kind, each in a folder."""
    from limelight.modules.model_io import SavedModel, save_model
    from limelight.modules.recurrent import RecurrentConfig, RecurrentTranslator
    from limelight.modules.transformer import Classifier, LanguageModel, Transformer, TransformerConfig
    from limelight.text.tokenizers import Tokenizer

    torch.manual_seed(0)
    bpe, letters = Tokenizer.train(TEXTS, "bpe", 280), Tokenizer.train(TEXTS, "characters")
    words = Tokenizer.train(TEXTS, "words")
    shape = TransformerConfig(
        width=16, heads=2, feed_forward=16, encoder_layers=1, decoder_layers=2, dropout=0.0
    )
    learned = TransformerConfig(
        width=16,
        heads=2,
        feed_forward=16,
        encoder_layers=1,
        decoder_layers=1,
        positions="learned",
        longest=24,
    )
    search = {"beam": 2, "length_penalty": 0.6, "longest": 7}
    two = ("bad", "good")
    made = {
        "translate": SavedModel(
            "translate", Transformer(shape, len(bpe), len(letters)), bpe, letters, (), search
        ),
        "pronounce": SavedModel(
            "pronounce", Transformer(shape, len(letters), len(words)), letters, words, (), search
        ),
        "learned": SavedModel(
            "translate", Transformer(learned, len(bpe), len(bpe), True), bpe, bpe, (), search
        ),
        "language": SavedModel("language", LanguageModel(shape, len(bpe), 13), bpe, bpe, (), search),
        "letters": SavedModel("language", LanguageModel(learned, len(letters)), letters, letters, (), search),
        "classify": SavedModel("classify", Classifier(shape, len(words), 2), words, words, two),
        "recurrent": SavedModel(
            "translate",
            RecurrentTranslator(
                RecurrentConfig(width=16, encoder_layers=1, decoder_layers=1), len(bpe), len(letters)
            ),
            bpe,
            letters,
            (),
            search,
        ),
    }
    for name, saved in made.items():
        save_model(saved, shared / "models" / name)


def forms(dice: random.Random, value: str) -> str:
    """The same text in one of the normal forms."""
    return unicodedata.normalize(dice.choice(("NFC", "NFD", "NFKD")), value)


def fresh(shared: Path, number: int) -> Sandbox:
    """The folder of one case, which becomes the working folder."""
    here = shared / f"case-{os.getpid()}-{number}"
    here.mkdir()
    os.chdir(here)
    return Sandbox(here, shared)
