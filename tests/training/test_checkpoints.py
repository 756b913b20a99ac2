"""Checkpoints: complete or refused, and never another model's."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from limelight.errors import CheckpointError
from limelight.training import checkpoints as module
from limelight.training.checkpoints import (
    TrainProgress,
    checkpoints,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from tests.examples import mostly_slow
from tests.training import tiny

SHORT = replace(tiny.SETTINGS, steps=4, accumulate=1)


def parts(seed: int = 0, **changes: int) -> tuple:
    """A model, an average and an optimizer that has made a step."""
    model = tiny.fresh_model(replace(tiny.SHAPE, **changes), seed)
    average = tiny.fresh_model(replace(tiny.SHAPE, **changes), seed + 1)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    batch = tiny.backwards(5).batch(range(5))
    model(**batch.inputs).square().mean().backward()
    optimizer.step()
    return model, average, optimizer


def test_a_checkpoint_puts_everything_back(tmp_path: Path) -> None:
    saved = parts()
    progress = TrainProgress(7, 2, 3, 1001, 4.5, -0.25, 6, [{"step": 6, "loss": 0.25}])
    path = save_checkpoint(tmp_path, progress, *saved)
    drawn = torch.rand(5)

    loaded = parts(seed=11)
    assert load_checkpoint(path, *loaded) == progress
    assert torch.equal(torch.rand(5), drawn)
    for one, other in zip(saved[:2], loaded[:2], strict=True):
        assert all(map(torch.equal, one.parameters(), other.parameters()))
    before, after = (optimizer.state_dict()["state"] for _, _, optimizer in (saved, loaded))
    assert before.keys() == after.keys()
    for index in before:
        assert all(
            torch.equal(before[index][key], after[index][key]) for key in ("step", "exp_avg", "exp_avg_sq")
        )


def test_random_states_of_gpus_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [torch.arange(number, number + 16, dtype=torch.uint8) for number in (3, 5)]
    found: dict[int, torch.Tensor] = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, number: found.update({number: state}))
    module._restore_random_states(module._random_states())
    assert [found[number].tolist() for number in (0, 1)] == [state.tolist() for state in states]


def test_only_the_newest_complete_checkpoint_stays(tmp_path: Path) -> None:
    for step in (3, 5, 12):
        save_checkpoint(tmp_path, TrainProgress(step), *parts())
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-0000012"]


def test_a_step_that_is_saved_is_not_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_checkpoint(tmp_path, TrainProgress(3), *parts())
    monkeypatch.setattr(module, "save_tensors", None)  # calling it would fail
    assert save_checkpoint(tmp_path, TrainProgress(3), *parts()) == path


def test_half_written_checkpoints_are_ignored(tmp_path: Path) -> None:
    partial = tmp_path / "checkpoint-0000009.partial"
    partial.mkdir()
    (partial / "progress.json").write_text("{")
    tiny.run(tmp_path, SHORT)
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-0000004"]


def test_a_half_removed_checkpoint_goes_when_a_newer_one_is_whole(tmp_path: Path) -> None:
    older = save_checkpoint(tmp_path, TrainProgress(2), *parts())
    shutil.copytree(older, tmp_path / "kept")
    newer = save_checkpoint(tmp_path, TrainProgress(4), *parts())
    for damaged in (older, newer):  # where the newer one is not whole, both stay
        shutil.copytree(tmp_path / "kept", older, dirs_exist_ok=True)
        file = damaged / "weights.safetensors"
        whole = file.read_bytes()
        file.unlink()
        module.sweep_older(tmp_path)
        assert older.exists() == (damaged is newer)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(whole)
    assert newer.exists()


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first = tiny.run(tmp_path, SHORT)
    again = tiny.run(tmp_path, SHORT, model=tiny.fresh_model(seed=1))
    assert again.progress == first.progress
    assert all(map(torch.equal, first.model.parameters(), again.model.parameters()))


@pytest.mark.parametrize("changes", [{"decoder_layers": 2}, {"feed_forward": 29}, {"width": 40}])
def test_another_architecture_is_refused(tmp_path: Path, changes: dict[str, int]) -> None:
    tiny.run(tmp_path, SHORT)
    with pytest.raises(CheckpointError, match="another architecture"):
        tiny.run(tmp_path, SHORT, model=tiny.fresh_model(replace(tiny.SHAPE, **changes)))
    with pytest.raises(CheckpointError, match="another architecture"):
        load_weights(tmp_path / "best.safetensors", tiny.fresh_model(replace(tiny.SHAPE, **changes)))


@pytest.mark.parametrize(
    "file", ["progress.json", *(f"{name}.safetensors" for name in ("weights", "average"))]
)
@pytest.mark.parametrize("damage", mostly_slow(["missing", "cut", "empty"], "cut"))
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, file: str, damage: str) -> None:
    refuses(tmp_path, file, damage)


@pytest.mark.parametrize("file", ["optimizer.safetensors", "random.safetensors"])
def test_a_checkpoint_without_its_states_is_refused(tmp_path: Path, file: str) -> None:
    for damage in ("missing", "cut"):
        refuses(tmp_path, file, damage)
        shutil.rmtree(tmp_path / "checkpoint-0000003")


def refuses(folder: Path, file: str, damage: str) -> None:
    path = save_checkpoint(folder, TrainProgress(3), *parts())
    whole = (path / file).read_bytes()
    (path / file).unlink()
    if damage != "missing":
        (path / file).write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    with pytest.raises(CheckpointError, match="is not a complete checkpoint"):
        load_checkpoint(path, *parts())


def test_a_checkpoint_of_a_newer_version_is_not_called_broken(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, TrainProgress(3), *parts())
    counters = json.loads((path / "progress.json").read_text(encoding="utf-8"))
    (path / "progress.json").write_text(json.dumps(counters | {"later": 1}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="by a newer version of Limelight, whose 'later'"):
        load_checkpoint(path, *parts())


def test_a_checkpoint_that_cannot_be_read_now_is_not_called_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_checkpoint(tmp_path, TrainProgress(3), *parts())

    def denied(file: Path) -> None:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(module, "load_file", denied)
    with pytest.raises(CheckpointError, match=r"cannot be read: .*weights.safetensors: Permission denied\.$"):
        load_checkpoint(path, *parts())


@pytest.mark.parametrize("name", ["checkpoint-0000004", "checkpoint-0000004.partial"])
def test_a_file_in_the_place_of_a_checkpoint_stays_and_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(CheckpointError, match=f"{name} must not be there"):
        save_checkpoint(tmp_path, TrainProgress(4), *parts())
    save_checkpoint(tmp_path, TrainProgress(5), *parts())
    assert (tmp_path / name).read_text() == "mine"
