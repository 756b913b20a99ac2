"""The benchmark of capture measures what it says, and leaves the model as it was."""

from __future__ import annotations

import pytest

from benchmarks import capture
from tests.capture import foreign


def test_every_kind_of_forward_is_taken_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    model = foreign.bert()
    found = capture.cost(model, tokens=7, rounds=2)
    assert set(found) == {"forward_ms", "watch_open", "watch_opened_for_it", "tensors_held"}
    assert found["forward_ms"] > 0
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_dear_watch_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = {"forward_ms": 100.0, "watch_open": 0.0, "watch_opened_for_it": 0.0, "tensors_held": 0.0}
    monkeypatch.setattr(capture, "minilm", foreign.bert)
    monkeypatch.setattr(capture, "cost", lambda *_: shares)
    assert not capture.run(tokens=512, rounds=1)["failed"]
    shares["watch_opened_for_it"] = 2 * capture.ALLOWED
    assert capture.run(tokens=512, rounds=1)["failed"]


def test_the_control_holds_queries_keys_and_values() -> None:
    model = foreign.bert()
    with capture.outputs_held(model) as held:
        model(**foreign.inputs(model))
    assert len(held) == 3 * foreign.LAYERS


def test_a_long_text_is_read_in_every_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        capture, "gpt2", lambda tokens: foreign.gpt2(n_layer=12, n_positions=tokens, vocab_size=50_000)
    )
    found = capture.long_text(13)
    assert found["tokens"] == 13 and found["forward_s"] > 0
