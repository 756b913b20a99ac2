"""@checked: when a public function fails, name the argument of the wrong type or the path at fault.

`@checked` changes nothing about a call that succeeds, nor about an error that Limelight raises on purpose. Only where
something else goes wrong inside (a TypeError of Python's, an AttributeError) are the arguments held against the
annotations; one that does not fit is named in an ArgumentTypeError. Where all of them fit, the error
goes on as it came, but what the system says of a path (no right to it, no room) becomes a FileError, with what to do.
"""

from __future__ import annotations

import functools
import inspect
import operator
import os
import reprlib
import types
import typing
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from limelight.errors import ArgumentTypeError, LimelightError, file_error, tells_of_a_file

Door = TypeVar("Door", bound=Callable[..., Any])
Kind = TypeVar("Kind", bound=type)

MOST = 10_000
"""Entries of a list that are looked at."""


def checked(door: Door) -> Door:
    """A function, or the generator of a context manager, that names an argument which does not fit its annotation.

    >>> @checked
    ... def twice(text: str) -> str:
    ...     return text.upper() * 2
    >>> twice(5)
    Traceback (most recent call last):
        ...
    limelight.errors.ArgumentTypeError: twice(): text must be a str; got 5.
    """
    if inspect.isgeneratorfunction(door):

        @functools.wraps(door)
        def steps(*given: Any, **named: Any) -> Generator[Any, Any, Any]:
            try:
                answer: Any = yield from door(*given, **named)
                return answer
            except LimelightError:
                raise
            except Exception as error:
                _check(door, given, named, error)
                _tell_path(error)
                raise

        return typing.cast(Door, steps)

    @functools.wraps(door)
    def call(*given: Any, **named: Any) -> Any:
        try:
            return door(*given, **named)
        except LimelightError:
            raise
        except Exception as error:
            _check(door, given, named, error)
            _tell_path(error)
            raise

    return typing.cast(Door, call)


def checked_class(kind: Kind) -> Kind:
    """The same for the making of a class's objects."""
    made: Any = kind
    made.__init__ = checked(made.__init__)
    return kind


def _check(
    door: Callable[..., Any], given: Sequence[Any], named: Mapping[str, Any], error: Exception
) -> None:
    """Raise ArgumentTypeError for the first argument that does not fit its annotation."""
    signature = inspect.signature(door)
    try:
        arguments = signature.bind(*given, **named).arguments
    except TypeError:  # a name that there is not: Python says so itself
        return
    name = door.__qualname__.removesuffix(".__init__").rpartition("<locals>.")[2]
    for place, value in arguments.items():
        parameter = signature.parameters[place]
        hint = _hint(door, parameter)
        many = parameter.kind is parameter.VAR_POSITIONAL
        for each in value if many else (value,):
            if parameter.kind is not parameter.VAR_KEYWORD and not fits(each, hint):
                raise ArgumentTypeError(
                    f"{name}(): {place} must be {in_words(hint)}; got {reprlib.repr(each)}."
                ) from error


def _tell_path(error: Exception) -> None:
    """Raise FileError for what the system says of a file or folder."""
    if isinstance(error, OSError) and tells_of_a_file(error):
        raise file_error(error) from error


def _hint(door: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """What a parameter is annotated with; Any where that cannot be known while the program runs."""
    hint = parameter.annotation
    if hint is parameter.empty:
        return Any
    if not isinstance(hint, str):
        return hint
    try:
        return eval(hint, dict(vars(typing)) | dict(getattr(door, "__globals__", {})))
    except (NameError, AttributeError, TypeError):
        return Any


def fits(value: Any, hint: Any) -> bool:
    """Whether a value may stand where the annotation says `hint`; in doubt it may.

    >>> fits([1, 2], Sequence[int]), fits(["a"], Sequence[int]), fits("x.txt", str | Path), fits(2, float)
    (True, False, True, True)
    """
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or hint is object or isinstance(hint, TypeVar):
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in inner)
    if hint is None or hint is type(None):
        return value is None
    if origin is Literal:
        return any(type(value) is type(each) for each in inner)
    if hint is float:
        return _is_number(value)
    if hint is int:
        return _is_whole(value)
    if hint in (Path, PurePath):
        return isinstance(value, os.PathLike)
    if origin is tuple and len(inner) == 2 and inner[1] is not ...:
        return _is_pair(value, inner)
    kind = origin or hint
    if kind is Callable or kind is typing.get_origin(Callable[[], None]):
        return callable(value)
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return isinstance(value, Mapping) and all(fits(each, inner[-1]) for each in value.values() if inner)
    if isinstance(kind, type) and kind in (
        Sequence,
        Iterable,
        Iterator,
        Collection,
        list,
        tuple,
        set,
        frozenset,
    ):
        if kind is Sequence and isinstance(value, set | frozenset | Mapping):
            return False
        return _is_listed(
            value, inner[0] if inner else Any, sized=kind is not Iterable and kind is not Iterator
        )
    if getattr(kind, "_is_protocol", False):
        return all(hasattr(value, name) for name in _members(kind))
    return isinstance(value, kind) if isinstance(kind, type) else True


def _is_whole(value: Any) -> bool:
    try:
        operator.index(value)
    except Exception:
        return False
    return True


def _is_number(value: Any) -> bool:
    if isinstance(value, str | bytes):
        return False
    try:
        float(value)
    except Exception:
        return False
    return True


def _is_pair(value: Any, inner: Sequence[Any]) -> bool:
    try:
        first, second = value
    except Exception:
        return False
    return fits(first, inner[0]) and fits(second, inner[1])


def _is_listed(value: Any, inner: Any, sized: bool) -> bool:
    try:
        iter(value)
        once = isinstance(value, Iterator) or not hasattr(value, "__len__")
        if sized and once:
            return False
        short = not once and len(value) <= MOST
    except Exception:
        return False
    if isinstance(value, str | bytes):
        return inner in (str, Any)
    # What gives its entries once, an iterator, is not asked for them again.
    return not short or all(fits(each, inner) for each in value)


def _members(protocol: Any) -> set[str]:
    """The names that a protocol asks for."""
    own = {name for each in protocol.__mro__ if getattr(each, "_is_protocol", False) for name in vars(each)}
    asked = {name for each in protocol.__mro__ for name in getattr(each, "__annotations__", {})}
    return {name for name in own | asked if not name.startswith("_") or name in ("__len__", "__call__")}


def in_words(hint: Any) -> str:
    """An annotation as an error says it.

    >>> in_words(int | None), in_words(Sequence[str]), in_words(str | Path)
    ('a whole number or None', 'several values: each a str', 'a str or a path')
    """
    origin, inner = get_origin(hint), get_args(hint)
    plain: dict[Any, str] = {
        int: "a whole number",
        float: "a number",
        bool: "True or False",
        str: "a str",
        Path: "a path",
        None: "None",
    }
    plain[type(None)] = "None"
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(in_words, inner)))
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if hint in plain:
        return plain[hint]
    kind = origin or hint
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return "a mapping"
    if kind in (Sequence, Iterable, Iterator, Collection, list, tuple, set, frozenset):
        each = (
            in_words(inner[0]) if inner and inner[0] is not Any and not isinstance(inner[0], TypeVar) else ""
        )
        return f"several values: each {each}" if each else "several values"
    if callable(kind) and not isinstance(kind, type):
        return "a function"
    if kind is typing.get_origin(Callable[[], None]):
        return "a function"
    name = getattr(kind, "__name__", str(kind))
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"
