"""All the places where attention is computed and can be heard."""

from __future__ import annotations

from limelight.capture.listeners import Source
from limelight.capture.sources.custom_modules import handmade
from limelight.capture.sources.model_families.registry import families
from limelight.capture.sources.module_protocol import own
from limelight.capture.sources.torch_compile import compiled
from limelight.capture.sources.torch_functions import pytorch
from limelight.capture.sources.transformers_interface import hugging_face

SOURCES: tuple[Source, ...] = (compiled, hugging_face, pytorch, own, families, handmade)
