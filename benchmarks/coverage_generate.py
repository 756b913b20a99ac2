"""One family that writes: what is joined of its steps, against the eager model's own weights at every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.coverage import WRITTEN, Row
from benchmarks.coverage_check import BOUND, quietly
from benchmarks.official import DIFFERENT
from benchmarks.tiny_inputs import words
from benchmarks.tiny_models import NotBuiltError, Tiny, tiny
from limelight.capture import CapturedAttention, watch
from limelight.errors import LimelightError

PROMPT, PADDED, NEW = 7, 3, 6
SELF, CROSS = ("attentions", "decoder_attentions"), ("cross_attentions",)
HEADS = ("MODEL_FOR_CAUSAL_LM_MAPPING", "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING")
"""Where transformers lists the models that write."""


def writing_families() -> list[str]:
    """The model types that transformers has with a causal or sequence-to-sequence head."""
    from transformers.models.auto import modeling_auto

    return sorted({family for name in HEADS for family in getattr(modeling_auto, f"{name}_NAMES")})


def check_generate(family: str) -> Row:
    """Build it, let it write in every way that it can, and compare what was captured."""
    with quietly(), torch.no_grad():
        row = Row(family, "not built")
        try:
            small = tiny(family, HEADS)
        except NotBuiltError as error:
            row.reason = str(error)
            return row
        row.model = type(small.model).__name__
        eager = small.again("eager")
        for model in (small.model, eager):
            model.generation_config.eos_token_id = None
            if model.generation_config.decoder_start_token_id is None:
                model.generation_config.decoder_start_token_id = 0
        for name, way in WAYS.items():
            outcome, reason = _outcome(row, small, eager, way)
            row.ways[name] = f"{outcome}: {reason}" if reason else outcome
            if WRITTEN.index(outcome) > WRITTEN.index(row.outcome) or row.outcome == "not built":
                row.outcome, row.reason = outcome, reason and f"{name}: {reason}"
        return row


def _outcome(row: Row, small: Tiny, eager: nn.Module, way: Way) -> tuple[str, str]:
    try:
        inputs = way.inputs(small.config)
        plain = _written(small.model, way, inputs)
    except Exception as error:
        return "not run", f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    try:
        seen, tokens = _watched(small.model, way, inputs)
    except LimelightError as error:
        return "refused", str(error)
    if not torch.equal(tokens, plain):
        return "wrong", "it writes another text under capture"
    row.matrices = max(row.matrices, len(seen))
    if row.family in DIFFERENT:
        return "verified", DIFFERENT[row.family]
    try:
        with official(eager) as texts:
            theirs = _written(eager, way, inputs)
    except Exception as error:
        return "verified", f"eager, it does not write ({type(error).__name__})"
    if torch.equal(theirs, tokens):
        outcome, reason = _judge(row, texts.of(tokens), seen, inputs)
        if outcome != "wrong":
            return outcome, reason
    try:  # the backends differ, by rounding that turned a choice or in what they make of padding: one model is enough
        with official(eager) as texts:
            seen, tokens = _watched(eager, way, inputs)
    except LimelightError as error:
        return "refused", str(error)
    return _judge(row, texts.of(tokens), seen, inputs)


def _judge(
    row: Row, wanted: list[Tensor], seen: CapturedAttention, inputs: Mapping[str, Tensor]
) -> tuple[str, str]:
    if not wanted:
        return "verified", "it gives no weights of its own"
    if any(bool(whole.isnan().any()) for whole in wanted):
        return "verified", "its own eager weights are NaN"
    left = [call.matrix.dense() for call in seen]
    unmatched, worst = 0, 0.0
    for whole in wanted:
        gaps = [(_gap(whole, one, inputs.get("attention_mask")), place) for place, one in enumerate(left)]
        gap, place = min(gaps, default=(float("inf"), -1))
        if gap < BOUND:
            left.pop(place)
            worst = max(worst, gap)
        else:
            unmatched += 1
    row.official = max(row.official, len(wanted))
    row.error = max(row.error or 0.0, worst)
    if not unmatched:
        return "exact", ""
    told = [*seen.apart, *(f"{name} was missed: {why}" for name, why in seen.missed.items())]
    if told:
        return "noted", told[0]
    shapes = sorted({tuple(one.shape) for one in left})
    return "wrong", f"{unmatched} of {len(wanted)} texts differ; captured besides: {shapes[:3]}"


def _gap(whole_BHNM: Tensor, captured_BHNM: Tensor, mask_BN: Tensor | None) -> float:
    """The largest difference; left out are rows of padding, and those that may look at nothing: eager models spread
    them evenly."""
    if whole_BHNM.shape != captured_BHNM.shape:
        return float("inf")
    gap = (whole_BHNM - captured_BHNM).abs()
    if mask_BN is not None and len(mask_BN) == len(gap) and mask_BN.shape[1] <= gap.shape[2]:
        gap[:, :, : mask_BN.shape[1]].masked_fill_(mask_BN[:, None, :, None] == 0, 0)
    least = whole_BHNM.masked_fill(whole_BHNM == 0, torch.inf).amin(-1)
    even = whole_BHNM.amax(-1) - least < 1e-6
    blind = captured_BHNM.amax(-1) == 0
    return float(gap.masked_fill((even & blind)[..., None], 0).max())


def _watched(model: nn.Module, way: Way, inputs: Mapping[str, Tensor]) -> tuple[CapturedAttention, Tensor]:
    with watch(model, verify=True) as seen:
        tokens = _written(model, way, inputs)
    return seen, tokens


def _written(model: Any, way: Way, inputs: Mapping[str, Tensor]) -> Tensor:
    torch.manual_seed(5)
    how = {name: value.clone() if isinstance(value, Tensor) else value for name, value in way.how.items()}
    result: Tensor = model.generate(**inputs, max_new_tokens=NEW, num_beams=1, pad_token_id=0, **how)
    return result


# ---- ways of writing ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """How a model is asked to write."""

    inputs: Callable[[Any], dict[str, Tensor]]
    how: Mapping[str, Any] = field(default_factory=dict)


def _padded(config: Any) -> dict[str, Tensor]:
    """Two texts, the second padded on the left."""
    torch.manual_seed(2)
    mask = torch.ones(2, PROMPT, dtype=torch.long)
    mask[1, :PADDED] = 0
    return {"input_ids": words(config, PROMPT), "attention_mask": mask}


def _one(config: Any) -> dict[str, Tensor]:
    return {"input_ids": _padded(config)["input_ids"][:1]}


def _repeating(config: Any) -> dict[str, Tensor]:
    """A text in which there is something to look up."""
    return {"input_ids": _one(config)["input_ids"][:, :3].repeat(1, 3)}


WAYS = {
    "greedy": Way(_padded, {"do_sample": False}),
    "chunks": Way(_padded, {"do_sample": False, "prefill_chunk_size": 3}),
    "static": Way(_padded, {"do_sample": False, "cache_implementation": "static"}),
    "several": Way(_one, {"do_sample": True, "num_return_sequences": 2}),
    "lookup": Way(_repeating, {"do_sample": False, "prompt_lookup_num_tokens": 3}),
    "guidance": Way(
        _one, {"do_sample": False, "guidance_scale": 1.5, "negative_prompt_ids": torch.tensor([[7, 8, 9]])}
    ),
}


# ---- what the eager model gives -----------------------------------------------------------------------


@dataclass
class Texts:
    """The weights of every forward, put together by the cache that it was given: rows by their place in the text."""

    kept: dict[tuple[int, str, int], list[Tensor]] = field(default_factory=dict)
    caches: list[Any] = field(default_factory=list)
    """All caches, so that no two are at one address."""
    used: set[int] = field(default_factory=set)
    """The addresses of those that more than one forward used."""

    def add(self, given: Any, output: Mapping[str, Any]) -> None:
        cache = given if output.get("past_key_values") is None else output["past_key_values"]
        cache = getattr(cache, "self_attention_cache", cache)
        length = 0 if cache is None else int(cache.get_seq_length())
        for name in (*SELF, *CROSS):
            for layer, weights in enumerate(output.get(name) or ()):
                if not isinstance(weights, Tensor):
                    continue
                N = weights.shape[2]
                if length < N:  # without a cache, or one that is not used, every forward is of a whole text
                    cache, length = object(), N
                elif length > N:
                    self.used.add(id(cache))
                rows = self.kept.setdefault((id(cache), name, layer), [])
                self._add(rows, weights.float(), length, name in CROSS)
        self.caches.append(cache)

    def _add(self, rows: list[Tensor], weights_BHNM: Tensor, length: int, cross: bool) -> None:
        N, M = weights_BHNM.shape[2:]
        del rows[length - N :]  # what was taken back
        if not cross:
            if length < M:  # room behind
                weights_BHNM = weights_BHNM[..., :length]
            weights_BHNM = nn.functional.pad(weights_BHNM, (max(0, length - M), 0))
        rows += [weights_BHNM[:, :, row] for row in range(N)]

    def of(self, tokens: Tensor) -> list[Tensor]:
        """All texts of these tokens, of which the last was never read; guesses beyond them were wrong."""
        wholes = []
        for (cache, name, _), all_rows in self.kept.items():
            rows = all_rows[: tokens.shape[1] - 1] if cache in self.used else all_rows
            columns = rows[-1].shape[-1] if name in CROSS else len(rows)
            padded = [nn.functional.pad(row, (0, columns - row.shape[-1])) for row in rows]
            wholes.append(torch.stack(padded, dim=2))
        return wholes


@contextmanager
def official(model: nn.Module) -> Iterator[Texts]:
    """What the model itself gives with output_attentions=True, in every forward inside the block."""
    texts = Texts()

    def ask(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**kwargs, "output_attentions": True}

    def take(_: nn.Module, __: Any, kwargs: dict[str, Any], output: Any) -> None:
        texts.add(kwargs.get("past_key_values"), output)

    hooks = [
        model.register_forward_pre_hook(ask, with_kwargs=True),
        model.register_forward_hook(take, with_kwargs=True),
    ]
    try:
        yield texts
    finally:
        for hook in hooks:
            hook.remove()


def shown(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """How many families come out how, by the way of writing."""
    return [
        {"outcome": outcome, "families": sum(row.outcome == outcome for row in rows)}
        | {name: sum(row.ways.get(name, "").partition(":")[0] == outcome for row in rows) for name in WAYS}
        for outcome in WRITTEN
    ]
