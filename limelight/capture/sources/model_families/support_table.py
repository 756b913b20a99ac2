"""How each model family is captured or why it is refused, without running it.

It is read from the table of families and from the source of transformers, without importing a model; and from what
`python -m benchmarks coverage` measured on small random models, kept in `measured.json`.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from limelight.errors import InputError, require

INTERFACE = "through transformers' attention interface, on whichever backend the model runs"
FUNCTION = "through PyTorch's own attention (scaled_dot_product_attention, nn.MultiheadAttention)"
OF_OTHERS = "made of other families, each of which is captured as it is by itself"
PARTS = r"\bAuto(Model|Backbone)\w*\.from_config|\bload_backbone\(|from \.\.\w+\.modeling_\w+ import"
NOTHING = "no attention that could be captured is computed in it; limelight.watch says why when it runs"


@dataclass(frozen=True)
class Measured:
    """What came of a small random model of a family: exact, verified, in part, refused, and the reason."""

    outcome: str
    reason: str

    @property
    def cause(self) -> str:
        """The reason without the words of an error around it.

        >>> Measured("refused", "No attention of XModel was seen inside the block: it did not run.").cause
        'it did not run.'
        """
        return re.sub(
            r"^No attention of .*?: (.* cannot be captured: )?| Load the model with .*$", "", self.reason
        )


@dataclass(frozen=True)
class About:
    """A family by its model type.

    captured  what is captured and how, one line each, with the class of the modules where it is known
    refused   what is refused and why, likewise
    measured  what came of it in the benchmark, if it was in it
    """

    family: str
    captured: tuple[str, ...]
    refused: tuple[str, ...]
    measured: Measured | None


def known_families() -> list[str]:
    """The model types that the installed transformers has."""
    auto = require("transformers.models.auto.configuration_auto", "hf", "The list of families")
    return sorted(auto.CONFIG_MAPPING_NAMES)


def about(family: str) -> About:
    """What is known of one family. Raises InputError for a name that transformers does not have."""
    if family not in (names := known_families()):
        near = difflib.get_close_matches(family, names, n=3)
        hint = f"; near are {', '.join(near)}" if near else ""
        raise InputError(
            f"FAMILY must be a model type that transformers has, as in a model's config.json; got {family!r}{hint}."
        )
    folder, source = _home(family)
    captured, refused = _rows_of(folder)
    if "ALL_ATTENTION_FUNCTIONS" in source:
        captured.insert(0, INTERFACE)
    elif re.search(
        r"scaled_dot_product_attention\(|multi_head_attention_forward\(|MultiheadAttention\(", source
    ):
        captured.append(FUNCTION)
    if not captured and not refused:
        captured += [OF_OTHERS] if re.search(PARTS, source) else []
    if not captured and not refused:
        refused = [NOTHING]
    return About(family, tuple(captured), tuple(refused), measured().get(family))


def measured() -> dict[str, Measured]:
    """The outcome of every family in the last full run of the benchmark."""
    return {family: Measured(*told) for family, told in _record()["families"].items()}


def measured_with() -> str:
    """The version of transformers that was measured."""
    return _record()["transformers"]


def _record() -> dict:
    return json.loads((files(__package__) / "measured.json").read_text(encoding="utf-8"))


def _rows_of(folder: str) -> tuple[list[str], list[str]]:
    from limelight.capture.sources.model_families.registry import FAMILIES

    captured: list[str] = []
    refused: list[str] = []
    for name, family in FAMILIES.items():
        home, _, module = name.partition(".")
        if home == folder:
            (refused if family.watch is None else captured).append(f"{module}: {family.how}")
    return captured, refused


def _home(family: str) -> tuple[str, str]:
    """The folder of a family in transformers, and the text of its models, which are not imported.

    Some families have no folder of their own: they are other weights for the models of another.
    """
    auto = require("transformers.models.auto.configuration_auto", "hf", "The list of families")
    models = vars(require("transformers.models.auto.modeling_auto", "hf", "The list of families"))
    lists = [models[name] for name in models if name.startswith("MODEL_") and name.endswith("MAPPING_NAMES")]
    alike = [other for each in lists if family in each for other in each if each[other] == each[family]]
    for name in (family, *alike):
        folder = auto.model_type_to_module_name(name)
        home = Path(str(auto.__file__)).parents[1] / folder
        source = "\n".join(path.read_text(encoding="utf-8") for path in sorted(home.glob("modeling_*.py")))
        if source:
            return folder, source
    return family, ""
