"""Whole runs: four tiny tasks are learned, gone on with, fine-tuned; what cannot be trained is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from limelight.errors import CheckpointError, InputError, RecipeError, TextError
from limelight.modules.embeddings import TokenEmbedding
from limelight.modules.model_io import SavedModel, load_model
from limelight.modules.word_vectors import WordVectors
from limelight.predicting.predictor import Predictor
from limelight.recipes.choose_alignment_heads import choose_alignment_heads
from limelight.recipes.model_card import command
from limelight.recipes.provenance import ORIGIN
from limelight.recipes.recipe import (
    Recipe,
    changed,
    load_recipe,
    parse_recipe,
    with_architecture,
)
from limelight.recipes.task import TASKS, mean_loss
from limelight.recipes.train import train_recipe
from tests.examples import mostly_slow
from tests.recipes import small

EVERY_TASK = tuple(small.SETTINGS)


def weights(saved: SavedModel) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in saved.model.named_parameters()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def run(task: str, out: Path, start: SavedModel | None = None, data: Path | None = None, **training: object):  # type: ignore[no-untyped-def]
    """A run of a few updates on the task's own data."""
    settings = {"steps": 2, **training}
    where = data or small.trained(task)[2] / "data"
    return train_recipe(small.recipe(task, **settings), where, out, start, small.quiet(out))


@pytest.mark.slow
@pytest.mark.parametrize("name", mostly_slow(["lstm", "luong", "gru", "bahdanau"], "luong"))
@pytest.mark.parametrize("task", EVERY_TASK)
def test_every_task_is_trained_by_every_rival(task: str, name: str, tmp_path: Path) -> None:
    data = small.trained(task)[2] / "data"
    recipe = with_architecture(small.recipe(task, steps=2), name)
    saved, _ = train_recipe(recipe, data, tmp_path, reporter=small.quiet(tmp_path))
    assert saved.card.split("\n")[2].startswith(
        f"{saved.parameters:,} parameters: {recipe.model.cell.upper()}"
    )
    again = load_model(tmp_path / "model")
    assert again.model.shape == recipe.model
    assert same(weights(again), weights(saved))
    assert parse_recipe((tmp_path / "recipe.toml").read_text()).model == recipe.model
    train_recipe(recipe, data, tmp_path, reporter=small.quiet(tmp_path))  # it is gone on with
    other = with_architecture(small.recipe(task, steps=2), "transformer")
    with pytest.raises(RecipeError, match="begun differently"):
        train_recipe(other, data, tmp_path, reporter=small.quiet(tmp_path))


def test_a_second_process_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with FileLock(tmp_path / "run.lock"), pytest.raises(CheckpointError, match="Another process is training"):
        run("pronounce", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["run.lock"]
    run("pronounce", tmp_path)  # free again, it is trained in
    assert (tmp_path / "model").is_dir()


# ── What is learned ──


def held_out(task: str) -> dict[str, float]:
    """The measures that the trained model has on rows it never saw."""
    return small.trained(task)[0].training["held out"]


def test_letters_to_phones_are_learned_without_an_error() -> None:
    assert held_out("pronounce")["word error rate"] == 0
    assert held_out("pronounce")["phoneme error rate"] == 0


def test_copying_is_learned_to_the_word() -> None:
    assert held_out("translate")["BLEU"] == pytest.approx(100)
    assert held_out("translate")["chrF"] == pytest.approx(100)


def test_a_text_that_repeats_itself_has_hardly_a_surprise() -> None:
    measures = held_out("language")
    assert 1 < measures["perplexity"] < 1.2
    assert measures["perplexity"] == pytest.approx(math.exp(measures["loss"]))


def test_one_word_decides_the_class() -> None:
    assert held_out("classify")["accuracy"] == 1
    assert held_out("classify")["macro F1"] == 1
    assert small.trained("classify")[0].classes == ("blame", "doubt", "praise")


def test_the_heads_for_alignment_find_the_word_that_was_copied() -> None:
    saved, _, _ = small.trained("translate")
    chosen = saved.prediction["alignment"]
    assert chosen["links"] > 50
    assert chosen["score"] > 0.95


def test_letters_and_phones_share_no_word_and_still_get_heads() -> None:
    chosen = small.trained("pronounce")[0].prediction["alignment"]
    assert chosen["links"] == 0
    assert chosen["heads"]
    assert "mutual information" in chosen["how"]


def test_the_loss_does_not_depend_on_how_rows_are_batched() -> None:
    saved, _, folder = small.trained("pronounce")
    task = TASKS["pronounce"](small.recipe("pronounce"))
    examples = task.examples(saved, task.read(folder / "data", "valid"))
    assert mean_loss(saved.model, examples, 7) == pytest.approx(
        mean_loss(saved.model, examples, 997), rel=1e-5
    )


# ── What is left on disk ──


@pytest.mark.parametrize("task", EVERY_TASK)
def test_the_models_folder_is_complete_and_loads(task: str) -> None:
    saved, outcome, folder = small.trained(task)
    made = folder / "out" / "model"
    names = {path.name for path in made.iterdir()}
    separate = {"target.json"} if task == "pronounce" else set()
    assert names == {"model.json", "model.safetensors", "source.json", "card.md"} | separate

    loaded = load_model(made)
    assert same(weights(loaded), weights(saved))
    assert (loaded.task, loaded.classes, loaded.card) == (task, saved.classes, saved.card)
    assert loaded.prediction == saved.prediction
    assert loaded.training["updates"] == outcome.progress.step == small.SETTINGS[task][1]["steps"]
    assert loaded.training["tokens"] == outcome.progress.tokens

    text = next(iter(TASKS[task](small.recipe(task)).read(folder / "data", "valid")))[0][:20]
    assert Predictor.load(folder / "out").predict([text])[0] == Predictor(saved).predict([text])[0]


def test_the_card_says_what_the_run_knows() -> None:
    saved, outcome, folder = small.trained("pronounce")
    assert saved.card.startswith("# pronounce\n")
    for part in (
        f"{saved.parameters:,} parameters",
        str(folder / "data"),
        "211 rows",
        f"{outcome.progress.step} updates",
        "word error rate: 0",
        "it has no `NOTICE`",
        small.recipe_text("pronounce").strip(),
    ):
        assert part in saved.card


def test_the_notice_beside_the_data_goes_into_the_card(tmp_path: Path) -> None:
    data = small.write_data("classify", tmp_path / "data")
    (data / "NOTICE").write_text("Words by nobody.\n\nFree to use.\n", encoding="utf-8")
    saved, _ = run("classify", tmp_path / "out", data=data)
    assert "> Words by nobody.\n>\n> Free to use.\n" in saved.card


def test_the_run_keeps_its_recipe_and_its_log() -> None:
    out = small.trained("classify")[2] / "out"
    assert (out / "recipe.toml").read_text(encoding="utf-8") == small.recipe_text("classify")
    log = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["step"] for record in log] == [small.SETTINGS["classify"][1]["steps"]]


def test_the_card_and_the_kept_recipe_say_what_was_changed(tmp_path: Path) -> None:
    data, out = small.write_data("classify", tmp_path / "my data"), tmp_path / "out"
    file = tmp_path / "mine.toml"
    file.write_text(small.recipe_text("classify"), encoding="utf-8")
    recipe = changed(load_recipe(file), steps=2, seed=11)
    saved, _ = train_recipe(recipe, data, out, reporter=small.quiet(out))
    kept = (out / "recipe.toml").read_text(encoding="utf-8")
    assert parse_recipe(kept).training == recipe.training
    assert f"```toml\n{kept.strip()}\n```" in saved.card
    assert "Changed from the recipe's file: steps = 2, seed = 11." in saved.card
    line = f"limelight train {file} --data '{data}' --out {out} --steps 2 --seed 11"
    assert f"Command: `{line}`" in saved.card


def test_a_recipe_without_a_file_is_trained_again_by_the_one_that_the_run_kept(tmp_path: Path) -> None:
    recipe, out = parse_recipe(small.recipe_text("classify")), tmp_path / "out"
    line = command(replace(recipe, text=replace(recipe.text, size=7)), tmp_path, out)
    assert line == f"limelight train {out}/recipe.toml --data {tmp_path} --out {out}"


def test_the_card_names_the_model_that_training_began_from(tmp_path: Path) -> None:
    start, _, folder = small.trained("translate")
    recipe = small.recipe("translate", steps=1)
    wider = replace(recipe, model=replace(recipe.model, width=48))
    name = folder / "out"
    saved, _ = train_recipe(wider, folder / "data", tmp_path, name, small.quiet(tmp_path))
    assert f"Started from {name}, whose shape and tokenizers it keeps." in saved.card
    assert f"--from {name}`" in saved.card
    assert f"width {start.model.shape.width}," in saved.card
    assert parse_recipe((tmp_path / "recipe.toml").read_text(encoding="utf-8")).model == start.model.shape


# ── Going on ──


def test_going_on_with_other_data_is_refused(tmp_path: Path) -> None:
    run("classify", tmp_path / "out", data=small.write_data("classify", tmp_path / "data"))
    with (tmp_path / "data" / "train.tsv").open("a", encoding="utf-8") as rows:
        rows.write("one more\tpraise\n")
    with pytest.raises(RecipeError, match="begun differently: other training rows.*another output folder"):
        run("classify", tmp_path / "out", steps=3, data=tmp_path / "data")


def test_going_on_with_another_model_or_start_is_refused(tmp_path: Path) -> None:
    data = small.trained("classify")[2] / "data"
    recipe = small.recipe("classify", steps=1)
    train_recipe(recipe, data, tmp_path, reporter=small.quiet(tmp_path))
    other = replace(
        recipe, model=replace(recipe.model, dropout=0.5), text=replace(recipe.text, source="characters")
    )
    with pytest.raises(
        RecipeError, match=r"\[text\] source was words, is characters; \[model\] dropout was .*, is 0.5"
    ):
        train_recipe(other, data, tmp_path, reporter=small.quiet(tmp_path))
    only = r"begun differently: start was none, is model-[0-9a-f]{12}\. Give"
    with pytest.raises(RecipeError, match=only):
        train_recipe(recipe, data, tmp_path, small.trained("classify")[0], small.quiet(tmp_path))


def test_a_new_run_that_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    data = small.trained("classify")[2] / "data"
    with pytest.raises(RecipeError):
        train_recipe(
            small.recipe("classify", steps=1), data, tmp_path / "a" / "new", small.trained("translate")[0]
        )
    assert not [*tmp_path.iterdir()]


def test_a_run_that_did_not_keep_what_it_began_with_goes_on(tmp_path: Path) -> None:
    run("classify", tmp_path)
    (tmp_path / ORIGIN).unlink()
    _, outcome = run("classify", tmp_path, steps=3)
    assert outcome.progress.step == 3


def test_going_on_with_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    first, before = run("classify", tmp_path)
    again, after = run("classify", tmp_path)
    assert same(weights(first), weights(again))
    assert after.progress.step == before.progress.step == 2
    assert after.progress.history == before.progress.history
    assert again.card.replace(f"{again.training['CPU minutes']}", "") == first.card.replace(
        f"{first.training['CPU minutes']}", ""
    )
    assert same(weights(load_model(tmp_path / "model")), weights(first))


def test_a_finished_run_goes_on_to_more_updates(tmp_path: Path) -> None:
    often = {"evaluate_every": 2, "checkpoint_every": 2}
    _, once = run("classify", tmp_path, **often)
    _, twice = run("classify", tmp_path, steps=5, **often)
    assert [record["step"] for record in twice.progress.history] == [2, 4, 5]
    assert twice.progress.history[:1] == once.progress.history
    assert twice.progress.tokens > once.progress.tokens


def test_the_run_of_another_task_is_not_gone_on_with(tmp_path: Path) -> None:
    run("classify", tmp_path)
    with pytest.raises(
        RecipeError, match="holds a run of the task 'classify', the recipe is for 'translate'"
    ):
        run("translate", tmp_path)


# ── Fine-tuning ──


def test_fine_tuning_keeps_tokenizers_and_shape_and_leaves_the_old_model_alone(tmp_path: Path) -> None:
    start, _, _ = small.trained("translate")
    before = weights(start)
    text = (
        small.recipe_text("translate", steps=3)
        .replace("width = 32", "width = 48")
        .replace("dropout = 0.0", "dropout = 0.25")
        .replace("shared", "# shared")
    )
    data = tmp_path / "data"
    data.mkdir()
    for part in ("train", "valid"):
        (data / f"{part}.tsv").write_text("red fish\tblue\nfish\tred\n", encoding="utf-8")
    tuned, outcome = train_recipe(
        parse_recipe(text), data, tmp_path / "out", start, small.quiet(tmp_path / "out")
    )

    assert len(tuned.source) == len(start.source)  # "fish" did not get a token
    assert tuned.shared
    assert tuned.source.encode("red fish").ids == start.source.encode("red fish").ids
    assert tuned.model.shape == replace(start.model.shape, dropout=0.25)  # dropout belongs to the training
    assert {each.p for each in tuned.model.modules() if isinstance(each, torch.nn.Dropout)} == {0.25}
    assert outcome.progress.step == 3
    assert not same(weights(tuned), before)
    assert same(weights(start), before)
    assert tuned.training["rows"] == 2
    assert tuned.card != start.card


def test_fine_tuning_begins_where_the_other_model_is(tmp_path: Path) -> None:
    # At a rate this small the loss after two updates is still that of the trained model, not of a fresh one.
    start, _, _ = small.trained("pronounce")
    tuned, _ = run("pronounce", tmp_path, start, rate=1e-9)
    assert tuned.training["held out"]["word error rate"] == 0
    assert tuned.training["held out"]["loss"] == pytest.approx(start.training["held out"]["loss"], rel=1e-2)


def test_a_model_of_another_task_cannot_begin_a_run(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match="A model for the task 'classify' cannot begin a run of 'translate'"
    ):
        run("translate", tmp_path, small.trained("classify")[0])
    assert not (tmp_path / "start").exists()


# ── Data that does not fit ──


@pytest.mark.parametrize("task", EVERY_TASK)
def test_data_that_are_not_there_are_named(task: str, tmp_path: Path) -> None:
    missing = tmp_path / ("train.txt" if task == "language" else "train.tsv")
    with pytest.raises(TextError) as caught:
        run(task, tmp_path / "out", data=tmp_path)
    assert str(missing) in str(caught.value)
    assert not (tmp_path / "out").exists()


def classes(folder: Path, train: str, valid: str, ending: str = "tsv") -> Path:
    (folder / f"train.{ending}").write_text(train, encoding="utf-8")
    (folder / f"valid.{ending}").write_text(valid, encoding="utf-8")
    return folder


def test_a_class_that_training_did_not_have_is_named(tmp_path: Path) -> None:
    data = classes(tmp_path, "one\ta\ntwo\tb\n", "one\tc\n")
    with pytest.raises(
        InputError,
        match=r"valid.tsv, line 1: .* one of the model's classes, a, b; got 'c'. Give training rows",
    ):
        run("classify", tmp_path / "out", data=data)


def test_one_class_is_no_choice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"at least two classes in the training data; got \['a'\]"):
        run("classify", tmp_path / "out", data=classes(tmp_path, "one\ta\n", "one\ta\n"))


def test_labelled_texts_may_be_json_lines(tmp_path: Path) -> None:
    lines = "".join(
        json.dumps({"text": text, "label": label, "id": 7}) + "\n" for text, label in ("xa", "yb")
    )
    saved, _ = run("classify", tmp_path / "out", data=classes(tmp_path, lines, lines, "jsonl"))
    assert saved.classes == ("a", "b")


def test_a_language_is_read_from_folders_too(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "one.txt").write_text("a b c a b c", encoding="utf-8")
        (tmp_path / part / "two.md").write_text("c b a", encoding="utf-8")
    saved, _ = run("language", tmp_path / "out", data=tmp_path)
    assert saved.training["rows"] == 2
    assert saved.source.encode("c b a").ids == list(reversed(saved.source.encode("a b c").ids))


def test_pairs_of_single_words_end_a_run_without_heads(tmp_path: Path) -> None:
    saved, _ = run(
        "translate", tmp_path / "out", data=classes(tmp_path, "dog\tHund\ncat\tKatze\n", "dog\tHund\n")
    )
    assert "alignment" not in saved.prediction
    assert choose_alignment_heads(saved, [("dog", "Hund")]) is None


# ── Word vectors to start from ──


def with_vectors(task: str, path: Path, **text: str) -> Recipe:
    recipe = small.recipe(task, steps=1, rate=1e-9)
    return replace(recipe, text=replace(recipe.text, vectors=str(path), **text))


def source_table(saved: SavedModel) -> torch.Tensor:
    table = next(
        module for module in saved.model.modules() if isinstance(module, TokenEmbedding)
    ).table.weight
    return table.detach()


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.cosine_similarity(one, other, dim=0))


@pytest.mark.parametrize("task", ["translate", "language", "classify"])
def test_word_vectors_start_the_embedding_table(task: str, tmp_path: Path) -> None:
    words = ("red", "light", "good", "stranger")
    vectors = WordVectors(words, torch.randn(4, 32))
    vectors.save(tmp_path / "vectors.txt")
    data = small.trained(task)[2] / "data"
    begun = TASKS[task](with_vectors(task, tmp_path / "vectors.txt")).new(
        TASKS[task](small.recipe(task)).read(data, "train")
    )
    table = source_table(begun)
    known = [word for word in words if begun.source.encode(word).ids[0] > 3]
    assert known
    for word in known:
        row = table[begun.source.encode(word).ids[0]]
        assert cosine(row, vectors[word]) == pytest.approx(1, abs=1e-5)
        assert 0.3 < float(row.std() * begun.model.shape.width**0.5) < 3  # the spread of a fresh table
    assert not table[0].any()


def test_pieces_that_begin_a_word_take_the_vector_of_the_word(tmp_path: Path) -> None:
    vectors = WordVectors(("the", "light", "on"), torch.randn(3, 32))
    vectors.save(tmp_path / "vectors.txt")
    recipe = with_vectors("language", tmp_path / "vectors.txt", source="bpe")
    saved = TASKS["language"](recipe).new([(f"{small.SENTENCE} upon lantern son", "")] * 3)
    ids = {saved.source.token(id): id for id in range(len(saved.source))}
    table = source_table(saved)
    assert cosine(table[ids["▁light"]], vectors["light"]) == pytest.approx(1, abs=1e-5)
    # "on" within "upon" is another token, which no word vector is for.
    assert cosine(table[ids["on"]], vectors["on"]) < 0.9


def test_vectors_of_tokens_are_looked_up_as_they_are(tmp_path: Path) -> None:
    vectors = WordVectors(("▁light", "on"), torch.randn(2, 32))
    vectors.save(tmp_path / "vectors.txt")
    recipe = with_vectors("language", tmp_path / "vectors.txt", source="bpe")
    saved = TASKS["language"](recipe).new([(f"{small.SENTENCE} upon lantern son", "")] * 3)
    ids = {saved.source.token(id): id for id in range(len(saved.source))}
    for token in vectors.words:
        assert cosine(source_table(saved)[ids[token]], vectors[token]) == pytest.approx(1, abs=1e-5)


def test_vectors_of_another_width_are_refused(tmp_path: Path) -> None:
    WordVectors(("red", "green"), torch.randn(2, 7)).save(tmp_path / "vectors.txt")
    with pytest.raises(RecipeError, match=r"has 7 numbers a word, \[model\] says width = 32.*--width 32"):
        TASKS["classify"](with_vectors("classify", tmp_path / "vectors.txt")).new(
            [("red", "a"), ("green", "b")]
        )


def test_vectors_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="vectors.txt: cannot be read"):
        TASKS["classify"](with_vectors("classify", tmp_path / "vectors.txt")).new(
            [("red", "a"), ("green", "b")]
        )
