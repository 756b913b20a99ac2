"""The answer to `about`: what the page can show of a subject."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from limelight._version import __version__
from limelight.viewer.compute import head_stats as numbers, reweighting
from limelight.viewer.compute.attention_layers import TILE, AttentionLayers
from limelight.viewer.compute.token_axis import TokenAxis
from limelight.viewer.protocol.requests import LEVELS
from limelight.viewer.protocol.responses import Answer, Array


def about(
    sides: Sequence[TokenAxis],
    attentions: Sequence[AttentionLayers],
    has: dict[str, bool],
    head: dict[str, Any],
) -> Answer:
    """Sides and attentions, and what `head` says beside them."""
    arrays: dict[str, Array] = {}
    told = []
    for number, side in enumerate(sides):
        same = [n for n, other in enumerate(sides[:number]) if other.segments.text == side.segments.text]
        told.append(side.about() | {"same_as": same[0] if same else None})
        arrays |= side.arrays(str(number))
    found = {
        **head,
        "mode": "served",
        "sides": told,
        "attentions": [_told(attention, sides) for attention in attentions],
        "levels": list(LEVELS),
        "has": {**has, "read": False},
        "limits": {"text_bytes": 0, "files": 0},
        "made": {
            "limelight": __version__,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }
    return Answer("about", found, arrays)


def _told(attention: AttentionLayers, sides: Sequence[TokenAxis]) -> dict[str, Any]:
    return {
        "name": attention.name,
        "kind": attention.kind,
        "query": sides.index(attention.queries),
        "key": sides.index(attention.keys),
        "rows": attention.N,
        "columns": attention.M,
        "tile": TILE,
        "deepest": attention.deepest,
        "layers": [
            {
                "layer": layer,
                "name": attention.names.get(layer, f"layer {layer}"),
                "heads": matrix.shape[1],
            }
            for layer, matrix in attention.layers.items()
        ],
        "slices": None,
        "slice": attention.start,
        "between": dict(zip(("rows", "columns"), attention.between, strict=True)),
        "measures": [each._asdict() for each in numbers.measures(attention)],
        "weighs": reweighting.offered(attention),
        "note": attention.note,
    }
