"""LazyAttentionTensor: a tensor subclass for `outputs.attentions`, computed only when it is read.

Other people's code wants `outputs.attentions` to be tensors: it slices them, stacks them, turns them into NumPy
arrays. A `LazyAttentionTensor` answers all of that, and computes only what is asked for, when it is asked for.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from limelight.capture.inputs.autograd import Block, Graph, part_of
from limelight.capture.inputs.tensor_memo import version
from limelight.errors import CaptureError, InputError, OutOfRangeError
from limelight.matrix import AttentionMatrix

Function = Callable[..., Any]
QUERIES = 2
"""The axis of the queries."""
FEW = 4
"""Of fewer than a row in so many, only these rows are computed."""


def _metadata_functions() -> frozenset[Function]:
    """Questions that the size, the dtype and the device answer."""
    plain = (
        "dim size numel nelement is_floating_point is_complex element_size stride is_contiguous get_device"
    )
    methods = [getattr(Tensor, name) for name in f"{plain} __len__".split()]
    properties = "shape dtype device ndim layout grad_fn is_cuda is_cpu is_meta"
    getters = [getattr(Tensor, name).__get__ for name in f"{properties} itemsize nbytes".split()]
    return frozenset([*methods, *getters, torch.is_tensor, torch.is_floating_point, torch.numel])


_METADATA = _metadata_functions()
_CONVERSIONS = frozenset([Tensor.to, Tensor.cpu, Tensor.float, Tensor.contiguous, Tensor.type_as])
_DATA, _REQUIRES_GRAD = (vars(torch._C.TensorBase)[name] for name in ("data", "requires_grad"))
_DETACHED = frozenset([Tensor.detach, torch.detach, _DATA.__get__])
_PLAIN = frozenset(
    [Tensor.numpy, Tensor.__array__, Tensor.tolist, Tensor.item, Tensor.__deepcopy__, Tensor.__reduce_ex__]
)
"""What gives numbers and no tensor of the graph."""
_ASKS, _IS_LEAF, _GRAD = (getattr(Tensor, name).__get__ for name in ("requires_grad", "is_leaf", "grad"))
_WANT_A_GRADIENT_HERE = frozenset(
    [
        Tensor.retain_grad,
        Tensor.requires_grad_,
        _REQUIRES_GRAD.__set__,
        Tensor.register_hook,
    ]
)
NO_GRADIENT_HERE = (
    "The model's output was not computed from these weights, which are computed beside it when asked for, so no "
    "gradient of the output can be kept at them. For gradients of the output with respect to the weights load the "
    "model with attn_implementation='eager'. A loss of your own on them reaches the model as it is; its gradient is "
    "kept at a copy: weights = attention.clone(); weights.retain_grad()."
)


def _renamed(plain: Function) -> Function:
    """`a += b` for an `a` that cannot be written to: the name gets a new tensor."""
    return lambda lazy, other: plain(lazy, other)


class LazyAttentionTensor(Tensor):
    """The weights of an `AttentionMatrix` as a tensor (batch, heads, queries, keys) that holds no entries.

    It is a `torch.Tensor` to `isinstance`, since code that takes tensors asks for that, and a `LazyAttentionTensor`
    to those who want to know. Shape, dtype, device and length cost nothing. Indexing computes the block that is
    asked for. Everything else (torch functions, arithmetic, comparison, NumPy, pickling) computes the matrix
    once, acts on that and gives ordinary tensors; above the limit of `AttentionMatrix.dense` it is refused with
    TooLargeError. Nothing is kept: whoever needs the whole matrix twice calls `clone()` first.

    `matrix` is the AttentionMatrix behind it, for readings in one pass. Entries have the dtype of the model, as
    those of its eager attention have; those of `matrix` are float32. It cannot be written to. `referred` are tensors
    that it is computed from and that others might write to: once they did, it refuses.

    With a `graph`, where the model ran with gradients, a loss on the weights reaches the model's parameters exactly
    as it does through an eager model's. No gradient is kept at the weights themselves: asked for it, they refuse with
    CaptureError and say what to do.

    >>> lazy = LazyAttentionTensor(AttentionMatrix(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 5, 4)))
    >>> lazy, isinstance(lazy, Tensor)
    (LazyAttentionTensor(1 × 2 heads, 3 queries × 5 keys, torch.float32, cpu), True)
    >>> lazy[0, 1, 2]
    tensor([0.2000, 0.2000, 0.2000, 0.2000, 0.2000])
    >>> torch.stack([lazy, lazy]).shape, round(float(lazy.sum()))
    (torch.Size([2, 1, 2, 3, 5]), 6)
    """

    matrix: AttentionMatrix
    graph: Graph | None
    _referred: tuple[tuple[Tensor, int | None], ...]

    @staticmethod
    def __new__(
        cls,
        matrix: AttentionMatrix,
        dtype: torch.dtype | None = None,
        referred: Sequence[Tensor] = (),
        graph: Graph | None = None,
    ) -> LazyAttentionTensor:
        lazy: LazyAttentionTensor = Tensor._make_wrapper_subclass(
            cls, matrix.shape, dtype=dtype or matrix.dtype, device=matrix.device
        )
        lazy.matrix, lazy.graph = matrix, graph
        lazy._referred = tuple((tensor, version(tensor)) for tensor in referred)
        return lazy

    def _without_graph(self) -> LazyAttentionTensor:
        if self.graph is None:
            return self
        lazy = LazyAttentionTensor(self.matrix, self.dtype)
        lazy._referred = self._referred
        return lazy

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        B, H, N, M = self.matrix.shape
        part = self.matrix.head_range
        heads = f"{H} heads" if part is None else f"{H} heads ({part})"
        return f"LazyAttentionTensor({B} × {heads}, {N} queries × {M} keys, {self.dtype}, {self.device})"

    def __format__(self, _: str) -> str:
        return repr(self)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[batch] for batch in range(self.matrix.shape[0]))

    __iadd__ = _renamed(operator.add)
    __isub__ = _renamed(operator.sub)
    __imul__ = _renamed(operator.mul)
    __itruediv__ = _renamed(operator.truediv)
    __ipow__ = _renamed(operator.pow)

    def computed(self) -> Tensor:
        """All entries as an ordinary tensor."""
        self.demand_unwritten()
        return self.block((slice(None),) * 4).to(self.dtype)

    def block(self, block: Block) -> Tensor:
        """Plain ranges of each axis, in the dtype of the matrix."""
        return part_of(self.matrix, self.graph, block)

    def demand_unwritten(self) -> None:
        """Raise CaptureError if the model has written to what the weights are computed from."""
        if any(version(tensor) != before for tensor, before in self._referred):
            raise CaptureError(
                "The queries and keys of this attention must stay as they were; the model has written to them since, "
                "as static caches do. Look at it before the next forward, or use limelight.watch(model), which "
                "copies what is new at every step."
            )

    @classmethod
    def __torch_function__(
        cls, func: Function, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        first = args[0] if args else None
        if func is torch.autograd.grad or func in _WANT_A_GRADIENT_HERE:
            if func is not torch.autograd.grad or _holds_one(args[1:]) or _holds_one(kwargs.get("inputs")):
                raise CaptureError(NO_GRADIENT_HERE)
        if func is Tensor.backward and _holds_one(kwargs.get("inputs")):
            raise CaptureError(NO_GRADIENT_HERE)
        if func in _METADATA:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        if isinstance(first, LazyAttentionTensor):
            if func in (_ASKS, _IS_LEAF):
                return (first.graph is None) == (func == _IS_LEAF)
            if func == _GRAD:
                if first.graph is not None:
                    raise CaptureError(NO_GRADIENT_HERE)
                return None
            if func in _DETACHED:
                return first._without_graph()
            if func in _PLAIN:
                with torch.no_grad():
                    return func(*_computed(args), **_computed(kwargs))
            if func is Tensor.__getitem__:
                return _part(first, args[1])
            if func in _CONVERSIONS and _stays(first, func, _computed(args[1:]), kwargs):
                return first
            if _writes(func):
                raise InputError(
                    "The attention is computed when it is asked for and cannot be written to. "
                    "Write into a copy: attention = attention.clone()."
                )
        return func(*_computed(args), **_computed(kwargs))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Function, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """What reaches the kernels without passing `__torch_function__`, such as calls from C++."""
        return func(*_computed(args), **_computed(dict(kwargs or {})))


def _holds_one(given: Any) -> bool:
    if isinstance(given, (list, tuple)):
        return any(map(_holds_one, given))
    return isinstance(given, LazyAttentionTensor)


def _writes(func: Function) -> bool:
    """In-place methods, whose names end in one underscore."""
    name = getattr(func, "__name__", "")
    return func is Tensor.__setitem__ or (name.endswith("_") and not name.endswith("__"))


def _stays(lazy: LazyAttentionTensor, func: Function, args: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a conversion changes neither dtype nor device, so that nothing needs to be computed."""
    if kwargs.get("copy") or "memory_format" in kwargs:
        return False
    tried = func(torch.empty(0, dtype=lazy.dtype, device=lazy.device), *args, **kwargs)
    return tried.dtype == lazy.dtype and tried.device == lazy.device


def _computed(given: Any) -> Any:
    """The same structure with ordinary tensors in it."""
    if isinstance(given, LazyAttentionTensor):
        return given.computed()
    if isinstance(given, (list, tuple)) and any(
        isinstance(each, (LazyAttentionTensor, list, tuple)) for each in given
    ):
        parts = [_computed(each) for each in given]
        return type(given)(*parts) if hasattr(given, "_fields") else type(given)(parts)
    if isinstance(given, dict):
        return {name: _computed(each) for name, each in given.items()}
    return given


def _part(lazy: LazyAttentionTensor, index: Any) -> Tensor:
    """`lazy[index]` for every index that a tensor takes: a block of plain ranges, then the rest of the index. Of
    queries here and there only those rows are computed."""
    asked = list(index) if isinstance(index, tuple) else [index]
    shape = lazy.matrix.shape
    if any(_is_mask(each) for each in asked):
        return lazy.computed()[index]
    taken = sum(each is not None and each is not Ellipsis for each in asked)
    if taken > len(shape):
        raise OutOfRangeError(f"too many indices: an attention matrix has {len(shape)} axes, got {taken}")
    fill = [slice(None)] * (len(shape) - taken)
    where = next((place for place, each in enumerate(asked) if each is Ellipsis), len(asked))
    asked[where : where + 1] = fill
    block: list[slice] = []
    rest: list[Any] = []
    runs: list[slice] = []
    for each in asked:
        if each is None:
            rest.append(None)
            continue
        ranged, then = _range_of(each, len(block), shape[len(block)])
        here_and_there = ranged == slice(None) and not (isinstance(then, slice) and then == slice(None))
        if len(block) == QUERIES and here_and_there:
            runs, then = _runs_of(each, shape[QUERIES])
        block.append(ranged)
        rest.append(then)
    lazy.demand_unwritten()
    if runs:
        parts = [lazy.block((block[0], block[1], run, block[3])) for run in runs]
        entries = torch.cat(parts, dim=QUERIES)
    else:
        entries = lazy.block((block[0], block[1], block[2], block[3]))
    return entries.to(lazy.dtype)[tuple(rest)]


def _runs_of(each: Any, size: int) -> tuple[list[slice], Any]:
    """The rows that a list, a tensor or a slice with a step asks for, as ranges of neighbours, and what is asked for
    within those; no ranges where most rows are asked for."""
    asked = torch.arange(size)[each.cpu() if isinstance(each, Tensor) else each]
    places, within = asked.unique(return_inverse=True)
    if not len(places):
        return [slice(0, 0)], slice(None) if isinstance(each, slice) else within
    if len(places) * FEW > size:
        return [], each
    ends = (places.diff() > 1).nonzero().flatten().tolist()
    starts = [0, *(end + 1 for end in ends)]
    stops = [*(end + 1 for end in ends), len(places)]
    runs = [
        slice(int(places[start]), int(places[stop - 1]) + 1)
        for start, stop in zip(starts, stops, strict=True)
    ]
    return runs, slice(None) if isinstance(each, slice) else within


def _range_of(each: Any, axis: int, size: int) -> tuple[slice, Any]:
    """The plain range of an axis that holds what is asked for, and what is asked for within that range."""
    if isinstance(each, slice):
        return (each, slice(None)) if each.step in (None, 1) else (slice(None), each)
    try:
        place = operator.index(each)
    except TypeError:
        return slice(None), each  # a list or a tensor of places
    if not -size <= place < size:
        raise OutOfRangeError(f"index {place} is out of bounds for dimension {axis} with size {size}")
    return slice(place % size, place % size + 1), 0


def _is_mask(each: Any) -> bool:
    """A bool index may stand for any number of axes."""
    if isinstance(each, bool):
        return True
    return getattr(each, "dtype", None) in (torch.bool, bool) or (
        isinstance(each, list) and any(isinstance(one, (bool, list)) for one in each)
    )
