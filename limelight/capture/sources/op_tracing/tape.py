"""Tape: follows torch operations from Q·Kᵀ through softmax to weights·V while the model runs.

Every torch function passes by. A product of two batches of matrices is taken for Q·Kᵀ until shown otherwise, and what
is then done to it is noted beside it (`score_ops.py`): numbers that scale it, tensors that are added, places that are
filled. When softmax comes and its result multiplies another matrix, that one was V, and the AttentionMatrix is
complete. It holds Q, K, V and what was added as references; the scores themselves are never kept.

Scores that go through anything else are lost, and so are those into whose memory something is written that is not
followed. What is made of them is still known to be made of them: where softmax or the values come, it is told that
attention was missed there, and by which operation its scores were lost first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from limelight.capture.inputs.attention_inputs import AttentionInputs, Kind
from limelight.capture.recordable import is_in_transform, unrecorded, why_unreadable
from limelight.capture.sources.op_tracing.axis_origins import Origins, label_of
from limelight.capture.sources.op_tracing.head_mixing import mixes_heads
from limelight.capture.sources.op_tracing.matmuls import PRODUCTS, WEIGHINGS
from limelight.capture.sources.op_tracing.reasons import (
    ADDITIVE,
    ALONE,
    CHANNELS,
    IN_PIECES,
    IN_TRANSFORMS,
    MIXED,
    MIXED_HEADS,
    NESTED,
    OVERWRITTEN,
    TURNED,
    after_softmax,
    reason_of,
    through,
    unweighed,
)
from limelight.capture.sources.op_tracing.score_ops import (
    STEPS,
    is_of_all_pairs,
    per_query,
    still_of_pairs,
)
from limelight.capture.sources.op_tracing.scores import (
    Lost,
    Owners,
    PerQuery,
    ScoreMemo,
    ScoreProduct,
    Softmax,
    TracedScores,
)
from limelight.capture.sources.op_tracing.to_inputs import arrangement_of, inputs_of
from limelight.capture.sources.op_tracing.torch_ops import (
    OTHER_PRODUCTS,
    PARTS,
    PROJECTIONS,
    REDUCTIONS,
    SOFTMAXES,
    in_order,
    is_kernel,
    name_of,
    operands_of,
    share_memory,
    title_of,
    written_by,
)
from limelight.capture.sources.op_tracing.weight_ops import AFTER_SOFTMAX, MEETINGS
from limelight.capture.sources.torch_functions import MHA


class TapeSite(Protocol):
    """Where a tape lies: which module an operation belongs to, and who hears of it."""

    def owners(self) -> Owners:
        """The modules in which the operation runs that is on the tape now."""

    def find(self, owners: Owners) -> tuple[nn.Module, Kind] | None:
        """The module that encloses both this operation and an earlier one; None where nobody wants to hear of it."""

    def record(self, module: nn.Module, inputs: AttentionInputs) -> None: ...

    def missed(self, module: nn.Module, why: str) -> None: ...

    def note(self, line: str) -> None: ...

    def name(self, module: nn.Module) -> str: ...


class Tape(TorchFunctionMode):
    """Notes the scores that are computed while it is on, and records the matrix when the values are weighed."""

    def __init__(self, place: TapeSite, origins: Origins | None = None) -> None:
        super().__init__()
        self.place = place
        self.origins = origins or Origins()
        self.known = ScoreMemo()
        self.pending: dict[Softmax, nn.Module] = {}
        self._pieces: dict[tuple[int, int], tuple[int, int]] = {}
        self.fused = 0
        """How many calls of a fused attention function passed by, which are recorded where that is watched."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        func = MHA.as_handed_to_modes(func)
        name = name_of(func)
        if not name or self.silent():
            return func(*args, **kwargs)
        if name == "scaled_dot_product_attention":
            self.fused += 1
            if isinstance(func, torch._ops.OpOverload):  # of an exported graph
                func = functional.scaled_dot_product_attention
            return func(*args, **kwargs)
        with unrecorded():
            before = self._operand(args, kwargs) if self.known else None
        result = func(*args, **kwargs)
        told = None
        try:
            with unrecorded():
                told = self._pass(func, name, before, result, args, kwargs)
        except (
            TypeError,
            ValueError,
            IndexError,
            RuntimeError,
        ) as error:  # a call in a form that is not known here
            self._lose(
                before,
                result,
                f"{name} ({str(error).splitlines()[0] if str(error) else type(error).__name__})",
            )
        if told is not None:
            with unrecorded():
                told()
        return result

    def pass_whole(
        self,
        name: str,
        written: Callable[..., Any] | None,
        args: Any,
        kwargs: Any,
        result: Any,
        attention: bool,
    ) -> None:
        """A compiled function has run, which is on no tape: it is followed in Python, as it was `written`, if that
        gives the same."""
        if self.silent():
            return
        before = self._operand(args, kwargs)
        if before is None:
            if attention:
                self._miss((), f"{name}, computes it, outside of Python")
            return
        again = None if written is None else written(*args, **kwargs)
        if (
            isinstance(result, Tensor)
            and isinstance(again, Tensor)
            and again.shape == result.shape
            and torch.allclose(again, result, rtol=1e-5, atol=1e-6, equal_nan=True)
        ):
            self._keep(result, self.known.get(again))
        else:
            self._lose(before, result, name)

    def silent(self) -> bool:
        """Whether what passes now is told elsewhere."""
        return False

    def finish(self) -> None:
        """Tell of softmaxes whose weights met nothing."""
        for module in self.pending.values():
            self.place.missed(module, ALONE)
        self.pending.clear()

    # ---- what passes ----------------------------------------------------------------------------------

    def _pass(
        self, func: Any, name: str, before: Any, result: Any, args: Any, kwargs: Any
    ) -> Callable[[], None] | None:
        """Note what is known of the result; gives what is to be told, if anything."""
        written = written_by(func, args, kwargs)
        if self.known and written is not None:
            self._forget_others(written, result)
        if is_kernel(func):
            return lambda: self._miss(
                (), f"a kernel of its own computes it, {title_of(func)}, which gives no weights"
            )
        if kwargs:
            args, kwargs = in_order(args, kwargs)
        if isinstance(result, Tensor) and result.is_nested:
            return self._follow_nested(name, before, result, args, kwargs)
        with torch._C.DisableTorchFunction():
            self.origins.follow(name, args, kwargs, result)
            if isinstance(result, (tuple, list)):
                self._follow_several(name, before, result, args, kwargs)
            elif isinstance(result, Tensor) and result.is_floating_point():
                told = self._follow(name, before, result, args, kwargs)
                if written is not None and _refers_to(self.known.get(result), written):
                    self._lose(self.known.get(result), result, OVERWRITTEN)
                return told
        return None

    def _follow_nested(
        self, name: str, before: Any, result: Tensor, args: Any, kwargs: Any
    ) -> Callable[[], None] | None:
        """Texts of several lengths in one tensor, of sizes that are not told: missed where weighed."""
        if isinstance(before, Lost):
            return self._follow_lost(name, before, result, args, kwargs)
        if name in PRODUCTS and sum(one.is_nested for one in operands_of(args)) == 2:
            self._keep(result, Lost(NESTED, ScoreProduct(owners=self.place.owners()), only_if_weighted=True))
        return None

    def _follow(
        self, name: str, before: Any, result: Tensor, args: Any, kwargs: Any
    ) -> Callable[[], None] | None:
        """Note what is known of a result; gives what is to be told then, if anything."""
        if before is None:
            return self._begin(name, result, args, kwargs)
        if isinstance(before, PerQuery):
            self._keep(result, _same_per_query(name, before, args))
        elif isinstance(before, Lost):
            return self._follow_lost(name, before, result, args, kwargs)
        elif not before.weights:
            return self._follow_scores(name, before, result, args, kwargs)
        else:
            return self._follow_weights(name, before, result, args, kwargs)
        return None

    def _begin(self, name: str, result: Tensor, args: Any, kwargs: Any) -> Callable[[], None] | None:
        if name in PRODUCTS:
            scores = PRODUCTS[name](self.origins.of, result, *args, **kwargs)
            if scores is not None:
                self._keep(result, replace(scores, made=replace(scores.made, owners=self.place.owners())))
            elif name == "einsum":
                self._keep(result, self._summed_product(name, args))
        elif name == "cosine_similarity" or (name in ("mul", "multiply") and is_of_all_pairs(args)):
            self._keep(result, self._summed_product(name, args))
        elif name in OTHER_PRODUCTS:
            operands = [one for one in args if isinstance(one, Tensor)]
            origins = [self.origins.of(one) for one in operands]
            if len(operands) == 2 and not any(one is not None and one.constant for one in origins):
                self._keep(result, Lost(name, ScoreProduct(owners=self.place.owners())))
        elif name == "softmax" and result.dim() > 2:
            self._keep(result, _free(self.origins, result, *args, **kwargs))
        return None

    def _summed_product(self, name: str, args: Any) -> Lost | None:
        """What two tensors that were computed give one by one: scores, if a softmax comes."""
        operands = operands_of(args)
        origins = [self.origins.of(one) for one in operands]
        if len(operands) != 2 or any(one is not None and one.constant for one in origins):
            return None
        return Lost(name, ScoreProduct(owners=self.place.owners()), only_if_weighted=True)

    def _follow_scores(
        self, name: str, scores: TracedScores, result: Tensor, args: Any, kwargs: Any
    ) -> Callable[[], None] | None:
        number_a_query = per_query(name, scores, result, args, kwargs)
        step = STEPS.get(name)
        after = None
        if number_a_query is None and step is not None:
            after = step(scores, result, self.known, *args, **kwargs)
        if after is not None and after.softmax is not None and after.made.activations:
            self._await(after)
        self._keep(result, number_a_query or after)
        if number_a_query is not None or after is not None:
            return None
        if name in REDUCTIONS:
            if still_of_pairs(scores, result, args, kwargs):
                self._keep(result, Lost(name, scores.made))
            return None
        if name in PRODUCTS and (name != "linear" or (len(args) > 1 and args[1] in self.known)):
            return self._met(name, scores, Lost(unweighed(scores), scores.made), result, args, kwargs)
        if name in PARTS and scores.made.among_features:
            return None  # a product of features that is taken apart is no context of linear attention
        if name in PROJECTIONS and not (name == "conv2d" or (name == "linear" and -1 not in scores.at)):
            return None
        return self._follow_lost(name, Lost(name, scores.made), result, args, kwargs)

    def _follow_weights(
        self, name: str, weights: TracedScores, result: Tensor, args: Any, kwargs: Any
    ) -> Callable[[], None] | None:
        if mixes_heads(name, weights, result, self.known, args):
            return lambda: self._complete(weights, None, None, MIXED_HEADS)
        if name in WEIGHINGS:
            if not weights.product:
                if not weights.made.rows == weights.made.columns == "places":
                    return self._begin(name, result, args, kwargs)
                return lambda: self._weighed_freely(weights)
            weighed = WEIGHINGS[name](weights, self.known, *args, **kwargs)
            if weighed is None or weights.changed:
                return lambda: self._refuse(
                    weights, after_softmax(weights.changed) if weights.changed else TURNED
                )
            return lambda: self._complete(weights, *weighed(result))
        if name in MEETINGS:
            others = [self.known.get(one) for one in args if isinstance(one, Tensor)]
            both = [one for one in others if isinstance(one, TracedScores) and one.weights]
            if len(both) == 2 and both[0].softmax is not both[1].softmax and any(one.product for one in both):
                return lambda: self._complete_both(both)
        if name in REDUCTIONS or name in PROJECTIONS:
            return None
        step = AFTER_SOFTMAX.get(name)
        after = None if step is None else step(weights, result, self.known, *args, **kwargs)
        if after is None and weights.product:
            self._keep(result, Lost(f"{name} after softmax", weights.made, True, weights.softmax))
        else:
            self._keep(result, after)
        return None

    def _follow_lost(
        self, name: str, lost: Lost, result: Tensor, args: Any, kwargs: Any
    ) -> Callable[[], None] | None:
        if name in SOFTMAXES and not lost.weighted:
            if lost.made.activations and (lost.made.of_tokens or lost.made.among_features):
                return lambda: self._miss(lost.made.owners, reason_of(lost))
            self._keep(result, replace(lost, weighted=True))
        elif lost.only_if_weighted and not lost.weighted:
            if name in PRODUCTS or name in OTHER_PRODUCTS:
                return self._begin(name, result, args, kwargs)
            if name in ("sum", "mean") or (name not in PROJECTIONS and name not in REDUCTIONS):
                self._keep(result, lost)
        elif name in PRODUCTS and name != "linear":
            return self._met(name, lost, lost, result, args, kwargs)
        elif (name not in PROJECTIONS and name not in REDUCTIONS) or (
            name == "conv2d" and lost.made.of_tokens
        ):
            self._keep(result, lost)
        return None

    def _met(
        self, name: str, before: TracedScores | Lost, lost: Lost, result: Tensor, args: Any, kwargs: Any
    ) -> Callable[[], None] | None:
        """Scores that no softmax has made weights, or that are lost, have met another matrix: values, maybe."""
        others = [one for one in operands_of(args) if self.known.get(one) is not before]
        origins = [self.origins.of(one) for one in others]
        computed = any(one is None or not one.constant for one in origins)
        made = lost.made
        sure = made.rows == made.columns == "places" if isinstance(before, TracedScores) else made.of_tokens
        attention = lost.weighted or (made.activations and (sure or made.among_features))
        if not attention or not (computed or lost.softmax is not None):
            return self._begin(name, result, args, kwargs)
        if lost.softmax is not None:
            if lost.softmax.done:
                return None
            self._settle(lost.softmax)
        return lambda: self._miss(made.owners, reason_of(lost))

    def _follow_several(self, name: str, before: Any, results: Any, args: Any, kwargs: Any) -> None:
        tensors = [one for one in results if isinstance(one, Tensor) and one.is_floating_point()]
        if (
            isinstance(before, TracedScores)
            and name in PARTS
            and before.made.among_features
            and not before.weights
        ):
            return
        if isinstance(before, TracedScores) and tensors:
            number_a_query = per_query(name, before, tensors[0], args, kwargs)
            if number_a_query is not None:
                self._keep(tensors[0], number_a_query)
                return
        self._lose(before, results, name)

    def _lose(self, before: Any, result: Any, by: str) -> None:
        lost = before if isinstance(before, Lost) else None
        if isinstance(before, TracedScores) and before.product:
            by = f"{by} after softmax" if before.weights else by
            lost = Lost(by, before.made, before.weights, before.softmax)
        for one in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(one, Tensor) and one.is_floating_point():
                self._keep(one, lost)

    # ---- what is known --------------------------------------------------------------------------------

    def _operand(self, args: Any, kwargs: Any) -> TracedScores | Lost | PerQuery | None:
        """What is known of the operands: of the one that is changed; of two alike, of the first."""
        found = [
            one
            for each in operands_of((*args, *kwargs.values()))
            if (one := self.known.get(each)) is not None
        ]
        return min(found, key=_rank, default=None)

    def _forget_others(self, written: Tensor, result: Any) -> None:
        """Scores in memory that was written into are lost, but for what the writing gave; and so are scores of which
        a part that they are told by was written into."""
        for tensor in self.known.tensors():
            if _refers_to(self.known.get(tensor), written):
                self._lose(self.known.get(tensor), tensor, OVERWRITTEN)
            elif tensor is not result and share_memory(tensor, written):
                self._lose(self.known.get(tensor), tensor, "a write into their memory")
                if isinstance(self.known.get(tensor), PerQuery):
                    self.known.forget(tensor)

    def _keep(self, tensor: Tensor, known: TracedScores | Lost | PerQuery | None) -> None:
        if known is None:
            self.known.forget(tensor)
        else:
            self.known[tensor] = known

    def _await(self, weights: TracedScores) -> None:
        found = self.place.find(weights.made.owners)
        if found is not None and weights.softmax is not None:
            self.pending[weights.softmax] = found[0]

    # ---- what is told ---------------------------------------------------------------------------------

    def _complete(
        self, weights: TracedScores, value: Tensor | None, output: Tensor | None, note: str = ""
    ) -> None:
        softmax = weights.softmax
        if softmax is None or softmax.done:
            return
        found = self.place.find(weights.made.owners)
        if found is None:
            self._settle(softmax)
            return
        module, kind = found
        inputs = None
        reason = _unsuited(weights)
        if reason is None:
            try:
                with torch._C.DisableTorchFunction():
                    inputs = inputs_of(weights, value, output, module, kind)
                    line = arrangement_of(weights, module).unclear
                if inputs is None:
                    by = weights.zeroed_by
                    reason = through(
                        after_softmax(by) if by else "filling places with numbers that hide nothing"
                    )
                elif line:
                    self.place.note(f"{self.place.name(module)}: {line}.")
            except (TypeError, ValueError, IndexError, RuntimeError) as error:
                reason = f"what it was computed from fits no matrix ({error})"
        self._settle(softmax)
        if inputs is None:
            self.place.missed(module, reason or ADDITIVE)
            return
        if note or self._is_a_piece(weights):
            self.place.note(f"{self.place.name(module)} {note or IN_PIECES}.")
        self.place.record(module, inputs)

    def _is_a_piece(self, weights: TracedScores) -> bool:
        """Whether its queries lie in one memory with those of an earlier product in the same call of a module."""
        if not weights.made.owners or not weights.product:
            return False
        memory, at = weights.q.untyped_storage().data_ptr(), int(weights.q.storage_offset())
        before = self._pieces.get(weights.made.owners[0])
        self._pieces = {weights.made.owners[0]: (memory, at)}
        return before is not None and before[0] == memory and before[1] != at

    def _complete_both(self, mixed: Sequence[TracedScores]) -> None:
        for one in mixed:
            self._complete(one, None, None, MIXED)

    def _weighed_freely(self, weights: TracedScores) -> None:
        """Values were weighed by a softmax, over other tokens, of something that is no product."""
        if weights.softmax is not None and not weights.softmax.done:
            self._settle(weights.softmax)
            self._miss((), ADDITIVE)

    def _refuse(self, weights: TracedScores, reason: str) -> None:
        if weights.softmax is not None and not weights.softmax.done:
            self._settle(weights.softmax)
            reason = CHANNELS if weights.made.among_features else reason
            self._miss(weights.made.owners, reason if reason in (CHANNELS, TURNED) else through(reason))

    def _settle(self, softmax: Softmax) -> None:
        softmax.done = True
        self.pending.pop(softmax, None)

    def _miss(self, owners: Owners, why: str) -> None:
        found = self.place.find(owners)
        if found is not None:
            self.place.missed(found[0], why)


def _refers_to(known: TracedScores | Lost | PerQuery | None, written: Tensor) -> bool:
    """Whether weights that are still to meet their values are told by what lies in memory that was written into."""
    scores = known.of if isinstance(known, PerQuery) else known
    if not isinstance(scores, TracedScores) or (scores.softmax is not None and scores.softmax.done):
        return False
    return any(share_memory(one, written) for one in scores.made_from)


def _unsuited(weights: TracedScores) -> str | None:
    """Why weights that were followed are no matrix of tokens, or cannot be kept."""
    if weights.made.among_features:
        return CHANNELS
    if is_in_transform():
        return IN_TRANSFORMS
    return why_unreadable(weights.q, weights.k, *(tensor for tensor, _ in weights.terms))


def _free(
    origins: Origins, result: Tensor, x: Tensor, dim: int | None = None, *_: Any, **__: Any
) -> TracedScores | None:
    """Weights whose scores are no product: they have the scores for a bias, and queries and keys of 0."""
    if dim not in (-1, result.dim() - 1):
        return None
    origin = origins.of(x)
    made = (
        ScoreProduct()
        if origin is None
        else ScoreProduct(label_of(origin.axes[-2]), label_of(origin.axes[-1]))
    )
    nothing = x.new_zeros(()).detach()
    q, k = (nothing.expand(*x.shape[:-2], size, 1) for size in x.shape[-2:])
    return TracedScores(
        q, k, tuple(x.shape), terms=((x.detach(), 1.0),), product=False, stage="weights", softmax=Softmax(),
        made=made, lead=None if origin is None else origin.axes[:-2],
    )  # fmt: skip


def _rank(known: TracedScores | Lost | PerQuery) -> int:
    """Which operand an operation is taken to change: scores, before what is lost, before what stands beside them."""
    if isinstance(known, TracedScores):
        return 0 if known.product or not known.weights else 3
    return 1 if isinstance(known, Lost) else 2


def _same_per_query(name: str, known: PerQuery, args: Any) -> PerQuery | None:
    """A number a query that is moved, or a sum to which a number was added."""
    if name in ("detach", "clone", "to", "float", "contiguous"):
        return known
    numbers = [float(one) for one in args if isinstance(one, (int, float))]
    if name in ("add", "iadd", "radd") and known.what == "sum" and numbers:
        return replace(known, plus=known.plus + numbers[0])
    return None
