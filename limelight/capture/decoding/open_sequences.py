"""OpenSequences: the texts that one attention module is decoding, and which of them a call continues.

A model may write several texts in turn: with guidance a prompt and a negative prompt, with a helper of its own first
layers a draft and the text, in a server two chats. Each call is offered to all of them. It belongs where its old keys
are those kept; among several such, to the text of the same cache, then to one that it goes on with in whole.

A cache that was cut back within its latest call, or in speculative decoding, has forgotten guesses that were wrong,
and so does its text. One that goes on from further back or from within the prompt, or a copy of a cache, begins
another text with the same beginning; both are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import FrameType

from torch import Tensor

from limelight.capture.decoding.caches import CacheState, is_speculating
from limelight.capture.decoding.joined_steps import JoinedSteps, same_batch_in_other_order
from limelight.capture.decoding.unused_cache import cut, hides_from, without_room_of
from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.errors import CaptureError

LIVING = 128
"""To how many texts a call is offered, the latest first; those of its own cache count apart."""

# Why a call with more keys than queries goes on with no text.
FROM_BEFORE = (
    "its cache, a {cache}, held keys that were computed where the watch did not see it; for the queries of those "
    "there are no rows"
)
OTHER_KEYS = (
    "its cache, a {cache}, gives back other keys than it was given (rounded, moved or dropped), so its steps stand "
    "apart, and the columns of each are what the cache held then, not the text"
)
LOOKED_AHEAD = (
    "tokens that stayed had looked at tokens that were taken back, so what was written then stands apart"
)
LOOKS_AT_ROOM = (
    "its queries look at memory of its cache, a {cache}, behind the text, where nothing was written, so the steps "
    "stand apart"
)
OTHER_BATCH = "the batch changed its size from one step to the next, so the steps stand apart"
OTHER_FORM = "a step has another bias, scale or size than those before, so the steps stand apart"
OF_ITS_OWN = (
    "its keys of before are not those that any earlier call was seen with, so its steps stand apart, and what the "
    "columns of each are is known to its cache alone"
)
OTHER_STATES = (
    "its keys are of another sequence, and changed from one step to the next, so the steps stand apart"
)


@dataclass(frozen=True)
class Placed:
    """What became of a call.

    begun   the text that it begins; None where it goes on with one that was there
    apart   why it stands apart, though its keys are more than its queries; None where there is nothing to tell
    """

    begun: JoinedSteps | None
    apart: str | None = None


class OpenSequences:
    """The texts of one attention, by the cache that they are written with and by their keys."""

    def __init__(self, values: bool = True, outputs: bool = False) -> None:
        self._values, self._outputs = values, outputs
        self._all: list[JoinedSteps] = []

    def place(
        self, inputs: AttentionInputs, held: CacheState | None, frame: FrameType | None = None
    ) -> Placed:
        """Add a call to the text that it belongs to. Raises CaptureError where the cache has reordered the batch, or
        has written over keys that were only referred to."""
        call = without_room_of(inputs, held)
        found = self._found(inputs, call, held)
        if found is None:
            apart = self._why_apart(call, held)
            steps = JoinedSteps(call, held, values=self._values, outputs=self._outputs)
            self._all.append(steps)
            return Placed(steps, apart)
        steps, place, call = found
        begun = None
        if place < steps.end:
            same_cache = steps.belongs_to(held) or held is None
            if same_cache and (steps.forgets(place) or is_speculating(frame)):
                steps.cut(place)
            else:
                steps = begun = steps.branch(place)
        steps.add(call, held)
        self._all = [*(one for one in self._all if one is not steps), steps]
        return Placed(begun)

    def cropped(self, cache: object, frame: FrameType | None = None) -> None:
        """Tokens were taken back out of a cache: guesses are forgotten."""
        guesses = is_speculating(frame)
        for steps in self._all:
            steps.cropped(cache, guesses)

    # ---- inside -----------------------------------------------------------------------------------

    def _found(
        self, raw: AttentionInputs, call: AttentionInputs, held: CacheState | None
    ) -> tuple[JoinedSteps, int, AttentionInputs] | None:
        """The text that a call goes on with, from which place, and the call without its room."""
        if call.kind == "self" and raw.key.shape[2] <= raw.query.shape[2]:
            return None
        best: tuple[tuple[bool, bool, bool], tuple[JoinedSteps, int, AttentionInputs]] | None = None
        for steps in self._candidates(held):
            for given in (*_as_it_ends(raw, call, steps, held), call):
                place = steps.place_of(given, held)
                if place is None or not steps.differs_behind(place, raw, call):
                    continue
                mine, whole = steps.belongs_to(held), place == steps.end
                rank = (mine, whole, steps.first.key.data_ptr() == raw.key.data_ptr())
                if mine and whole:
                    return steps, place, given
                if best is None or rank > best[0]:
                    best = rank, (steps, place, given)
                break
        return None if best is None else best[1]

    def _candidates(self, held: CacheState | None) -> list[JoinedSteps]:
        latest_first = self._all[::-1]
        mine = [steps for steps in latest_first if steps.belongs_to(held)]
        others = [steps for steps in latest_first[:LIVING] if not steps.belongs_to(held)]
        return mine + others

    def _why_apart(self, call: AttentionInputs, held: CacheState | None) -> str | None:
        N, M = call.query.shape[2], call.key.shape[2]
        mine = [steps for steps in self._candidates(held) if steps.belongs_to(held)]
        if call.kind == "cross":
            changed = any(steps.first.query.shape[:2] == call.query.shape[:2] for steps in mine)
            return OTHER_STATES if changed else None
        if M <= N or (not self._all and held is None):
            return None
        if held is not None and held.fixed and held.length is not None and held.length < M:
            return LOOKS_AT_ROOM.format(cache=held.name)
        self._refuse_reordered(call.key[:, :, : M - N], mine or self._all[-1:])
        if held is None:
            goes_on = N == 1 or any(steps.length == M - N for steps in self._all[-LIVING:])
            return OF_ITS_OWN if goes_on else None
        if not mine:
            from_before = held.length is None or held.length > N
            return FROM_BEFORE.format(cache=held.name) if from_before else None
        if any(steps.place_of(call, held, cuttable=False) is not None for steps in mine):
            return LOOKED_AHEAD
        if mine[0].joins(call):
            return OTHER_KEYS.format(cache=held.name)
        return OTHER_BATCH if len(mine[0].first.key) != len(call.key) else OTHER_FORM

    def _refuse_reordered(self, old_BGMD: Tensor, texts: list[JoinedSteps]) -> None:
        for steps in texts:
            if steps.overwritten() and _share_memory(steps.first.key, old_BGMD):
                raise CaptureError(
                    "The keys of earlier steps must stay as they were; a cache has written to their memory. Use a "
                    "DynamicCache, or watch one forward over the whole text: its weights are the same."
                )
            if len(old_BGMD) > 1 and same_batch_in_other_order(old_BGMD, steps):
                raise CaptureError(
                    "The rows of a batch must stay in their places from step to step; the cache has reordered them, "
                    "as beam search does, and what it gives back need not be what it went on with. Generate outside "
                    "of the block, then watch one forward over the sequences that came out: model(sequences), or of "
                    "an encoder-decoder model(**inputs, decoder_input_ids=sequences). Its weights are the same."
                )


def _as_it_ends(
    raw: AttentionInputs, call: AttentionInputs, steps: JoinedSteps, held: CacheState | None
) -> list[AttentionInputs]:
    """A call whose cache does not say where the text ends: as it is if it ends right behind this text."""
    end = steps.length + raw.query.shape[2]
    if raw.kind == "cross" or (held is not None and held.length is not None):
        return []
    if not steps.length < end <= raw.key.shape[2] or end == call.key.shape[2] or not hides_from(raw, end):
        return []
    return [cut(raw, end)]


def _share_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
