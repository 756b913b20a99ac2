"""Track what each axis of a tensor is: features made by a layer, or positions (batch, tokens).

A linear layer makes the last axis of its result, a convolution the second one, an embedding the last. Whatever was
before it, texts, tokens, pixels, are places. Views, transpositions and arithmetic carry that along. So it can be
told, of the axes of a product, whether tokens attend to tokens or channels to channels, and which axis are the heads:
they are a part of the features, however they were folded together with the texts. And it is known which tensors are
made of parameters alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal
from weakref import ref

from torch import Tensor, nn

Label = Literal["features", "places", "unknown"]

Axis = tuple[tuple[Label, int], ...]
"""The factors of one axis, the outermost first: heads folded into texts are (("places", B), ("features", H))."""


@dataclass(frozen=True)
class Origin:
    """The axes of one tensor, and whether it is made of parameters alone."""

    axes: tuple[Axis, ...]
    constant: bool = False


Look = Callable[[Any], Origin | None]


class Origins:
    """What is known of tensors, while they live."""

    def __init__(self, parameters: Sequence[Tensor] = ()) -> None:
        self._known: dict[int, tuple[Any, Origin]] = {}
        self._parameters = {id(tensor) for tensor in parameters}

    def of(self, tensor: Any) -> Origin | None:
        if not isinstance(tensor, Tensor):
            return None
        entry = self._known.get(id(tensor))
        if entry is not None and entry[0]() is tensor:
            return entry[1]
        if isinstance(tensor, nn.Parameter) or id(tensor) in self._parameters:
            return Origin(tuple((("unknown", size),) for size in tensor.shape), constant=True)
        return None

    def forget(self, tensor: Tensor) -> None:
        self._known.pop(id(tensor), None)

    def keep(self, tensor: Tensor, origin: Origin) -> None:
        place, known = id(tensor), self._known
        known[place] = (ref(tensor, lambda _: known.pop(place, None)), origin)

    def follow(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Note what an operation gave, one tensor or several."""
        if isinstance(result, Tensor):
            if (origin := self._origin(name, args, kwargs, result)) is not None:
                self.keep(result, origin)
        elif isinstance(result, (tuple, list)):
            for one in result:
                if isinstance(one, Tensor) and (origin := self._origin(name, args, kwargs, one)) is not None:
                    self.keep(one, origin)

    def _origin(self, name: str, args: Any, kwargs: Any, result: Tensor) -> Origin | None:
        operands = _tensors((*args, *kwargs.values()))
        if not operands:
            return None
        known = [self.of(one) for one in operands]
        constant = all(one is not None and one.constant for one in known)
        rule = RULES.get(name)
        if rule is not None:
            try:
                axes = rule(self.of, result, *args, **kwargs)
            except (TypeError, ValueError, IndexError, KeyError):  # a call in a form that is not known here
                axes = None
        else:
            axes = _beside(result, operands, known)
        if axes is None:
            axes = tuple((("unknown", size),) for size in result.shape) if constant else None
        if axes is None:
            return None
        return Origin(axes, constant)


def label_of(axis: Axis) -> Label:
    """What the whole of an axis counts; "unknown" where its factors differ."""
    labels = {label for label, size in axis if size != 1}
    return labels.pop() if len(labels) == 1 else "unknown"


def regrouped(axes: Sequence[Axis], shape: Sequence[int]) -> tuple[Axis, ...] | None:
    """The same factors in the axes of a view of another shape; None where they do not fall apart so."""
    left = [factor for axis in axes for factor in axis if factor[1] != 1]
    regrouped: list[Axis] = []
    for size in shape:
        taken: list[tuple[Label, int]] = []
        need = size
        while need != 1:
            if not left or not need:
                return None
            label, whole = left[0]
            if need % whole == 0:
                taken.append(left.pop(0))
                need //= whole
            elif whole % need == 0:
                taken.append((label, need))
                left[0] = (label, whole // need)
                need = 1
            else:
                return None
        regrouped.append(tuple(taken))
    return tuple(regrouped)


def resized(axis: Axis, size: int) -> Axis:
    """An axis of which a part was taken, or that was repeated."""
    return axis if prod(whole for _, whole in axis) == size else ((label_of(axis), size),)


def _tensors(args: Any) -> list[Tensor]:
    return [
        one
        for each in args
        for one in (each if isinstance(each, (tuple, list)) else (each,))
        if isinstance(one, Tensor)
    ]


def _beside(
    result: Tensor, operands: Sequence[Tensor], known: Sequence[Origin | None]
) -> tuple[Axis, ...] | None:
    """Arithmetic, entry by entry: each axis is that of an operand that has it in full and of which it is known."""
    axes: list[Axis] = [(("unknown", size),) for size in result.shape]
    some = False
    for operand, origin in zip(operands, known, strict=True):
        beside = operand.dim() <= result.dim() and all(
            size in (whole, 1)
            for size, whole in zip(reversed(operand.shape), reversed(result.shape), strict=False)
        )
        if not beside:
            if origin is not None and origin.constant:
                continue  # the weight of a norm, say
            return None
        for i in range(1, operand.dim() + 1):
            if (
                origin is not None
                and operand.shape[-i] == result.shape[-i]
                and label_of(axes[-i]) == "unknown"
            ):
                axes[-i] = origin.axes[-i]
                some = True
    return tuple(axes) if some else None


# ---- operations that make features --------------------------------------------------------------------


def _places(of: Look, tensor: Any) -> tuple[Axis, ...]:
    origin = of(tensor)
    if origin is not None:
        return tuple(
            axis if label_of(axis) != "unknown" or len(axis) > 1 else (("places", size),)
            for axis, size in zip(origin.axes, tensor.shape, strict=True)
        )
    return tuple((("places", size),) for size in tensor.shape)


def _linear(
    of: Look, result: Tensor, x: Tensor, weight: Tensor, *_: Any, **__: Any
) -> tuple[Axis, ...] | None:
    return (*_places(of, x)[:-1], (("features", result.shape[-1]),))


def _embedding(of: Look, result: Tensor, ids: Tensor, *_: Any, **__: Any) -> tuple[Axis, ...]:
    return (*_all("places", result.shape[:-1]), *_all("features", result.shape[-1:]))


def _all(label: Label, sizes: Sequence[int]) -> tuple[Axis, ...]:
    return tuple(((label, size),) for size in sizes)


def _convolution(axes: int) -> Callable[..., tuple[Axis, ...]]:
    def rule(of: Look, result: Tensor, x: Tensor, *_: Any, **__: Any) -> tuple[Axis, ...]:
        space = _all("places", result.shape[-axes:])
        return (*_places(of, x)[: x.dim() - axes - 1], (("features", result.shape[-axes - 1]),), *space)

    return rule


def _unfolded(of: Look, result: Tensor, x: Tensor, *_: Any, **__: Any) -> tuple[Axis, ...] | None:
    if result.dim() != 3 or x.dim() != 4:
        return None
    channels = x.shape[1]
    patch: Axis = (("features", channels), ("places", result.shape[1] // channels))
    return (*_all("places", result.shape[:1]), patch, *_all("places", result.shape[2:]))


def _product(of: Look, result: Tensor, a: Tensor, b: Tensor, **_: Any) -> tuple[Axis, ...] | None:
    if a.dim() < 2 or b.dim() < 2 or result.dim() < 2:
        return None
    left, right = of(a), of(b)
    rows = _places(of, a)[-2] if right is not None and right.constant else left.axes[-2] if left else None
    if right is not None and right.constant and a.dim() >= b.dim():
        return (*_places(of, a)[:-2], rows or (), (("features", result.shape[-1]),))
    columns = right.axes[-1] if right else None
    lead = left.axes[:-2] if left and a.dim() == result.dim() else right.axes[:-2] if right else ()
    if len(lead) != result.dim() - 2:
        return None
    return (
        *lead,
        rows or (("unknown", result.shape[-2]),),
        columns or (("unknown", result.shape[-1]),),
    )


def _added_product(
    of: Look, result: Tensor, _: Tensor, batch1: Tensor, batch2: Tensor, **__: Any
) -> tuple[Axis, ...] | None:
    return _product(of, result, batch1, batch2)


def _einsum(of: Look, result: Tensor, equation: Any, *operands: Any) -> tuple[Axis, ...] | None:
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    if not isinstance(equation, str) or "->" not in equation or "." in equation:
        return None
    inputs, out = equation.replace(" ", "").split("->")
    letters: dict[str, Axis] = {}
    parts = list(zip(inputs.split(","), operands, strict=True))
    constant = [(origin := of(one)) is not None and origin.constant for _, one in parts]
    for (named, operand), fixed in zip(parts, constant, strict=True):
        if not fixed:
            for letter, axis in zip(
                named, _places(of, operand) if any(constant) else _known(of, operand), strict=True
            ):
                letters.setdefault(letter, axis)
    for (named, operand), fixed in zip(parts, constant, strict=True):
        if fixed:
            for letter, size in zip(named, operand.shape, strict=True):
                letters.setdefault(letter, (("features", size),))
    return tuple(letters[letter] for letter in out)


def _known(of: Look, tensor: Tensor) -> tuple[Axis, ...]:
    origin = of(tensor)
    return origin.axes if origin else tuple((("unknown", size),) for size in tensor.shape)


# ---- operations that move axes ------------------------------------------------------------------------


def _moving(move: Callable[..., tuple[Axis, ...] | None]) -> Callable[..., tuple[Axis, ...] | None]:
    def rule(of: Look, result: Tensor, x: Any, *args: Any, **kwargs: Any) -> tuple[Axis, ...] | None:
        origin = of(x)
        return None if origin is None else move(origin.axes, result, *args, **kwargs)

    return rule


def _view(axes: tuple[Axis, ...], result: Tensor, *_: Any, **__: Any) -> tuple[Axis, ...] | None:
    return regrouped(axes, result.shape)


def _permute(axes: tuple[Axis, ...], result: Tensor, *dims: Any, **kwargs: Any) -> tuple[Axis, ...]:
    order = kwargs.get("dims", dims[0] if len(dims) == 1 and isinstance(dims[0], Sequence) else dims)
    return tuple(axes[i] for i in order)


def _transpose(axes: tuple[Axis, ...], result: Tensor, *dims: Any, **kwargs: Any) -> tuple[Axis, ...]:
    one, other = (*dims, *kwargs.values())
    moved = list(axes)
    moved[one], moved[other] = moved[other], moved[one]
    return tuple(moved)


def _turn(axes: tuple[Axis, ...], result: Tensor, *_: Any) -> tuple[Axis, ...] | None:
    return (*axes[:-2], axes[-1], axes[-2]) if len(axes) >= 2 else axes


def _movedim(axes: tuple[Axis, ...], result: Tensor, source: Any, destination: Any) -> tuple[Axis, ...]:
    pairs = zip(*((each,) if isinstance(each, int) else each for each in (source, destination)), strict=True)
    there = {to % len(axes): axes[at] for at, to in pairs}
    sources = [at % len(axes) for at in ((source,) if isinstance(source, int) else source)]
    rest = iter(axis for i, axis in enumerate(axes) if i not in sources)
    return tuple(there[i] if i in there else next(rest) for i in range(len(axes)))


def _resize(axes: tuple[Axis, ...], result: Tensor, *_: Any, **__: Any) -> tuple[Axis, ...] | None:
    if len(axes) != result.dim():
        return None
    return tuple(resized(axis, size) for axis, size in zip(axes, result.shape, strict=True))


def _expand(axes: tuple[Axis, ...], result: Tensor, *_: Any, **__: Any) -> tuple[Axis, ...]:
    wide: tuple[Axis, ...] = (*((("unknown", 1),) for _ in range(result.dim() - len(axes))), *axes)
    return tuple(resized(axis, size) for axis, size in zip(wide, result.shape, strict=True))


def _unbind(axes: tuple[Axis, ...], result: Tensor, dim: int = 0, *_: Any) -> tuple[Axis, ...]:
    return tuple(axis for i, axis in enumerate(axes) if i != dim % len(axes))


def _item(axes: tuple[Axis, ...], result: Tensor, index: Any) -> tuple[Axis, ...] | None:
    index = index if isinstance(index, tuple) else (index,)
    used = sum(1 for one in index if one is not None and one is not Ellipsis)
    if any(isinstance(one, (Tensor, list, bool)) for one in index) or used > len(axes):
        return None
    rest, taken = list(axes), list[Axis]()
    for one in index:
        if one is None:
            taken.append(())
        elif one is Ellipsis:
            after = sum(1 for other in index[index.index(Ellipsis) + 1 :] if other is not None)
            while len(rest) > after:
                taken.append(rest.pop(0))
        elif isinstance(one, slice):
            taken.append(rest.pop(0))
        else:
            rest.pop(0)
    taken += rest
    return _resize(tuple(taken), result)


def _joined(of: Look, result: Tensor, tensors: Any, *_: Any, **__: Any) -> tuple[Axis, ...] | None:
    known = [of(one) for one in tensors]
    axes: list[Axis] = []
    for i, size in enumerate(result.shape):
        labels = {
            label_of(one.axes[i]) if one is not None and len(one.axes) == result.dim() else "unknown"
            for one in known
        }
        own = next((one.axes[i] for one in known if one is not None and len(one.axes) == result.dim()), None)
        same = own is not None and prod(whole for _, whole in own) == size
        labels.discard("unknown")
        axes.append(
            own if same and own is not None else ((labels.pop() if len(labels) == 1 else "unknown", size),)
        )
    return tuple(axes)


_VIEW, _SIZE = _moving(_view), _moving(_resize)

RULES: dict[str, Callable[..., tuple[Axis, ...] | None]] = {
    "linear": _linear,
    "embedding": _embedding,
    "conv1d": _convolution(1),
    "conv2d": _convolution(2),
    "conv3d": _convolution(3),
    "unfold": _unfolded,
    **dict.fromkeys(("matmul", "bmm", "mm"), _product),
    **dict.fromkeys(("addmm", "baddbmm"), _added_product),
    "einsum": _einsum,
    **dict.fromkeys(("view", "reshape", "unflatten", "flatten", "unsqueeze", "squeeze"), _VIEW),
    "permute": _moving(_permute),
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _moving(_transpose)),
    **dict.fromkeys(("T", "mT", "t"), _moving(_turn)),
    **dict.fromkeys(("movedim", "moveaxis"), _moving(_movedim)),
    "expand": _moving(_expand),
    "unbind": _moving(_unbind),
    "getitem": _moving(_item),
    **dict.fromkeys(
        ("chunk", "split", "tensor_split", "narrow", "repeat_interleave", "index_select", "pad", "interpolate",
         "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
         "adaptive_max_pool2d"),
        _SIZE,
    ),
    **dict.fromkeys(("cat", "concat"), _joined),
    "stack": lambda of, result, *_, **__: None,
}  # fmt: skip
"""By the name of the torch function without underscores; what is not here is arithmetic, entry by entry."""
