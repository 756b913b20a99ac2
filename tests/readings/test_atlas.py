"""The atlas: every number is what the dense weights give; heads that do one thing are found."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from limelight.errors import InputError, ShapeError
from limelight.matrix import AttentionMatrix, masks
from limelight.readings.atlas import MEASURES, Atlas, atlas, repeated_tokens
from limelight.readings.head_patterns import MaskedShare, duplicate_token, induction, previous_token
from limelight.readings.render.atlas import AtlasTable, atlas_picture
from tests.readings.cases import random_layers

H, T = 3, 23
CLOSE = 2e-6


def by_hand(weights_HNM: torch.Tensor, ids: list[int]) -> dict[str, list[float]]:
    """Straight from the definitions, query by query."""
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    for weights in weights_HNM.double():
        looking = [i for i in range(T) if weights[i].sum() > 0]
        rows: dict[str, list[float]] = {name: [] for name in MEASURES}
        for i in looking:
            rows["entropy"].append(-sum(float(a) * math.log(a) for a in weights[i] if a > 0))
            rows["distance"].append(sum(float(weights[i, j]) * abs(i - j) for j in range(T)))
            rows["sink"].append(float(weights[i, 0]))
            rows["previous token"].append(float(weights[i, i - 1]) if i else 0.0)
            same = [j for j in range(i) if ids[j] == ids[i]]
            for name, keys in (("duplicate token", same), ("induction", [j + 1 for j in same])):
                seen = [j for j in keys if weights[i, j] > 0]
                if seen:
                    rows[name].append(sum(float(weights[i, j]) for j in seen))
        for name, values in rows.items():
            found[name].append(sum(values) / len(values) if values else math.nan)
    return found


@pytest.mark.parametrize("mask", [masks.causal(), None, masks.causal() & masks.window(5)], ids=str)
def test_every_number_is_what_the_definition_gives(mask: masks.Mask | None) -> None:
    ids = torch.randint(0, 7, (T,)).tolist()
    layers = random_layers(mask, layers=2, shape=(1, H, T, T))
    found = atlas(layers.matrices, ids)
    for layer, weights_HNM in enumerate(layers.truth_LBHNM[:, 0]):
        for name, values in by_hand(weights_HNM, ids).items():
            np.testing.assert_allclose(
                found[name].values[layer], values, atol=2e-5 if name == "distance" else CLOSE
            )
    assert found.heads == tuple((layer, head) for layer in range(2) for head in range(H))


def test_heads_that_do_one_thing_are_found() -> None:
    """Scores are set, so that each head looks at one place only, where there is one."""
    ids = repeated_tokens(97, length=7, times=3)
    N = len(ids)
    seen = {
        "previous token": previous_token(N),
        "duplicate token": duplicate_token(ids),
        "induction": induction(ids) & ~masks.documents(torch.arange(N), torch.arange(N)),
        "sink": masks.documents(torch.zeros(N, dtype=torch.int64), torch.arange(N)),
    }
    bias = torch.cat([60.0 * mask.dense(N, N).double() for mask in seen.values()], dim=1)
    flat = torch.zeros(1, len(seen), N, 2, dtype=torch.float64)
    found = atlas(AttentionMatrix(flat, flat, bias=bias, mask=masks.causal()), ids)
    for head, name in enumerate(seen):
        (_, best), value = found.ranked(name)[0]
        assert best == head
        assert value > 0.9, name
    assert found.ranked("entropy")[-1][1] < 0.05


def test_no_repeats_mean_no_value() -> None:
    found = atlas(random_layers(masks.causal(), layers=1, shape=(1, H, T, T)).matrices, range(T))
    for name in ("duplicate token", "induction"):
        assert np.isnan(found[name].values).all()
        assert found.ranked(name) == []
    assert all(np.isfinite(found[name].values).all() for name in ("entropy", "sink", "previous token"))


def test_layers_of_different_width_stand_side_by_side() -> None:
    one, two = (random_layers(layers=1, shape=(1, heads, T, T)).matrices[0] for heads in (2, 3))
    found = atlas({4: one, 7: two}, [0] * T)
    assert found["sink"].labels == (("layer 4", "layer 7"), ("head 0", "head 1", "head 2"))
    assert np.isnan(found["sink"].values[0, 2])
    assert len(found.table()) == 5
    assert found.table()[2]["layer"] == 7


def test_sinks_can_be_named() -> None:
    layers = random_layers(layers=1, shape=(1, H, T, T))
    found = atlas(layers.matrices, range(T), sinks=(0, T - 1))
    expected = layers.truth_LBHNM[0, 0][..., [0, T - 1]].sum(-1).mean(-1)
    np.testing.assert_allclose(found["sink"].values[0], expected, atol=CLOSE)


def test_cross_attention_is_refused() -> None:
    with pytest.raises(ShapeError, match="self-attention"):
        atlas(random_layers(layers=1).matrices, range(13))


# ── The random tokens ──


def test_random_tokens_are_said_again() -> None:
    ids = repeated_tokens([3, 5, 7, 11, 13], length=4, times=3, seed=1)
    assert ids.tolist() == ids[:4].tolist() * 3
    assert len(set(ids.tolist())) == 4 and set(ids.tolist()) <= {3, 5, 7, 11, 13}
    assert repeated_tokens(50, 7, 2, seed=1).tolist() == repeated_tokens(50, 7, 2, seed=1).tolist()
    with pytest.raises(InputError, match="6 different tokens are needed; the vocabulary has 5"):
        repeated_tokens(5, 6)


# ── The reduction ──


@pytest.mark.parametrize("mask", [masks.causal(), None], ids=str)
def test_shares_do_not_depend_on_the_tiles(mask: masks.Mask | None, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = random_layers(mask, layers=1, shape=(2, H, T, T))
    at = masks.window(3) & masks.causal()
    share, keys = layers.matrices[0].read(MaskedShare(at))
    pointed = at.dense(T, T)[0, 0]
    truth = layers.truth_LBHNM[0] * pointed
    np.testing.assert_allclose(share, truth.sum(-1), atol=CLOSE)
    visible = torch.ones(T, T, dtype=torch.bool) if mask is None else mask.dense(T, T)[0, 0]
    assert keys.tolist() == (pointed & visible).sum(-1).expand(2, H, T).tolist()


# ── Shown ──


@pytest.mark.slow
def test_the_terminal_and_the_picture_show_every_measure() -> None:
    from rich.console import Console

    found = atlas(
        random_layers(masks.causal(), layers=2, shape=(1, H, T, T)).matrices, [0, 1, 2] * 7 + [0, 1]
    )
    console = Console(width=100, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as said:
        console.print(AtlasTable(found))
    for name in MEASURES:
        assert f"{name}," in said.get()
        (layer, head), _ = found.ranked(name)[0]
        line = next(
            line
            for line in said.get().splitlines()
            if line.startswith(name) and ":" not in line and "," not in line
        )
        assert f"{layer}.{head}" in line
    pytest.importorskip("matplotlib")
    figure = atlas_picture(found)
    titles = [axes.get_title(loc="left").partition("\n")[0] for axes in figure.axes]
    assert [title for title in titles if title] == list(MEASURES)


@pytest.mark.slow
def test_a_faint_measure_is_drawn_faint() -> None:
    pytest.importorskip("matplotlib")
    found = atlas(random_layers(masks.causal(), layers=2, shape=(1, H, T, T)).matrices, [*range(T)])
    faint = replace(found["sink"], values=found["sink"].values / found["sink"].values.max() * 0.02)
    figure = atlas_picture(Atlas({**found.readings, "sink": faint}))
    scales = {axes.get_title(loc="left").partition("\n")[0]: axes.collections for axes in figure.axes}
    assert scales["sink"][0].get_clim() == (0, 0.2)
    assert scales["entropy"][0].get_clim() == pytest.approx((0, float(found["entropy"].values.max())))


def test_texts_and_sinks_that_are_not_there() -> None:
    layers, ids = random_layers(masks.causal(), shape=(2, H, T, T)).matrices, list(range(T))
    with pytest.raises(InputError, match="sinks are places of the 23 tokens"):
        atlas(layers, ids, sinks=[T])
    for batch in (-1, 2):
        with pytest.raises(ShapeError, match="batch must be one of the 2 texts"):
            atlas(layers, ids, batch=batch)
