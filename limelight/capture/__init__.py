"""Capture: the same AttentionMatrix out of other people's models."""

from __future__ import annotations

from limelight.capture.inputs import Inputs
from limelight.capture.listening import Listener, listening, tell
from limelight.capture.seen import Call, Seen
from limelight.capture.watching import watch

__all__ = ["Call", "Inputs", "Listener", "Seen", "listening", "tell", "watch"]
