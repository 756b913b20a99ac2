"""All the places where attention is computed and can be heard."""

from __future__ import annotations

from limelight.capture.compiled import compiled
from limelight.capture.families import families
from limelight.capture.handmade import handmade
from limelight.capture.hugging_face import hugging_face
from limelight.capture.listening import Source
from limelight.capture.own import own
from limelight.capture.pytorch import pytorch

SOURCES: tuple[Source, ...] = (compiled, hugging_face, pytorch, own, families, handmade)
