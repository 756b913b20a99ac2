"""A model by its name, whoever made it, ready to read documents."""

from __future__ import annotations

from limelight.checked import checked
from limelight.predicting.predictor import Predictor
from limelight.tasks.hugging_face import HuggingFaceReader
from limelight.tasks.own import OwnReader
from limelight.tasks.pretrained import is_hugging_face
from limelight.tasks.readers import Reader


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
