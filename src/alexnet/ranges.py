"""The numbers that settings and options may have: annotations of their types, and what checks them.

seed: Annotated[int, Range(0, 2**63 - 1)] = 0

`UsageError` is what anything raises for a value of an option or argument that is wrong whatever the files hold.
"""

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

P = ParamSpec("P")
R = TypeVar("R")


class UsageError(ValueError):
    """An argument or option that is wrong by itself: a number out of its range, an unknown name, a file name with the
    wrong ending, options that exclude each other. The command line exits with 2 for it, and with 1 for a file that is
    missing or damaged, and for files that do not fit each other."""


@contextmanager
def values_of(file: object) -> Iterator[None]:
    """Turn a UsageError about values that a file holds into a ValueError that names the file."""
    try:
        yield
    except UsageError as error:
        raise ValueError(f"{file}: {error}") from None


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may have: from `low` to `high`, both included unless `above` or `below` excludes
    them. It annotates the type of the setting, or of each element of a tuple."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    """`low` itself is not allowed."""
    below: bool = False
    """`high` itself is not allowed."""

    def __contains__(self, value: float) -> bool:
        low = self.low < value if self.above else self.low <= value
        high = value < self.high if self.below else value <= self.high
        return low and high

    def __str__(self) -> str:
        parts = []
        if self.low > -math.inf:
            parts.append(f"{'more than' if self.above else 'at least'} {self.low}")
        if self.high < math.inf:
            parts.append(f"{'less than' if self.below else 'at most'} {self.high}")
        return " and ".join(parts)


Count = Annotated[int, Range(1, 10**9)]
"""A number of things of which there must be some."""
CountOrNone = Annotated[int, Range(0, 10**9)]
"""A number of things; 0 stands for none, or for a default."""
Number = Annotated[float, Range()]
NotNegative = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, above=True)]
Fraction = Annotated[float, Range(0, 1)]
FractionOfSome = Annotated[float, Range(0, 1, below=True)]
"""A fraction that leaves some over."""
BatchSize = Annotated[int, Range(1, 65536)]
Pixels = Annotated[int, Range(1, 8192)]
Width = Annotated[float, Range(0, 16, above=True)]
StoredPixels = Annotated[int, Range(1, 4096)]
"""Height and width of the images of a store."""
Quality = Annotated[int, Range(1, 100)]
"""JPEG quality."""
Channels = Annotated[int, Range(1, 65536)]
Threads = Annotated[int, Range(0, 1024)]
"""Threads or processes; 0: one per processor core."""
Seed = Annotated[int, Range(0, 2**63 - 1)]
Seeds = Annotated[int, Range(1, 1000)]
"""How many seeds."""


def check_range(name: str, annotation: Any, value: Any) -> None:
    """UsageError, beginning with `name`, unless all numbers of `value` are in the `Range` of their annotation."""
    if get_origin(annotation) in (Union, UnionType):
        for option in get_args(annotation):
            check_range(name, option, value)
    elif isinstance(value, tuple):
        for each in value:
            check_range(name, next(iter(get_args(annotation)), None), each)
    elif value is not None:
        for allowed in getattr(annotation, "__metadata__", ()):
            if isinstance(allowed, Range) and not math.isfinite(value):
                raise UsageError(f"{name} is {value}; it must be a finite number.")
            if isinstance(allowed, Range) and value not in allowed:
                raise UsageError(f"{name} is {value}; it must be {allowed}.")


def check_ranges(settings: Any, prefix: str = "") -> None:
    """UsageError, naming the setting, unless every number of a dataclass of settings is in its range."""
    for name, annotation in _annotations(type(settings)).items():
        check_range(prefix + name, annotation, getattr(settings, name))


def check_arguments(
    function: Callable[..., Any], values: Iterable[tuple[str, Any]], name: Callable[[str], str] = str
) -> None:
    """UsageError unless the arguments of `function`, given as (parameter, value), are in the ranges of its signature.
    `name` is what the message calls a parameter."""
    annotations = _annotations(function)
    for parameter, value in values:
        if parameter in annotations:
            check_range(name(parameter), annotations[parameter], value)


@functools.cache
def _annotations(declared: Callable[..., Any]) -> dict[str, Any]:
    """Of the fields of a dataclass, or the parameters of a function."""
    return get_type_hints(declared, include_extras=True)


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function: it raises UsageError for arguments out of the ranges of its signature, and does nothing."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = inspect.signature(function).bind(*args, **kwargs)
        check_arguments(function, bound.arguments.items())
        return function(*args, **kwargs)

    return call
