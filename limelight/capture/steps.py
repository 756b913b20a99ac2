"""Steps of a decoder joined to one matrix: queries arrive a few at a time, their keys stand in a cache.

At every step the backend sees the new queries and the keys so far. Kept are the queries, the new keys (a copy: the
cache writes to its memory again), and which of the keys could be seen. Together they make the lower triangle that
one forward over the whole text would have made.

    a growing cache     gives the keys 0 … t, the last are new
    a sliding cache     gives the keys t-w+1 … t: its first column is not the first of the text
    a static cache      gives 0 … t and room behind, which the mask hides

Whether a call goes on with the same text is not guessed: the old keys that the cache gives must be those kept here.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from limelight.capture import rules
from limelight.capture.diagonals import Diagonals, laid_out
from limelight.capture.inputs import Inputs
from limelight.capture.known import version
from limelight.capture.pieces import Piece, Pieces, piece_of
from limelight.errors import CaptureError
from limelight.matrix.masks.base import Dense


class Strand:
    """The calls of one attention that belong to one text, as one call."""

    def __init__(self, first: Inputs) -> None:
        self._first = without_room(first)
        self._joined: Inputs | None = self._first
        self._queries = [self._first.query]
        self._keys = Rows(self._first.key)
        self._values = None if self._first.value is None else Rows(self._first.value)
        self._pieces: list[Piece] = []
        self._latest = 0
        """The row with which the latest call began."""
        self._referred = _versions(self._first.query, self._first.key, self._first.value, self._first.bias)
        """What is referred to until the steps are joined, which copies it."""
        self._lasting = _versions(self._first.sink, *_tables(self._first))
        self._late = False
        """Whether something had been written to before it was copied."""

    @property
    def grew(self) -> bool:
        """Whether calls came since `inputs()` was last asked."""
        return self._joined is None

    def overwritten(self) -> bool:
        """Whether anything that is only referred to was written to since it was heard."""
        return self._late or any(
            version(tensor) != before for tensor, before in (*self._referred, *self._lasting)
        )

    def inputs(self) -> Inputs:
        """All calls as one."""
        if self._joined is None:
            mask = self._pieces[0].rule() if len(self._pieces) == 1 else Pieces(tuple(self._pieces))
            self._queries = [torch.cat(self._queries, dim=2)]
            self._late = self.overwritten()
            self._referred = _versions(self._first.key) if self._first.kind == "cross" else []
            self._joined = replace(
                self._first,
                query=self._queries[0],
                key=self._keys.all(),
                value=None if self._values is None else self._values.all(),
                mask=mask,
                bias=self._bias(),
                output=None,
            )
        return self._joined

    def takes(self, inputs: Inputs) -> bool:
        """Add this call if it goes on with the same text; False if it does not.

        Raises CaptureError where the cache has reordered the batch.
        """
        first = self._first
        if inputs.kind != first.kind or not isinstance(inputs.bias, Tensor | Diagonals | None):
            return False
        if inputs.key.shape[:2] != first.key.shape[:2] or inputs.query.shape[:2] != first.query.shape[:2]:
            return False
        return self._takes_cross(inputs) if first.kind == "cross" else self._takes_self(without_room(inputs))

    # ---- inside -----------------------------------------------------------------------------------

    def _takes_cross(self, inputs: Inputs) -> bool:
        """The keys were computed once: the very same memory is looked at again."""
        keys = self._first.key
        if inputs.key.shape != keys.shape or _place(inputs) != _place(self._first):
            return False
        if inputs.memory is not None and not torch.equal(inputs.key, keys):  # memory that was used again
            return False
        self._add(inputs, 0)
        return True

    def _takes_self(self, inputs: Inputs) -> bool:
        old = inputs.key.shape[2] - inputs.query.shape[2]
        old_BGMD, kept = inputs.key[:, :, :old], self._keys.length
        if old <= 0:
            return False
        if old > kept or not torch.equal(old_BGMD, self._keys.part(kept - old, kept)):
            if self.overwritten():
                raise CaptureError(
                    "The keys of earlier steps must stay as they were; a cache has written to their memory. Use a "
                    "DynamicCache, or watch one forward over the whole text: its weights are the same."
                )
            if not self._forgets(old_BGMD):
                self._refuse_beams(old_BGMD)
                return False
        self._keys.append(inputs.key[:, :, old:])
        if self._values is not None and inputs.value is not None:
            self._values.append(inputs.value[:, :, old:])
        self._add(inputs, self._keys.length - inputs.key.shape[2])
        return True

    def _add(self, inputs: Inputs, j0: int) -> None:
        self._joined = None
        self._queries.append(inputs.query)
        self._referred += _versions(inputs.query, inputs.bias)
        self._lasting += _versions(*_tables(inputs))
        last = self._begun().pop()
        self._latest = last.i1
        piece = piece_of(_with_table(inputs), last.i1, j0)
        merged = last.followed_by(piece)
        self._pieces += [last, piece] if merged is None else [merged]

    def _begun(self) -> list[Piece]:
        """The pieces, once there is more than the first call."""
        self._pieces = self._pieces or [piece_of(_with_table(self._first), 0, 0)]
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

    def _forgets(self, old_BGMD: Tensor) -> bool:
        """Forget what the cache has forgotten of its latest call, such as tokens that were guessed wrong.

        Of guessed tokens the first always stays. A cache that forgets more begins another text, as one that holds
        what several texts begin with and is copied for each.
        """
        old, last = old_BGMD.shape[2], self._begun()[-1]
        rows = old - (self._keys.length - last.i1)
        if not self._latest < rows < last.i1 or not torch.equal(old_BGMD, self._keys.part(0, old)):
            return False
        self._queries = [torch.cat(self._queries, dim=2)[:, :, :rows]]
        self._pieces = [piece.cut(rows) for piece in self._pieces if piece.i0 < rows]
        self._keys.length = old
        if self._values is not None:
            self._values.length = old
        return True

    def _refuse_beams(self, old_BGMD: Tensor) -> None:
        """A cache whose rows are other rows of before was reordered."""
        kept, old = self._keys.length, old_BGMD.shape[2]
        known = self._keys.part(max(0, kept - old), kept)
        if old <= kept and all(any(torch.equal(row, one) for one in known) for row in old_BGMD):
            raise CaptureError(
                "The rows of a batch must stay in their places from step to step; the cache has reordered them, as "
                "beam search does, and what it gives back need not be what it went on with. Generate outside of the "
                "block, then watch one forward over the sequences that came out: model(sequences), or of an "
                "encoder-decoder model(**inputs, decoder_input_ids=sequences). Its weights are the same."
            )


def _place(inputs: Inputs) -> int:
    """Where the model had the keys."""
    return inputs.key.data_ptr() if inputs.memory is None else inputs.memory


def _with_table(inputs: Inputs) -> Inputs:
    """With a bias of distances laid out: every step adds rows of its own."""
    if not isinstance(inputs.bias, Diagonals):
        return inputs
    return replace(inputs, bias=laid_out(inputs.bias, inputs.key.shape[2]))


def _versions(*given: object) -> list[tuple[Tensor, int | None]]:
    return [(tensor, version(tensor)) for tensor in given if isinstance(tensor, Tensor)]


def _tables(inputs: Inputs) -> tuple[Tensor, ...]:
    """What the mask refers to."""
    return () if inputs.mask is None else inputs.mask.tensors


class Rows:
    """Keys or values (B, G, M, D) that grow: a reference at first, and a copy of its own once more come."""

    def __init__(self, first_BGMD: Tensor) -> None:
        self._memory = first_BGMD
        self._owned = False
        self.length = first_BGMD.shape[2]

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


def without_room(inputs: Inputs) -> Inputs:
    """Without the columns behind the text that a static cache has room for, and apart from the cache's memory."""
    N, M = inputs.query.shape[2], inputs.key.shape[2]
    if inputs.kind == "cross":
        return inputs
    end = _end(inputs, M) if M > N else M
    if end == M and not _will_be_written_to(inputs.key):
        return inputs
    value = None if inputs.value is None else inputs.value[:, :, :end].clone()
    bias = inputs.bias
    if isinstance(bias, Tensor) and bias.shape[-1] == M:
        bias = bias[..., :end]
    mask = inputs.mask
    if end < M and isinstance(mask, Dense):
        mask = rules.shortest(mask.seen_BHNM[..., :end])
    return replace(inputs, key=inputs.key[:, :, :end].clone(), value=value, mask=mask, bias=bias)


def _end(inputs: Inputs, M: int) -> int:
    """Where the text ends: the newest query sees its own column, and no query sees one behind it.

    Where all of several queries see the same keys, none of them is the newest one's own: what is hidden is padding.
    """
    if isinstance(inputs.mask, Dense):
        seen_BHNM = inputs.mask.seen_BHNM
    elif isinstance(inputs.bias, Tensor) and inputs.bias.shape[-1] == M:
        seen_BHNM = inputs.bias > torch.finfo(inputs.bias.dtype).min / 2
    else:
        return M
    if inputs.query.shape[2] > 1 and torch.equal(seen_BHNM, seen_BHNM[:, :, :1].expand_as(seen_BHNM)):
        return M
    seen_M = seen_BHNM.expand(-1, -1, -1, M).flatten(0, 2).any(0)
    return int(seen_M.nonzero().max()) + 1 if bool(seen_M.any()) else M


def _will_be_written_to(key_BGMD: Tensor) -> bool:
    """Whether it is the memory of a cache: marked as such for the compiler, or with room behind each head's keys."""
    if hasattr(key_BGMD, "_dynamo_static_input_type"):
        return True
    return key_BGMD.shape[1] > 1 and key_BGMD.stride(1) > key_BGMD.shape[2] * key_BGMD.stride(2)
