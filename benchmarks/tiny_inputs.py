"""Inputs for a small model, by the names that its forward takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.tiny_families import INPUTS, patches
from benchmarks.tiny_models import WORDS, NotBuiltError, is_config, told

BATCH, TOKENS, DECODED, PADDED = 2, 13, 11, 3

Inputs = dict[str, Any]

OPTIONAL = ("attention_mask", "decoder_attention_mask")
TEXT = ("input_ids", "inputs", "input")


def first_inputs(model: nn.Module, config: Any) -> tuple[Inputs, Any]:
    """The first inputs that the model runs on, and its output. Raises NotBuiltError if there are none."""
    why = ""
    for inputs in inputs_for(model, config):
        try:
            torch.manual_seed(3)
            return inputs, model(**inputs)
        except Exception as error:
            why = why or told("it does not run", error)
    raise NotBuiltError(why or "no inputs are known for its forward")


def inputs_for(model: nn.Module, config: Any) -> Iterator[Inputs]:
    """Inputs that the model may run on, those that show it more first."""
    torch.manual_seed(2)
    own = INPUTS.get(config.model_type)
    if own is not None:
        yield own(config)
    parameters = inspect.signature(model.forward).parameters
    if "grid_thw" in parameters:
        grid = patches(config)
        flat = grid.pop("hidden_states")
        yield {**grid, next(iter(parameters)): flat}
    needed = [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    made = {name: make(config) for name, make in MAKERS.items() if name in parameters}
    made = {name: value for name, value in made.items() if value is not None}
    text = {
        name: value for name, value in made.items() if name in (*TEXT, *OPTIONAL, "decoder_input_ids", "bbox")
    }
    seen: list[set[str]] = []
    main = getattr(model, "main_input_name", "input_ids")
    wanted = (
        {name: value for name, value in made.items() if name not in ("input_values", "input_features")},
        text,
        {
            name: value
            for name, value in made.items()
            if name == main or name in needed or name == "decoder_input_ids"
        },
        {name: value for name, value in made.items() if name == main or name in needed},
        made,
    )
    for chosen in wanted:
        if "decoder_input_ids" not in chosen:
            chosen.pop("decoder_attention_mask", None)
        if chosen and set(chosen) not in seen and set(needed) <= {*chosen, "args", "kwargs"}:
            seen.append(set(chosen))
            yield from _variants(chosen, config)


def _variants(inputs: Inputs, config: Any) -> Iterator[Inputs]:
    """The same inputs with the shapes that features and pixels may have."""
    yield inputs
    for name, others in SHAPES.items():
        if name in inputs:
            for make in others:
                made = make(config)
                if made is not None:
                    yield {**inputs, name: made}


# ---- one input ----------------------------------------------------------------------------------------


def parts(config: Any) -> Iterator[Any]:
    """A configuration and all those within it."""
    yield config
    for held in vars(config).values():
        if is_config(held):
            yield from parts(held)


def look_up(config: Any, *names: str, default: Any = None) -> Any:
    """The first of these fields that the configuration or one within it has."""
    for each in parts(config):
        for name in names:
            found = vars(each).get(name)
            if found is not None:
                return found
    return default


def special_ids(config: Any) -> set[int]:
    found: set[int] = set()
    for each in parts(config):
        for name, value in vars(each).items():
            if name.endswith(("_token_id", "_index", "_id")):
                found.update(value if isinstance(value, (list, tuple)) else [value])
    return found


def words(config: Any, length: int) -> Tensor:
    plain = [number for number in range(4, WORDS) if number not in special_ids(config)]
    highest = look_up(config, "vocab_size", default=WORDS)
    plain = [number for number in plain if number < highest]
    return torch.tensor(plain)[torch.randint(0, len(plain), (BATCH, length))]


def padding(length: int) -> Tensor:
    """Ones, and zeros where the second sequence is padded on the right."""
    mask = torch.ones(BATCH, length, dtype=torch.long)
    mask[1, length - PADDED :] = 0
    return mask


def pixels(config: Any) -> Tensor:
    channels = look_up(config, "num_channels", "in_channels", "in_chans", default=3)
    channels = channels if isinstance(channels, int) else 3
    size = look_up(config, "image_size", "img_size", "input_size", default=32)
    sides = list(size) if isinstance(size, (list, tuple)) else [size, size]
    sides = sides if all(isinstance(side, int) for side in sides) else [32, 32]
    return torch.randn(BATCH, channels, *sides[-2:])


def video(config: Any) -> Tensor:
    frames = look_up(config, "num_frames", "frames_per_clip", default=4)
    return pixels(config).unsqueeze(1).repeat(1, frames, 1, 1, 1) + torch.randn(1, frames, 1, 1, 1)


def mel_last(config: Any) -> Tensor:
    return torch.randn(BATCH, 40, _mels(config))


def mel_first(config: Any) -> Tensor:
    return torch.randn(BATCH, _mels(config), 2 * look_up(config, "max_source_positions", default=20))


def _mels(config: Any) -> int:
    return look_up(
        config,
        "num_mel_bins",
        "n_mels",
        "input_feat_per_channel",
        "feature_projection_input_dim",
        "input_dim",
        "feature_size",
        default=16,
    )


def boxes(config: Any) -> Tensor:
    corner = torch.randint(0, 30, (BATCH, TOKENS, 2))
    return torch.cat([corner, corner + torch.randint(1, 30, (BATCH, TOKENS, 2))], -1)


MAKERS: dict[str, Callable[[Any], Any]] = {
    "input_ids": lambda config: words(config, TOKENS),
    "attention_mask": lambda config: padding(TOKENS),
    "decoder_input_ids": lambda config: words(config, DECODED),
    "decoder_attention_mask": lambda config: padding(DECODED),
    "pixel_values": pixels,
    "pixel_values_videos": video,
    "input_features": mel_first,
    "input_values": lambda config: torch.randn(BATCH, 6000),
    "bbox": boxes,
}
"""How each input is made."""

SHAPES: dict[str, tuple[Callable[[Any], Any], ...]] = {
    "pixel_values": (video,),
    "input_features": (mel_last,),
    "input_values": (
        lambda config: torch.randn(BATCH, 1, 6000),
        lambda config: torch.randn(BATCH, look_up(config, "max_length", default=40), _mels(config)),
    ),
    "decoder_input_ids": (lambda config: None,),
}
"""Other shapes that models expect under the same name."""
