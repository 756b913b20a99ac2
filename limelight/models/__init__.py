"""The models that come with Limelight, each a folder as `limelight.modules.model_io` describes it."""

from __future__ import annotations

from pathlib import Path

from limelight.checked import checked
from limelight.errors import CheckpointError

FOLDER = Path(__file__).parent


def shipped_models() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(path.parent.name for path in FOLDER.glob("*/model.json"))


@checked
def find_model(name: str | Path) -> Path:
    """A model's folder: the path itself, or that of a shipped model by its name.

    A training run's folder counts as the model that it has made. Raises CheckpointError for anything else.
    """
    for path in (Path(name), Path(name) / "model", FOLDER / str(name)):
        if (path / "model.json").is_file():
            return path
    if (Path(name) / "origin.json").is_file() or (Path(name) / "start" / "model.json").is_file():
        raise CheckpointError(_not_ended(Path(name)))
    if (Path(name) / "config.json").is_file():
        raise CheckpointError(
            f"A model of Limelight's own must be given; {name} holds a Hugging Face model. Those are read by "
            "`limelight look`, `atlas` and `serve`, in Python by load_reader, look_documents and watch."
        )
    raise CheckpointError(
        f"No model {str(name)!r}: give the path of a model's folder, or one of {', '.join(shipped_models())}. "
        "`limelight models` lists them, `limelight train` makes one."
    )


def _not_ended(run: Path) -> str:
    """What to say of a training run that has made no model yet."""
    steps = [path.name.removeprefix("checkpoint-") for path in run.glob("checkpoint-*") if path.is_dir()]
    made = max((int(step) for step in steps if step.isdecimal()), default=0)
    if not made:
        return (
            f"{run} is a training run that has made no update yet, so there is no model. The same `limelight train` "
            "command goes on with it."
        )
    return (
        f"{run} is a training run that was stopped after update {made:,}, and a model is written when it "
        f"ends. The same `limelight train` command goes on with it; with --steps {made} it ends here, and its "
        "best weights so far become the model."
    )
