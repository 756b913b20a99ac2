"""Selection: which token, layer, heads and step are followed, as asked or by a stated rule."""

from __future__ import annotations

from dataclasses import dataclass

from limelight.errors import ArgumentTypeError, InputError
from limelight.explain.paired_run import PairedRun, StackText
from limelight.modules.transformer import LanguageModel, Transformer


@dataclass(frozen=True)
class Selection:
    """`rows` and `heads` by the kind of attention: encoder, decoder, cross. A row is the query's place.

    `words` say in sentences what was chosen and why.
    """

    layer: int
    rows: dict[str, int]
    heads: dict[str, int]
    words: tuple[str, ...]

    @property
    def step(self) -> int:
        """The decoder's row whose next token is looked at; 0 where there is no decoder."""
        return self.rows.get("decoder", 0)


def kinds(walk: PairedRun) -> tuple[str, ...]:
    """The attentions that the model has, in the order in which data meets them."""
    if isinstance(walk.model, Transformer):
        return "encoder", "decoder", "cross"
    return ("decoder",) if isinstance(walk.model, LanguageModel) else ("encoder",)


def choose(
    walk: PairedRun, token: int | str | None, answer_token: int | str | None, layer: int, head: int | None
) -> Selection:
    """Raises InputError for a token, layer or head that does not exist, ArgumentTypeError for what can be none."""
    for name, given in (("layer", layer), ("head", head)):
        if not isinstance(given, int | None):
            raise ArgumentTypeError(f"{name} must be a whole number; got {given!r}.")
    for name, one in (("token", token), ("answer_token", answer_token)):
        if not isinstance(one, int | str | None):
            raise ArgumentTypeError(f"{name} must be a whole number or the token's text; got {one!r}.")
    if answer_token is not None and not isinstance(walk.model, Transformer):
        raise InputError(
            "answer_token is for models that read one text and write another; of this one name the token to follow."
        )
    number = _layer(walk, layer)
    words = [f"Layer {number} of {_layers(walk)} (counted from 0)."]
    rows: dict[str, int] = {}
    first = walk.side(kinds(walk)[0])
    place = _place(first, token, walk.prompt)
    rule = _as_asked(first, place, token) if token is not None else "the longest of the text: none was named."
    if isinstance(walk.model, LanguageModel) and token is None:
        place, rule = walk.prompt, "the last that was given: none was named."
    rows[first.name] = place
    words.append(f"Token “{first.labels[place]}” (place {place}), {rule}")
    if isinstance(walk.model, Transformer):
        step, rule = _step(walk, place, answer_token, number)
        rows["decoder"] = rows["cross"] = step
        assert walk.decoder is not None
        words.append(
            f"In the decoder, place {step}: it has read “{walk.decoder.labels[step]}” and writes "
            f"“{written(walk, step)}”, {rule}"
        )
    heads = {kind: _head(walk, kind, number, rows[kind], head) for kind in kinds(walk)}
    if head is None:
        named = ", ".join(f"{kind} {each}" for kind, each in heads.items())
        words.append(f"Heads ({named}): those whose row gives the largest weight to a token of the text.")
    else:
        words.append(f"Head {head}, as asked.")
    return Selection(number, rows, heads, tuple(words))


def written(walk: PairedRun, step: int) -> str:
    """The token that the decoder wrote after its place `step`: one of the answer, or END."""
    assert walk.decoder is not None
    labels = walk.decoder.labels
    return (
        labels[step + 1]
        if step + 1 < len(labels)
        else walk.predictor.saved.target.token(written_id(walk, step))
    )


def written_id(walk: PairedRun, step: int) -> int:
    """Its id. After the last token it is what the plain truth holds likeliest."""
    assert walk.decoder is not None
    ids = walk.decoder.ids
    return ids[step + 1] if step + 1 < len(ids) else int(walk.plain.scores[0, step].argmax())


def _layers(walk: PairedRun) -> int:
    """The layers that every stack has."""
    shape = walk.model.shape
    used = {Transformer: (shape.encoder_layers, shape.decoder_layers), LanguageModel: (shape.decoder_layers,)}
    return min(used.get(type(walk.model), (shape.encoder_layers,)))


def _layer(walk: PairedRun, layer: int) -> int:
    layers = _layers(walk)
    if not -layers <= layer < layers:
        raise InputError(
            f"layer must be between {-layers} and {layers - 1} (0 is the first, -1 the last that every stack has); "
            f"got {layer}."
        )
    return layer % layers


def _place(side: StackText, token: int | str | None, prompt: int) -> int:
    """The place of a token in a side: by its number in the text, by its letters, or the longest one."""
    count = prompt if side.name == "encoder" else len(side.ids) - side.first
    if count == 0:
        return 0
    tokens = range(side.first, side.first + count)
    if token is None:
        lengths = {place: _length(side, place) for place in tokens[:prompt]}
        return max(lengths, key=lambda place: lengths[place], default=side.first)
    if isinstance(token, int):
        if not -count <= token < count:
            raise InputError(
                f"token must be between {-count} and {count - 1}: the text has {count}; got {token}."
            )
        return tokens[token]
    for place in tokens:
        if token in (side.labels[place], side.labels[place].removeprefix("▁")):
            return place
    start = side.text.find(token)
    for place in tokens:
        span = side.spans[place]
        if token and start >= 0 and span is not None and span[0] <= start < span[1]:
            return place
    shown = " ".join(side.labels[place] for place in tokens[:40])
    raise InputError(f"token must stand in the text; got {token!r}. The tokens are: {shown}")


def _as_asked(side: StackText, place: int, token: int | str) -> str:
    """Whether others are called the same."""
    alike = [other for other, label in enumerate(side.labels) if label == side.labels[place]]
    if isinstance(token, int) or len(alike) == 1:
        return "as asked."
    numbers = ", ".join(str(each - side.first) for each in alike)
    return f"the first of {len(alike)} that are called so: ask for one by its number, {numbers}."


def _length(side: StackText, place: int) -> int:
    span = side.spans[place]
    return 0 if span is None else len(side.text[slice(*span)].strip())


def _step(walk: PairedRun, source: int, answer_token: int | str | None, layer: int) -> tuple[int, str]:
    """The decoder's place that writes the wanted token, and the rule by which it was found."""
    assert walk.decoder is not None
    answers = len(walk.decoder.ids) - 1
    if answer_token is not None:
        if answers == 0:
            return 0, "the only place: the answer is empty."
        return _place(walk.decoder, answer_token, 0) - 1, "as asked."
    received_N = walk.attention("cross", layer).steps.weights_BHNM[0].mean(0)[:, source]
    step = int(received_N[: max(answers, 1)].argmax())
    return step, "the one that attends most to that token, all heads of the layer averaged."


def _head(walk: PairedRun, kind: str, layer: int, row: int, head: int | None) -> int:
    weights_HM = walk.attention(kind, layer).steps.weights_BHNM[0, :, row]
    heads = weights_HM.shape[0]
    if head is not None:
        if not -heads <= head < heads:
            raise InputError(
                f"head must be between {-heads} and {heads - 1}; got {head}. A layer has {heads} heads."
            )
        return head % heads
    keys = walk.keys(kind)
    ordinary_HM = weights_HM.masked_fill(keys.special, 0.0)
    return int(ordinary_HM.amax(-1).argmax()) if ordinary_HM.numel() else 0
