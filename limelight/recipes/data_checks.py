"""Check the rows of a run before anything is written: refuse what cannot be learned, report what is odd.

Every refusal names the file and the line, and says what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from limelight.errors import InputError, TextError
from limelight.modules.model_io import SavedModel
from limelight.modules.transformer import TransformerConfig
from limelight.recipes.data_rows import DataPart, few
from limelight.recipes.recipe import Recipe
from limelight.recipes.task import Rows
from limelight.recipes.unknown_tokens import named, told_unknown, unit, unknown_in
from limelight.text.lookalikes import told_apart, twins
from limelight.text.segmentation import words
from limelight.text.tokenizers import Tokenizer
from limelight.training.batches import Dataset

LONG_WORD = 200
"""Characters of a word that is rather a mistake in the data."""


@dataclass(frozen=True)
class TextSide:
    """The texts of one side of some rows, and what cuts them into tokens; `answer` where a model is to write them."""

    name: str
    texts: list[str]
    tokenizer: Tokenizer
    answer: bool


def sides(saved: SavedModel, rows: Rows) -> list[TextSide]:
    """What of the rows becomes tokens."""
    first = [text for text, _ in rows]
    match saved.model.role:
        case "pairs":
            second = [text for _, text in rows]
            return [
                TextSide("sources", first, saved.source, False),
                TextSide("targets", second, saved.target, True),
            ]
        case "language":
            return [TextSide("texts", first, saved.source, True)]
        case _:
            return [TextSide("texts", first, saved.source, False)]


def check_labels(rows: Rows, part: DataPart) -> None:
    """Raises TextError where the labels of training rows are no classes to choose from: one only, or two that look
    alike."""
    first = {label: row for row, (_, label) in reversed([*enumerate(rows)])}
    if len(first) < 2:
        raise TextError(
            f"{part.path}: classification needs at least two classes in the training data; got {list(first)}. Give "
            "rows of another class too."
        )
    for known, twin in twins(label for _, label in rows):
        raise TextError(
            f"{part.place(first[twin])}, and {part.place(first[known])}: two classes look alike: {twin!r}. "
            f"{told_apart(twin, [known])}"
        )


def check_classes(saved: SavedModel, rows: Rows, part: DataPart, given: bool) -> None:
    """Raises TextError for a label that is none of the model's classes; `given` where these are those of a start."""
    known = set(saved.classes)
    for row, (_, label) in enumerate(rows):
        if known and label not in known:
            way_out = (
                "A model keeps the classes that it was made with: leave such rows out, or train a new one, without "
                "--from or from a language model."
                if given
                else "Give training rows of this class too, or leave such rows out."
            )
            raise TextError(
                f"{part.place(row)}: a label must be one of the model's classes, {few(saved.classes)}; got "
                f"{label!r}. {told_apart(label, saved.classes) or way_out}"
            )


def check_unknown(
    saved: SavedModel, rows: Rows, part: DataPart, given: bool, held_out: bool, note: Callable[[str], None]
) -> None:
    """Tell what the tokenizers do not know. Raises TextError where training rows ask a given model to write it."""
    for side in sides(saved, rows):
        unknown = unknown_in(side.tokenizer, side.texts)
        if not unknown:
            continue
        if side.answer and given and not held_out and saved.model.role == "pairs":
            row = next(row for row, text in enumerate(side.texts) if unknown_in(side.tokenizer, [text]))
            first, every = unknown_in(side.tokenizer, [side.texts[row]]), unit(side.tokenizer, len(unknown))
            raise TextError(
                f"{part.place(row)}: a target must hold only what the model can write; it does not know "
                f"{named(first)} ({every} in all targets of {part.path}: {named(unknown)}). A vocabulary is fixed "
                "when a model is begun: leave such rows out, or train a new one without --from."
            )
        where = f"the {side.name} of {part.path}"
        if given or held_out:
            said = told_unknown(side.tokenizer, side.texts, where)
            note(f"{said}{'; no answer can hold them' if side.answer else ''}")
        else:
            different = unit(side.tokenizer, len({*unknown}))
            note(
                f"a vocabulary of {len(side.tokenizer):,} (`size` in [text]) leaves out {different} of {where}, "
                f"which become <unknown>{', and no answer can hold them' if side.answer else ''}: {named(unknown)}. "
                'A larger `size`, or "bpe", knows them'
            )


def check_lengths(
    saved: SavedModel,
    examples: Dataset,
    recipe: Recipe,
    part: DataPart,
    held_out: bool,
    note: Callable[[str], None],
) -> None:
    """Raises InputError where a row does not fit into learned positions; tells of rows that a limit cuts or
    isolates."""
    shape, lengths = saved.model.shape, examples.lengths()
    language = saved.model.role == "language"
    if isinstance(shape, TransformerConfig) and shape.positions == "learned":
        row = max(range(len(lengths)), key=lambda row: max(lengths[row]))
        if (longest := max(lengths[row])) > shape.longest:
            where = f"[text] window = {recipe.text.window}" if language else part.place(row)
            raise InputError(
                f"{where}: a text must fit into learned positions, which reach {shape.longest:,} tokens ([model] "
                f"longest); it has {longest:,}. Shorten it, give a larger `longest` to a new model, or take "
                "rotary or sinusoidal positions, which have no end."
            )
    if language:
        return
    alone = [row for row, length in enumerate(lengths) if sum(length) > recipe.training.tokens]
    if alone and not held_out:
        row = max(alone, key=lambda row: sum(lengths[row]))
        note(
            f"{_rows(len(alone))} of {part.path} longer than a batch (tokens = {recipe.training.tokens:,}): "
            f"each is a batch by itself; the longest, {part.place(row)}, has {sum(lengths[row]):,} tokens"
        )
    if held_out and saved.model.role == "pairs":
        most = recipe.prediction.longest
        if cut := [row for row, length in enumerate(lengths) if length[1] - 1 > most]:
            note(
                f"{_rows(len(cut))} of {part.path} with a target of more tokens than an answer may have "
                f"([prediction] longest = {most:,}): no answer can be right; the first is {part.place(cut[0])}"
            )


def check_words(rows: Rows, part: DataPart, note: Callable[[str], None]) -> None:
    """Tell of a word that is hardly one: a line of code, an image in letters, a file without its spaces."""
    long = [
        (row, text) for row, texts in enumerate(rows) for text in texts if _longest_word(text) > LONG_WORD
    ]
    if long:
        row, text = max(long, key=lambda each: _longest_word(each[1]))
        note(
            f"{_rows(len({row for row, _ in long}))} of {part.path} with a word of more than {LONG_WORD} characters; "
            f"the longest, {part.place(row)}, has {_longest_word(text):,}"
        )


def _longest_word(text: str) -> int:
    if max(map(len, text.split()), default=0) <= LONG_WORD:
        return 0
    return max((end - start for start, end in words(text)), default=0)


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count > 1)}"
