"""JoinedSteps: the cached decoding steps of one attention and one text, joined to one matrix.

At every step the backend sees the new queries and the keys so far. Kept are the queries, the new keys (a copy: the
cache writes to its memory again), and which of the keys could be seen. Together they make the lower triangle that
one forward over the whole text would have made.

    a growing cache     gives the keys 0 … t, the last are new
    a sliding cache     gives the keys t-w+1 … t: its first column is not the first of the text
    a static cache      gives 0 … t and room behind (`decoding/unused_cache.py`)

Whether a call goes on with the same text is not guessed: the old keys that the cache gives must be those kept here.
Which of several texts it goes on with, `decoding/open_sequences.py` decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from limelight.capture.decoding.caches import CacheState
from limelight.capture.decoding.segmented_mask import MaskSegment, SegmentedMask, segment_of
from limelight.capture.decoding.unused_cache import without_room_of
from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.capture.inputs.relative_bias import Diagonals, laid_out
from limelight.capture.inputs.tensor_memo import version

ROUNDING = 2, 16
"""By how much keys may differ that a model computes anew at every step: units in their own last place, and units in
the last place, in float32, of the largest. A cache that rounds is further off, most of all in small entries."""


class JoinedSteps:
    """The calls of one attention that belong to one text, as one call.

    first    the first of them, without room
    held     the cache that it was computed with, if it is known
    values   whether the joined call has values
    outputs  whether what the backend gave is kept, to be verified against
    """

    def __init__(
        self,
        first: AttentionInputs,
        held: CacheState | None = None,
        *,
        values: bool = True,
        outputs: bool = False,
    ) -> None:
        self._first = first
        self._handed_values = values
        self._joined: AttentionInputs | None = self._shown(first)
        self._queries = [first.query]
        self.rows = first.query.shape[2]
        """The queries so far."""
        self._outputs = [first.output] if outputs and first.output is not None else None
        self._keys = GrowingBuffer(first.key)
        self._values = None if first.value is None else GrowingBuffer(first.value)
        self._pieces: list[MaskSegment] = []
        self._latest = 0
        """The row with which the latest call began."""
        self._before = 0 if first.kind == "cross" else first.key.shape[2] - first.query.shape[2]
        """How many keys there were before the first row."""
        self._referred = _versions(first.query, first.key, first.value, first.bias)
        """What is referred to until the steps are joined, which copies it."""
        self._lasting = _versions(first.sink, *_tables(first))
        self._late = False
        """Whether something had been written to before it was copied."""
        self._held = held
        self._ahead = self._how_far_ahead(held)
        """How many more tokens the cache counts than there are keys here (rows, of cross-attention); None where it
        does not count or did not stay true to it."""
        self.steps = 1
        """How many calls were joined."""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_held": None}

    @property
    def first(self) -> AttentionInputs:
        """The first call."""
        return self._first

    @property
    def length(self) -> int:
        """The keys of the text so far."""
        return self._keys.length

    @property
    def grew(self) -> bool:
        """Whether calls came since `inputs()` was last asked."""
        return self._joined is None

    def belongs_to(self, held: CacheState | None) -> bool:
        """Whether its latest call was computed with this very cache."""
        if held is None or self._held is None:
            return False
        return self._held.owner() is held.owner() is not None

    def close(self) -> None:
        """No more calls will come: neither the cache nor what only verifying needs is held any longer."""
        self._held = self._outputs = None

    def overwritten(self) -> bool:
        """Whether anything that is only referred to was written to since it was heard."""
        return self._late or any(
            version(tensor) != before for tensor, before in (*self._referred, *self._lasting)
        )

    def inputs(self) -> AttentionInputs:
        """All calls as one."""
        if self._joined is None:
            mask = self._pieces[0].rule() if len(self._pieces) == 1 else SegmentedMask(tuple(self._pieces))
            self._queries = [torch.cat(self._queries, dim=2)]
            self._late = self.overwritten()
            self._referred = _versions(self._first.key) if self._first.kind == "cross" else []
            whole = replace(
                self._first,
                query=self._queries[0],
                key=self._keys.all(),
                value=None if self._values is None else self._values.all(),
                mask=mask,
                bias=self._bias(),
            )
            self._joined = self._shown(whole)
        return self._joined

    def to_verify(self) -> AttentionInputs | None:
        """All calls as one, with what the backend gave for each; None where that was not kept."""
        if self._outputs is None:
            return None
        self._outputs = [torch.cat(self._outputs, dim=2)]
        value = None if self._values is None else self._values.all()
        return replace(self.inputs(), value=value, output=self._outputs[0])

    # ---- whether a call goes on with this text ----------------------------------------------------

    def takes(self, inputs: AttentionInputs, held: CacheState | None = None) -> bool:
        """Add this call, with the room that it came with, if it goes on with the whole of this text."""
        inputs = without_room_of(inputs, held)
        place = self.place_of(inputs, held)
        if place != self.end:
            return False
        self.add(inputs, held)
        return True

    @property
    def end(self) -> int:
        """The place at which the next call goes on with the whole of it: its keys, or rows of cross-attention."""
        return self.rows if self._first.kind == "cross" else self.length

    def place_of(self, inputs: AttentionInputs, held: CacheState | None, cuttable: bool = True) -> int | None:
        """How much of this text the call goes on with (see `end`); None if with nothing of it.

        Less than all of it where the cache has forgotten tokens that were guessed wrong, or was copied before them;
        with `cuttable`, only where no row that stays looks at a key that goes.
        """
        if not self.joins(inputs):
            return None
        if self._first.kind == "cross":
            return self._place_of_cross(inputs, held)
        old = inputs.key.shape[2] - inputs.query.shape[2]
        if old <= 0:
            return None
        old_BGMD = inputs.key[:, :, :old]
        counted = self.belongs_to(held) and self._ahead is not None
        for place in self._places(old_BGMD, inputs, held):
            known_BGMD = self._keys.part(place - old, place)
            if _same(old_BGMD, known_BGMD, counted) and (not cuttable or self._can_be_cut(place)):
                return place
        return None

    def differs_behind(self, place: int, raw: AttentionInputs, call: AttentionInputs) -> bool:
        """Whether what comes behind this place in the memory of a cache with room is something else than here: where
        it is not, nothing was taken back."""
        if place >= self.end or raw.key.shape[2] == call.key.shape[2]:
            return True
        return not torch.equal(raw.key[:, :, place], self._keys.part(place, place + 1)[:, :, 0])

    def joins(self, inputs: AttentionInputs) -> bool:
        """Whether a call is of the same kind, sizes and form, so that it could be one of this text."""
        first = self._first
        sizes = (
            (inputs.key.shape[:2], inputs.key.shape[3:], inputs.query.shape[:2]),
            (first.key.shape[:2], first.key.shape[3:], first.query.shape[:2]),
        )
        forms = (
            (inputs.kind, inputs.key.dtype, inputs.scale, inputs.softcap, inputs.value is None),
            (first.kind, first.key.dtype, first.scale, first.softcap, first.value is None),
        )
        if sizes[0] != sizes[1] or forms[0] != forms[1] or inputs.key.device != first.key.device:
            return False
        biases = (Tensor, Diagonals, type(None))
        return isinstance(inputs.bias, biases) and isinstance(first.bias, biases)

    def add(self, inputs: AttentionInputs, held: CacheState | None) -> None:
        """Go on with this call, from `end`."""
        old = inputs.key.shape[2] - inputs.query.shape[2]
        if self._first.kind == "cross":
            j0 = 0
        else:
            self._keys.append(inputs.key[:, :, old:])
            if self._values is not None and inputs.value is not None:
                self._values.append(inputs.value[:, :, old:])
            j0 = self._keys.length - inputs.key.shape[2]
        self._joined = None
        self._queries.append(inputs.query)
        self.rows += inputs.query.shape[2]
        if self._outputs is not None:
            self._outputs = [*self._outputs, inputs.output] if inputs.output is not None else None
        self._referred += _versions(inputs.query, inputs.bias)
        self._lasting += _versions(*_tables(inputs))
        last = self._begun().pop()
        self._latest = last.i1
        piece = segment_of(_with_table(inputs), last.i1, j0)
        merged = last.followed_by(piece)
        self._pieces += [last, piece] if merged is None else [merged]
        self.steps += 1
        if held is not None:
            if not self.belongs_to(held):
                self._held, self._ahead = held, self._how_far_ahead(held)
            elif self._ahead != self._how_far_ahead(held):
                self._ahead = None

    def forgets(self, place: int) -> bool:
        """Whether going back to this place takes back tokens of the latest call alone, as after guesses that were
        wrong. Of guessed tokens the first always stays; the first call is a prompt, of which nothing is a guess."""
        return self._rows_at(place) > self._latest > 0

    def cut(self, place: int) -> None:
        """Forget what lies behind this place."""
        rows = self._rows_at(place)
        cross = self._first.kind == "cross"
        pieces = [piece.cut(rows, None if cross else place) for piece in self._begun() if piece.i0 < rows]
        self._pieces = [piece for piece in pieces if piece is not None]
        self._queries, self.rows = [torch.cat(self._queries, dim=2)[:, :, :rows]], rows
        if self._outputs is not None:
            self._outputs = [torch.cat(self._outputs, dim=2)[:, :, :rows]]
        if not cross:
            self._keys.length = place
            if self._values is not None:
                self._values.length = place
        self._joined = None

    def cropped(self, cache: object, guesses: bool) -> None:
        """Forget what was taken back out of this cache if it is known that those were `guesses`, or if they are of
        the latest call."""
        if self._held is None or self._held.owner() is not cache or self._ahead is None:
            return
        now = self._held.now()
        place = self.end if now is None or now.length is None else now.length - self._ahead
        if self._rows_at(place) > 0 and place < self.end and (guesses or self.forgets(place)):
            if self._can_be_cut(place):
                self.cut(place)

    def branch(self, place: int) -> JoinedSteps:
        """Another text that begins as this one does, up to this place."""
        other = copy(self)
        other._keys = self._keys.shared()
        other._values = None if self._values is None else self._values.shared()
        other._pieces = list(self._begun())
        other._referred, other._lasting = list(self._referred), list(self._lasting)
        other._held = None
        other.cut(place)
        return other

    # ---- inside -----------------------------------------------------------------------------------

    def _shown(self, inputs: AttentionInputs) -> AttentionInputs:
        """As it is handed out."""
        if inputs.output is None and (self._handed_values or inputs.value is None):
            return inputs
        return replace(inputs, output=None, value=inputs.value if self._handed_values else None)

    def _how_far_ahead(self, held: CacheState | None) -> int | None:
        return None if held is None or held.length is None else held.length - self.end

    def _rows_at(self, place: int) -> int:
        return place if self._first.kind == "cross" else place - self._before

    def _place_of_cross(self, inputs: AttentionInputs, held: CacheState | None) -> int | None:
        """The keys stay: the very same memory is looked at again, or the same numbers with the same cache."""
        keys, mine = self._first.key, self.belongs_to(held)
        if inputs.key.shape != keys.shape:
            return None
        same_place = _place(inputs) == _place(self._first)
        moved = inputs.memory is not None or self._first.memory is not None
        if not (same_place or mine) or ((moved or not same_place) and not torch.equal(inputs.key, keys)):
            return None
        if not mine or held is None or held.length is None or self._ahead is None:
            return self.rows
        place = held.length - inputs.query.shape[2] - self._ahead
        return place if 0 < place <= self.rows and self._can_be_cut(place) else None

    def _places(self, old_BGMD: Tensor, inputs: AttentionInputs, held: CacheState | None) -> Iterator[int]:
        """Where the old keys may end in this text, the likeliest first."""
        old, kept = old_BGMD.shape[2], self._keys.length
        tried = set[int]()

        def new(place: int) -> bool:
            fits = old <= place <= kept and self._rows_at(place) > 0 and place not in tried
            tried.add(place)
            return fits

        counted = self.belongs_to(held) and held is not None and held.length is not None
        if counted and self._ahead is not None and held is not None and held.length is not None:
            place = held.length - inputs.query.shape[2] - self._ahead
            if new(place):
                yield place
        if new(kept):
            yield kept
        if new(old):  # the cache holds the beginning
            yield old
        first_BG1D, known_BGMD = old_BGMD[:, :, :1], self._keys.all()
        alike_M = (known_BGMD == first_BG1D).all(-1).flatten(0, 1).all(0)
        for start in reversed(alike_M.nonzero().flatten().tolist()):
            if new(start + old) and self.forgets(start + old):
                yield start + old

    def _can_be_cut(self, place: int) -> bool:
        """Whether no row that stays looks at a key that goes."""
        if place == self.end:
            return True
        if self._first.kind == "cross":
            return True
        rows = self._rows_at(place)
        return all(piece.cut(rows, place) is not None for piece in self._begun() if piece.i0 < rows)

    def _begun(self) -> list[MaskSegment]:
        """The pieces, once there is more than the first call."""
        self._pieces = self._pieces or [segment_of(_with_table(self._first), 0, 0)]
        return self._pieces

    def _bias(self) -> Tensor | None:
        """What is added to the scores, laid out: every step has its own rows."""
        given = [(piece, piece.bias) for piece in self._pieces if piece.bias is not None]
        if not given:
            return None
        B, H = (max(bias.shape[axis] for _, bias in given) for axis in (0, 1))
        whole = given[0][1].new_zeros(B, H, self._pieces[-1].i1, self._keys.length)
        for piece, bias in given:
            whole[:, :, piece.i0 : piece.i1, piece.j0 : piece.j1] = bias
        return whole


def same_batch_in_other_order(old_BGMD: Tensor, steps: JoinedSteps) -> bool:
    """Whether each row of a batch of keys is some row of before: the cache was reordered."""
    old, kept = old_BGMD.shape[2], steps.length
    if old > kept or old_BGMD.shape[:2] != steps.first.key.shape[:2]:
        return False
    known = steps._keys.part(kept - old, kept)
    return all(any(torch.equal(row, one) for one in known) for row in old_BGMD)


def _same(keys: Tensor, others: Tensor, computed_anew: bool) -> bool:
    """Whether keys are those of before: to the bit, or but for rounding where a cache that counts its tokens may
    keep something smaller, of which the model computes the keys anew at every step."""
    if torch.equal(keys, others):
        return True
    if not computed_anew or not keys.numel():
        return False
    last, of_largest = ROUNDING
    unit = torch.finfo(keys.dtype).eps
    single = min(unit, torch.finfo(torch.float32).eps)
    keys, others = keys.double(), others.double()
    bound = last * unit * others.abs() + of_largest * single * others.abs().max()
    return bool(((keys - others).abs() <= bound).all())


def _place(inputs: AttentionInputs) -> int:
    """Where the model had the keys."""
    return inputs.key.data_ptr() if inputs.memory is None else inputs.memory


def _with_table(inputs: AttentionInputs) -> AttentionInputs:
    """With a bias of distances laid out: every step adds rows of its own."""
    if not isinstance(inputs.bias, Diagonals):
        return inputs
    return replace(inputs, bias=laid_out(inputs.bias, inputs.key.shape[2]))


def _versions(*given: object) -> list[tuple[Tensor, int | None]]:
    return [(tensor, version(tensor)) for tensor in given if isinstance(tensor, Tensor)]


def _tables(inputs: AttentionInputs) -> tuple[Tensor, ...]:
    """What the mask refers to."""
    return () if inputs.mask is None else inputs.mask.tensors


class GrowingBuffer:
    """Keys or values (B, G, M, D) that grow: a reference at first, and a copy of its own once more come."""

    def __init__(self, first_BGMD: Tensor) -> None:
        self._memory = first_BGMD
        self._owned = False
        self.length = first_BGMD.shape[2]

    def shared(self) -> GrowingBuffer:
        """The same rows, which are copied once more come."""
        return GrowingBuffer(self.all())

    def append(self, new_BGMD: Tensor) -> None:
        end = self.length + new_BGMD.shape[2]
        if not self._owned or end > self._memory.shape[2]:
            B, G, _, D = new_BGMD.shape
            memory = new_BGMD.new_empty(B, G, 2 * end, D)
            memory[:, :, : self.length] = self.all()
            self._memory, self._owned = memory, True
        self._memory[:, :, self.length : end] = new_BGMD
        self.length = end

    def part(self, start: int, stop: int) -> Tensor:
        return self._memory[:, :, start:stop]

    def all(self) -> Tensor:
        return self.part(0, self.length)
