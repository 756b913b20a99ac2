"""A model by its name, whoever made it, ready to read documents."""

from __future__ import annotations

from limelight.checked import checked
from limelight.looking.hugging_face_reader import HuggingFaceReader
from limelight.looking.limelight_reader import OwnReader
from limelight.looking.pretrained import is_hugging_face
from limelight.looking.readers import Reader
from limelight.predicting.predictor import Predictor


@checked
def load_reader(name: str, trust_remote_code: bool = False) -> Reader:
    """What `look_documents`, `look_conversation` and `atlas_of` read with.

    name               a Hugging Face model by its folder or hub name; a model of Limelight's own by its folder, or
                       a shipped one by its name
    trust_remote_code  run the code that comes with a Hugging Face model

    Raises CheckpointError with the reason where there is no model that can be used.
    """
    if is_hugging_face(name):
        return HuggingFaceReader.load(name, trust_remote_code)
    return OwnReader(Predictor.load(name), name)
