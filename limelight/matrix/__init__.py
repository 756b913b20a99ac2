"""The heart: an attention matrix that nobody stores.

masks.py    who may look at whom                 rules.py  the classes behind the masks
"""

from __future__ import annotations

from limelight.matrix import masks
from limelight.matrix.masks import Cover, Mask

__all__ = ["Cover", "Mask", "masks"]
