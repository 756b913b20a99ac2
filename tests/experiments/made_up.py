"""Made-up results of runs, so that what is said of them can be tested: the numbers choose who wins."""

from __future__ import annotations

from itertools import product
from typing import Any

LABELS = {"attention": "Attention", "lstm": "LSTM", "gru": "GRU"}
RECORDS, DISTANCES, LONGEST = (1, 4, 12), (4, 64, 512, 4096), 512


def scope(right: dict[str, tuple[float, ...]], rise: float = 0.0) -> dict[str, dict[str, Any]]:
    """`right` holds for each rival the share of right answers everywhere, by seed; `rise`, what the end gave."""
    return {
        f"scope-{rival}-{seed}": {
            "rival": rival,
            "label": LABELS[rival],
            "seed": seed,
            "choice": {"rate": 0.003},
            "shape": {"architecture": "transformer" if rival == "attention" else "recurrent"},
            "parameters": 10_007,
            "updates": 101,
            "epochs": 0,
            "questions": 2_000_000,
            "CPU seconds": 83.0,
            "longest": LONGEST,
            "judged": {"records": [4, 12], "distances": [16, 96]},
            "curve": [
                {"CPU seconds": float(n), "accuracy": share - (rise if n < 8 else 0.0)} for n in range(12)
            ],
            "grid": [
                {"records": records, "distance": distance, "accuracy": share, "asked": 97}
                for records, distance in product(RECORDS, DISTANCES)
            ],
            "gradients": {
                when: [{"distance": distance, "share": 1 / distance} for distance in DISTANCES]
                for when in ("fresh", "trained")
            },
        }
        for rival, shares in right.items()
        for seed, share in enumerate(shares)
    }


def efficiency(seconds: dict[str, float], after: dict[str, float]) -> dict[str, dict[str, Any]]:
    """`seconds` of a training step of each rival at 32 tokens; `after` is how many times as long it takes at 512."""
    rivals = {
        rival: {
            "label": LABELS[rival],
            "parameters": 10_007,
            "shape": {
                "architecture": "transformer" if rival == "attention" else "recurrent",
                "decoder_layers": 2,
            },
        }
        for rival in seconds
    }
    at = {rival: {32: seconds[rival], 512: seconds[rival] * after[rival]} for rival in seconds}
    places: dict[str, list[dict[str, Any]]] = {
        "length": [
            {
                "rival": rival,
                "threads": threads,
                "length": length,
                "batch": 512 // length,
                "seconds": [spent / threads] * 3,
            }
            for rival in seconds
            for length, spent in at[rival].items()
            for threads in (1, 2)
        ],
        "batch": [
            {"rival": rival, "threads": 1, "length": 128, "batch": batch, "seconds": [seconds[rival] * batch]}
            for rival in seconds
            for batch in (1, 4)
        ],
        "processes": [
            {"rival": rival, "processes": count, "length": 512, "batch": 8, "seconds": [0.5 * count**0.5]}
            for rival in seconds
            for count in (1, 2)
        ],
        "decoding": [
            {"rival": rival, "length": length, "reading": [spent], "writing": [spent / length], "bytes": 1024}
            for rival in seconds
            for length, spent in at[rival].items()
        ],
    }
    return {
        f"efficiency-{kind}": {
            "kind": kind,
            "device": "cpu",
            "tokens": 512,
            "rivals": rivals,
            "places": some,
        }
        for kind, some in places.items()
    }
