"""The benchmark of capture measures what it says, and leaves the model as it was."""

from __future__ import annotations

import pytest

from benchmarks import capture, long_texts
from tests.capture import foreign
from tests.examples import mostly_slow

WAYS = ("watch_open", "watch_opened_for_it", "tensors_held", "watched_for_good", "held_for_good")


@pytest.mark.slow
def test_every_kind_of_forward_is_taken_by_turns() -> None:
    model = foreign.bert()
    found = capture.cost(model, tokens=7, rounds=2)
    assert list(found) == ["median", "shortest"]
    assert all(set(row) == {"forward_ms", *WAYS} and row["forward_ms"] > 0 for row in found.values())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_way_that_takes_twice_as_long_costs_the_whole_forward() -> None:
    taken = capture.by_turns({"one": lambda: 1.0, "two": lambda: 2.0}, rounds=3)
    assert taken == {"one": [1.0] * 3, "two": [2.0] * 3}


@pytest.mark.parametrize("judged", mostly_slow([True, False], False))
def test_a_dear_watch_fails_in_the_row_that_is_judged(judged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    dear = "median" if judged else "shortest"
    rows = {
        of: {"forward_ms": 100.0, **dict.fromkeys(WAYS, 2 * capture.ALLOWED if of == dear else 0.0)}
        for of in ("median", "shortest")
    }
    monkeypatch.setattr(capture, "minilm", foreign.bert)
    monkeypatch.setattr(capture, "cost", lambda *_: rows)
    assert capture.run(tokens=512, rounds=1)["failed"] is judged


def test_the_control_holds_queries_keys_and_values() -> None:
    model = foreign.bert()
    with capture.outputs_held(model) as held:
        model(**foreign.inputs(model))
    assert len(held) == 3 * foreign.LAYERS


@pytest.mark.slow
def test_long_texts_are_read_in_every_layer_from_short_to_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_texts, "gpt2", lambda tokens: foreign.gpt2(n_positions=tokens))
    monkeypatch.setattr(long_texts, "SHORTEST", 7)
    found = capture.run(rounds=0, long=31)["long"]
    assert [row["tokens"] for row in found] == [7, 14, 31]
    assert all(row["forward_s"] > 0 and row["reading_as_multiple"] > 0 for row in found)


def test_a_slow_reading_of_a_long_text_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def row(multiple: float) -> list[dict[str, float]]:
        return [{"tokens": 4096, "forward_s": 1.0, "reading_as_multiple": multiple, "peak_GB": 1.0}]

    for multiple, failed in ((long_texts.ALLOWED, False), (2 * long_texts.ALLOWED, True)):
        monkeypatch.setattr(long_texts, "read_long", lambda _, multiple=multiple: row(multiple))
        assert capture.run(rounds=0, long=4096)["failed"] is failed
