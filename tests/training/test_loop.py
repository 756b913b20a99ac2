"""The loop: the loss, the steps, the average, evaluation, early stop, Ctrl-C."""

from __future__ import annotations

import io
import json
import math
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from unittest import mock

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import nn

from limelight.errors import ArgumentTypeError, DivergedError, InputError
from limelight.modules.transformer import Classifier, TransformerConfig
from limelight.training.batches import IGNORE, BatchSampler, LabelledTexts
from limelight.training.checkpoints import TrainProgress, checkpoints, save_weights
from limelight.training.interrupts import Terminated
from limelight.training.loop import BEST, Evaluation, TrainConfig, groups, loss_of
from limelight.training.optimizer import averaged
from limelight.training.reporting import Reporter
from tests.examples import mostly_slow
from tests.tolerance import check
from tests.training import tiny

PLAIN = replace(tiny.SHAPE, dropout=0.0)
SHORT = replace(tiny.SETTINGS, steps=5, accumulate=1, evaluate_every=3, checkpoint_every=100)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


# ── The loss ──


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_smoothed_cross_entropy_of_the_labels_that_count(smoothing: float) -> None:
    scores_BNV = torch.randn(3, 5, 7)
    labels_BN = torch.randint(0, 7, (3, 5))
    labels_BN[1, 3:] = IGNORE
    expected = 0.0
    for score_V, label in zip(scores_BNV.double().flatten(0, 1), labels_BN.flatten().tolist(), strict=True):
        if label != IGNORE:
            logp_V = score_V - score_V.logsumexp(0)
            # §5.4: the label has 1 − ε of the probability, ε is spread over all V tokens.
            expected -= (1 - smoothing) * float(logp_V[label]) + smoothing * float(logp_V.mean())
    assert loss_of(scores_BNV, labels_BN, smoothing).item() == pytest.approx(expected, rel=1e-5)


def test_loss_of_classes_has_no_token_axis() -> None:
    scores_BV, labels_B = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    expected = -scores_BV.log_softmax(-1)[range(5), labels_B].sum()
    assert loss_of(scores_BV, labels_B).item() == pytest.approx(expected.item(), rel=1e-6)


# ── Updates ──


def test_accumulated_batches_equal_one_large_batch(tmp_path: Path) -> None:
    examples = tiny.backwards(23)
    large = replace(SHORT, steps=3, tokens=10_000, average=0.0)
    small = replace(large, tokens=31, accumulate=1000)
    ends = []
    for name, settings in (("large", large), ("small", small)):
        model = tiny.fresh_model(PLAIN)
        tiny.run(tmp_path / name, settings, model=model, examples=examples)
        ends.append(weights(model))
    assert len(BatchSampler(examples.lengths(), small.tokens).epoch(0)) > 3
    for name, truth in ends[0].items():
        # Adam divides by the gradient's size, so rounding of a gradient that is almost zero counts in full.
        torch.testing.assert_close(ends[1][name], truth, rtol=1e-4, atol=3e-5)


def test_a_training_that_diverges_is_told_and_stops(tmp_path: Path) -> None:
    wild = replace(SHORT, steps=50, rate=1e30, warmup=1, evaluate_every=100)
    with pytest.raises(DivergedError, match=r"stay numbers; .* begin it anew with a lower rate"):
        tiny.run(tmp_path, wild, model=tiny.fresh_model(PLAIN))


def test_an_update_is_adamw_on_the_clipped_mean_gradient(tmp_path: Path) -> None:
    examples = tiny.backwards(13)
    settings = replace(SHORT, steps=1, tokens=10_000, warmup=0, schedule="constant", clip=0.25)
    model, plain = tiny.fresh_model(PLAIN), tiny.fresh_model(PLAIN)
    tiny.run(tmp_path, settings, model=model, examples=examples)

    batch = examples.batch(BatchSampler(examples.lengths(), settings.tokens, settings.seed).epoch(0)[0])
    (loss_of(plain(**batch.inputs), batch.labels, settings.smoothing) / batch.tokens).backward()
    gradients = {name: parameter.grad.double() for name, parameter in plain.named_parameters()}
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values()))
    assert norm > settings.clip
    for name, start in weights(plain).items():
        gradient = gradients[name] * settings.clip / (norm + 1e-6)
        decayed = start.double() * (1 - settings.rate * settings.weight_decay)
        # After one step the moments, corrected for their start at zero, are g and g².
        expected = decayed - settings.rate * gradient / (gradient.abs() + 1e-9)
        clear = gradient.abs() > 1e-6  # of smaller ones, float32 does not know the direction
        check("output", model.get_parameter(name).detach()[clear], expected[clear])


def test_clip_0_clips_nothing(tmp_path: Path) -> None:
    ends = []
    for clip in (0.0, 1e9):
        model = tiny.fresh_model()
        tiny.run(tmp_path / str(clip), replace(SHORT, clip=clip), model=model)
        ends.append(weights(model))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert not torch.equal(ends[0]["encoder.norm.weight"], torch.ones(tiny.SHAPE.width))


def test_a_run_that_diverges_says_so_before_anything_is_written(tmp_path: Path) -> None:
    model = tiny.fresh_model()
    with torch.no_grad():
        model.decoder.norm.weight[0] = math.nan
    before = weights(model)
    with pytest.raises(InputError, match="lower rate or a longer warmup"):
        tiny.run(tmp_path, replace(SHORT, checkpoint_every=1), model=model)
    assert not checkpoints(tmp_path) and not (tmp_path / BEST).exists()
    for name, weight in before.items():
        torch.testing.assert_close(model.get_parameter(name), weight, rtol=0, atol=0, equal_nan=True)


def test_groups_go_on_where_progress_stands() -> None:
    order = BatchSampler([(number % 5 + 1, 3) for number in range(41)], 29, seed=3)

    def first(progress: TrainProgress, count: int) -> list[tuple[list[list[int]], int, int]]:
        updates = groups(order, 3, progress)
        return [next(updates) for _ in range(count)]

    everything = first(TrainProgress(), 11)
    assert everything[-1][1] >= 1, "the test must reach the next epoch"
    for done in range(1, 10):
        _, epoch, position = everything[done - 1]
        assert first(TrainProgress(epoch=epoch, batch=position), 11 - done) == everything[done:]
    epoch_0 = [batch for group, epoch, _ in everything if epoch == 0 for batch in group]
    assert epoch_0 == order.epoch(0)


# ── The average ──


def test_average_is_the_hand_computed_one() -> None:
    layer = nn.Linear(3, 2)
    average = averaged(layer, decay=0.6)
    expected = None
    for update in range(9):
        with torch.no_grad():
            layer.weight.copy_(torch.randn(2, 3))
        average.update_parameters(layer)
        now = layer.weight.detach().double()
        decay = min(0.6, (1 + update) / (10 + update))
        expected = now if expected is None else decay * expected + (1 - decay) * now
    check("output", average.module.weight.detach(), expected)


def test_without_an_average_the_last_weights_are_kept(tmp_path: Path) -> None:
    model = tiny.fresh_model()
    outcome = tiny.run(tmp_path, replace(SHORT, average=0.0, steps=3), model=model)
    for name, weight in weights(outcome.model).items():
        check("output", weight, weights(model)[name].double())


# ── The last layer's own rate ──


def classified(folder: Path, steps: int, output_rate: float) -> dict[str, torch.Tensor]:
    """A small classifier after so many updates at a level rate: the weights themselves, not their average."""
    torch.manual_seed(0)
    model = Classifier(TransformerConfig(16, 2, 16, 1, 1), 11, 3)
    examples = LabelledTexts([[4 + n % 7, 5, n % 5 + 4] for n in range(31)], [n % 3 for n in range(31)])
    settings = replace(SHORT, steps=steps, tokens=40, schedule="constant", warmup=0, average=0.0)
    settings = replace(settings, output_rate=output_rate, clip=0.0)
    outcome = tiny.run(folder, settings, model=model, examples=examples, evaluate=None)
    return weights(outcome.model)


def test_the_last_layer_has_a_rate_of_its_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    begun = weights(Classifier(TransformerConfig(16, 2, 16, 1, 1), 11, 3))
    alike, faster = classified(tmp_path / "1", 1, 1.0), classified(tmp_path / "10", 1, 10.0)
    for name, weight in begun.items():
        step = alike[name] - weight
        times = 10 if name.startswith("output.") else 1
        torch.testing.assert_close(faster[name] - weight, times * step, rtol=1e-4, atol=1e-6)
    for name, weight in classified(tmp_path / "0", 1, 0.0).items():
        assert torch.equal(weight, alike[name])


def test_a_run_with_two_rates_goes_on_to_the_bit(tmp_path: Path) -> None:
    whole = classified(tmp_path / "whole", 9, 10.0)
    classified(tmp_path / "parts", 4, 10.0)
    for name, weight in classified(tmp_path / "parts", 9, 10.0).items():
        assert torch.equal(weight, whole[name])


def test_a_model_without_a_last_layer_of_its_own_has_one_rate(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="output_rate must be 1 for a model without an output layer"):
        tiny.run(tmp_path, replace(SHORT, output_rate=2.0))


# ── Evaluation, early stop, the end ──


class Scores:
    """An `evaluate` that gives these scores, one after the other, and keeps the weights it was shown."""

    def __init__(self, *scores: float) -> None:
        self.scores = iter(scores)
        self.shown: list[dict[str, torch.Tensor]] = []

    def __call__(self, model: nn.Module) -> Evaluation:
        assert not model.training
        assert not torch.is_grad_enabled()
        self.shown.append(weights(model))
        score = next(self.scores)
        return Evaluation({"goodness": score}, score)


def test_the_best_evaluation_is_what_comes_out(tmp_path: Path) -> None:
    evaluate = Scores(1.0, 3.0, 2.0)
    outcome = tiny.run(tmp_path, replace(SHORT, steps=8), evaluate=evaluate)
    assert (outcome.progress.best_score, outcome.progress.best_step) == (3.0, 6)
    assert not outcome.stopped_early
    for name, weight in weights(outcome.model).items():
        assert torch.equal(weight, evaluate.shown[1][name])
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["goodness"]) for line in log] == [(3, 1.0), (6, 3.0), (8, 2.0)]
    assert [record["goodness"] for record in outcome.progress.history] == [1.0, 3.0, 2.0]


def test_of_equal_scores_the_lower_loss_comes_out(tmp_path: Path) -> None:
    losses = iter([2.0, 0.5, 0.75])
    outcome = tiny.run(
        tmp_path, replace(SHORT, steps=8), evaluate=lambda model: Evaluation({"loss": next(losses)}, 0.0)
    )
    assert outcome.progress.best_step == 6


def test_without_an_evaluation_the_last_weights_come_out(tmp_path: Path) -> None:
    seen = Scores(3.0, 2.0, 1.0)
    tiny.run(tmp_path / "judged", replace(SHORT, steps=8), evaluate=seen)
    tiny.run(tmp_path / "kept", replace(SHORT, steps=5), evaluate=None)
    outcome = tiny.run(tmp_path / "kept", replace(SHORT, steps=8), evaluate=None)
    assert outcome.progress.best_step == 8
    for name, weight in weights(outcome.model).items():
        assert torch.equal(weight, seen.shown[-1][name])


def test_patience_ends_a_run_that_gets_no_better(tmp_path: Path) -> None:
    settings = replace(SHORT, steps=100, patience=2)
    outcome = tiny.run(tmp_path, settings, evaluate=Scores(1.0, 2.0, 2.0, 1.5))
    assert outcome.stopped_early
    assert outcome.progress.step == 12
    assert outcome.progress.best_step == 6
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-0000012"]
    again = tiny.run(tmp_path, settings, evaluate=Scores())
    assert again.progress.history == outcome.progress.history


def test_a_run_ends_at_the_checkpoint_after_which_it_is_told_to(tmp_path: Path) -> None:
    settings = replace(SHORT, steps=100, checkpoint_every=4, patience=2)
    asked: list[int] = []

    def until(progress: TrainProgress) -> bool:
        asked.append(progress.step)
        return progress.step >= 8

    for _ in range(2):  # the second time at once
        outcome = tiny.run(tmp_path, settings, evaluate=Scores(1.0, 2.0, 3.0), until=until)
        assert (outcome.progress.step, outcome.stopped_early) == (8, False)
    assert asked == [0, 4, 8, 8]


def test_a_run_cut_short_before_its_first_evaluation_is_evaluated(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        tiny.run(
            tmp_path,
            replace(SHORT, steps=100, evaluate_every=50),
            examples=Interrupting(tiny.backwards(29), 4),
        )
    outcome = tiny.run(tmp_path, replace(SHORT, steps=2))
    assert outcome.progress.step == 4
    assert outcome.progress.best_score is not None


def test_weights_of_an_evaluation_that_the_checkpoint_does_not_know_are_not_taken_for_the_best(
    tmp_path: Path,
) -> None:
    tiny.run(
        tmp_path, SHORT, evaluate=Scores(1.0, 0.5)
    )  # the best is of update 3, the checkpoint of update 5
    save_weights(
        tmp_path / BEST, tiny.fresh_model(seed=17), 7
    )  # killed between an evaluation and a checkpoint
    fewer = Scores(0.25)
    outcome = tiny.run(tmp_path, replace(SHORT, steps=4), evaluate=fewer)
    assert (outcome.progress.best_score, outcome.progress.best_step) == (0.25, 5)
    for name, weight in weights(outcome.model).items():
        assert torch.equal(weight, fewer.shown[0][name])


def test_the_best_weights_outlast_a_kill_after_a_checkpoint_and_another_before_the_next(
    tmp_path: Path,
) -> None:
    often = replace(SHORT, steps=8, checkpoint_every=3)
    scores = Scores(1.0, 2.0)
    with mock.patch("limelight.training.loop.settle_best", stop_at(2)), pytest.raises(KeyboardInterrupt):
        tiny.run(tmp_path, often, evaluate=scores)  # its checkpoint is written
    with mock.patch("limelight.training.loop.save_checkpoint", stop_at(1)), pytest.raises(KeyboardInterrupt):
        tiny.run(tmp_path, often, evaluate=Scores(3.0))  # an evaluation that no checkpoint knows of
    outcome = tiny.run(tmp_path, replace(often, rate=1e-9), evaluate=Scores(1.5))
    assert (outcome.progress.best_score, outcome.progress.best_step) == (2.0, 6)
    for name, weight in weights(outcome.model).items():
        assert torch.equal(weight, scores.shown[1][name])


def stop_at(number: int) -> Callable[..., None]:
    """In the place of a step on the way: killed when it is about to be made for the nth time."""
    calls = count(1)

    def stop(*args: object) -> None:
        if next(calls) == number:
            raise KeyboardInterrupt

    return stop


def test_best_weights_that_are_lost_are_told_and_hold_nothing_back(tmp_path: Path) -> None:
    tiny.run(
        tmp_path, SHORT, evaluate=Scores(9.0, 1.0)
    )  # the best is of update 3, the checkpoint of update 5
    (tmp_path / BEST).write_bytes(b"")
    said = io.StringIO()
    reporter = Reporter(tmp_path, Console(file=said, width=1000), tensorboard=False)
    scores = Scores(2.0, 3.0, 1.5)
    outcome = tiny.run(tmp_path, replace(SHORT, steps=8), evaluate=scores, reporter=reporter)
    assert "the weights of update 3, the best so far, are no more in" in said.getvalue()
    assert (outcome.progress.best_score, outcome.progress.best_step) == (3.0, 6)
    for name, weight in weights(outcome.model).items():
        assert torch.equal(weight, scores.shown[1][name])


def test_best_weights_that_do_not_say_their_step_are_taken(tmp_path: Path) -> None:
    best = tiny.run(tmp_path, SHORT, evaluate=Scores(1.0, 0.5))
    save_file(load_file(tmp_path / BEST), tmp_path / BEST)  # as an older version wrote them
    again = tiny.run(tmp_path, SHORT, evaluate=Scores())
    assert again.progress.best_step == 3
    for name, weight in weights(again.model).items():
        assert torch.equal(weight, weights(best.model)[name])


def test_a_model_learns(tmp_path: Path) -> None:
    settings = replace(SHORT, steps=60, tokens=150, rate=1e-2, evaluate_every=30, average=0.8)
    history = tiny.run(tmp_path, settings, model=tiny.fresh_model(PLAIN)).progress.history
    assert history[-1]["loss"] < history[0]["loss"]


def test_bf16_trains_beside_float32_in_one_process(tmp_path: Path) -> None:
    ends = []
    for precision in ("float32", "bf16"):
        model = tiny.fresh_model(PLAIN)
        outcome = tiny.run(tmp_path / precision, replace(SHORT, precision=precision), model=model)
        assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
        ends.append((weights(model), outcome.progress.history[-1]["loss"]))
    (exact, exact_loss), (rounded, rounded_loss) = ends
    assert any(not torch.equal(exact[name], rounded[name]) for name in exact)
    assert rounded_loss == pytest.approx(exact_loss, rel=0.02)


# ── Ctrl-C ──


class Interrupting:
    """Examples whose nth batch comes with a Ctrl-C, or another signal, in the middle of an update."""

    def __init__(self, examples: object, number: int, signal: int = signal.SIGINT) -> None:
        self.examples, self.left, self.signal = examples, number, signal

    def lengths(self) -> list[tuple[int, ...]]:
        return self.examples.lengths()

    def batch(self, rows: list[int]) -> object:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(self.signal)
        return self.examples.batch(rows)


def test_ctrl_c_writes_a_checkpoint_that_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    settings = replace(SHORT, steps=7, accumulate=2)
    undisturbed, stopped = tiny.fresh_model(), tiny.fresh_model()
    tiny.run(tmp_path / "undisturbed", settings, model=undisturbed)

    examples = Interrupting(tiny.backwards(71), 8)  # the second batch of the fourth update
    with pytest.raises(KeyboardInterrupt):
        tiny.run(tmp_path / "stopped", settings, model=stopped, examples=examples)
    assert [path.name for path in checkpoints(tmp_path / "stopped")] == ["checkpoint-0000004"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    resumed = tiny.fresh_model(seed=1)
    tiny.run(tmp_path / "stopped", settings, model=resumed)
    assert all(torch.equal(weight, weights(undisturbed)[name]) for name, weight in weights(resumed).items())


@pytest.mark.parametrize(
    "forgotten", mostly_slow(["_restore_moments", "_restore_random_states"], "_restore_random_states")
)
def test_what_a_checkpoint_forgets_shows_in_the_bits(
    forgotten: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SHORT, steps=6, checkpoint_every=3)
    whole, resumed = tiny.fresh_model(), tiny.fresh_model()
    tiny.run(tmp_path / "whole", settings, model=whole)
    tiny.run(tmp_path / "parts", replace(settings, steps=3, schedule="constant"), model=tiny.fresh_model())
    monkeypatch.setattr(f"limelight.training.checkpoints.{forgotten}", lambda *_: None)
    tiny.run(tmp_path / "parts", settings, model=resumed)
    assert any(not torch.equal(weight, weights(whole)[name]) for name, weight in weights(resumed).items())


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    examples = Interrupting(Interrupting(tiny.backwards(71), 3), 3)
    with pytest.raises(KeyboardInterrupt):
        tiny.run(tmp_path, SHORT, examples=examples)
    assert checkpoints(tmp_path) == []


# ── What is refused ──


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps must be at least 1; got 0"),
        ({"tokens": 0}, "tokens must be"),
        ({"seed": -1}, "seed must be from 0 to 2\\^63 - 1; got -1"),
        ({"seed": 2**63}, "seed must be from 0"),
        *(({name: 10**400}, f"{name} must be a finite number") for name in ("rate", "average")),
        *(
            ({name: 10**400}, f"{name} must be at least 0")
            for name in ("output_rate", "clip", "weight_decay")
        ),
        ({"steps": 10**400}, r"steps must be at most \d+; got 10+\.\.\.0+\."),
        ({"precision": "fp16"}, "precision must be"),
        ({"average": 1.0}, "average must be a decay"),
    ],
)
def test_settings_refuse_nonsense(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainConfig(**({"steps": 5} | wrong))


def test_shape_refuses_nonsense() -> None:
    with pytest.raises(InputError, match='norm must be "pre" or "post"'):
        TransformerConfig(norm="between")
    with pytest.raises(InputError, match="activation must be one of relu, gelu, silu"):
        TransformerConfig(activation="tanh")


# ── Gone on with, otherwise ──


def test_an_epoch_goes_on_with_other_batches_without_what_was_seen() -> None:
    order = BatchSampler([(number % 5 + 1, 3) for number in range(41)], 29, seed=3)
    first = [row for batch in order.epoch(2)[:3] for row in batch]
    other = BatchSampler(order.lengths, 17, seed=11)
    rest = [row for batch in other.epoch(2, {*first}) for row in batch]
    assert sorted(first + rest) == [*range(41)]
    assert other.epoch(2, range(41)) == []
    progress = TrainProgress(epoch=2, batch=1, passes=[[3, 29, 3]])
    then = groups(other, 1, progress)
    assert next(then)[0] == [other.epoch(2, {*first})[1]]


def test_a_later_best_does_not_lose_the_one_that_the_checkpoint_names(tmp_path: Path) -> None:
    settings = replace(SHORT, steps=30, evaluate_every=3, checkpoint_every=5)
    seen = Scores(1.0, 2.0)  # of update 3, which the checkpoint of update 5 names, and of update 6
    with pytest.raises(KeyboardInterrupt):
        tiny.run(tmp_path, settings, evaluate=seen, examples=Dying(tiny.backwards(29), 8))
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-0000005"]
    outcome = tiny.run(tmp_path, replace(settings, steps=5), evaluate=Scores())
    assert (outcome.progress.best_step, outcome.progress.best_score) == (3, 1.0)
    for name, weight in weights(outcome.model).items():
        assert torch.equal(weight, seen.shown[0][name])


class Dying:
    """Examples whose nth batch ends the process on the spot."""

    def __init__(self, examples: object, at: int) -> None:
        self.examples, self.left = examples, at

    def lengths(self) -> list[tuple[int, ...]]:
        return self.examples.lengths()

    def batch(self, rows: list[int]) -> object:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
        return self.examples.batch(rows)


def test_a_score_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="score of an evaluation must be a number; it is nan"):
        tiny.run(tmp_path, SHORT, evaluate=Scores(1.0, math.nan))


@pytest.fixture
def not_ignored(number: signal.Signals) -> Iterator[None]:
    """A test run that was started to outlive its terminal (nohup) ignores SIGHUP, and what it starts does, too."""
    before = signal.signal(number, signal.SIG_DFL)
    yield
    signal.signal(number, before)


@pytest.mark.usefixtures("not_ignored")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_writes_a_checkpoint_first(number: signal.Signals, tmp_path: Path) -> None:
    with pytest.raises(Terminated) as caught:
        tiny.run(
            tmp_path,
            replace(SHORT, steps=100, evaluate_every=50),
            examples=Interrupting(tiny.backwards(29), 4, number),
        )
    assert caught.value.number == number
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-0000004"]
    assert signal.getsignal(number) == signal.SIG_DFL


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"steps": "3"}, ArgumentTypeError),
        ({"steps": 2.5}, ArgumentTypeError),
        ({"steps": True}, ArgumentTypeError),
        ({"rate": "high"}, ArgumentTypeError),
        ({"warmup": 2**70}, InputError),
        ({"weight_decay": math.inf}, InputError),
        ({"decay": math.nan}, InputError),
        ({"average": math.nan}, InputError),
        ({"rate": math.nan}, InputError),
        ({"seed": 1.0}, ArgumentTypeError),
    ],
)
def test_settings_are_numbers_within_their_limits(wrong: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(wrong))):
        TrainConfig(**{"steps": 3} | wrong)  # type: ignore[arg-type]
