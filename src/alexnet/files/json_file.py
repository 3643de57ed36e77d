"""The one reader of JSON files. What it returns has been checked: size, depth, and the type of every value."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints, is_typeddict

from alexnet.files.regular import read_regular

LARGEST = 1 << 25
"""Bytes of a file. The longest of ours is the `store.json` of a large data set with many unreadable images."""
DEEPEST = 32
"""Levels of objects and lists in each other. Ours have five."""

Form = TypeVar("Form")
_hints = cache(get_type_hints)


def read_json(path: Path, form: type[Form], limit: int = LARGEST) -> Form:
    """The JSON value in a file, of the type `form`: a TypedDict, `list[...]`, `dict[str, ...]`, a plain type or `Any`.

    Raises ValueError with the reason where it is no such value, OSError as `read_regular`.
    """
    value = parse_json(read_regular(path, limit))
    if problem := mismatch(value, form):
        raise ValueError(problem)
    return value


def parse_json(data: bytes | str) -> Any:
    """A JSON value. Raises ValueError with the reason where it is none, or is nested more than `DEEPEST` levels."""
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep") from None
    opened = data.count("[") + data.count("{") if isinstance(data, str) else data.count(b"[") + data.count(b"{")
    if opened <= DEEPEST:
        return value
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return value
    raise ValueError(f"it is nested more than {DEEPEST} levels deep")


def mismatch(value: Any, form: Any, where: str = "") -> str | None:
    """How a JSON value differs from a type, in words that begin with `where`; None where it does not.

    Keys of an object that a TypedDict does not know are ignored.
    """
    if is_typeddict(form):
        if not isinstance(value, dict):
            return f"{where or 'it '}is not an object"
        for key, hint in _hints(form).items():
            if key not in value:
                return f"{where}{key} is missing"
            if problem := mismatch(value[key], hint, f"{where}{key} "):
                return problem
        return None
    origin, arguments = get_origin(form), get_args(form)
    if origin in (list, dict):
        if not isinstance(value, origin):
            return f"{where or 'it '}is not {'a list' if origin is list else 'an object'}"
        items = value.values() if isinstance(value, dict) else value
        return next((problem for item in items if (problem := mismatch(item, arguments[-1], where))), None)
    if origin is Literal:
        return None if value in arguments else f"{where or 'it '}is {_shown(value)}, not one of {arguments}"
    if form is Any or _is_of(value, form):
        return None
    wanted = "finite" if isinstance(value, float) and form is float else f"a {'text' if form is str else 'number'}"
    return f"{where or 'it '}is {_shown(value)}, not {wanted}"


def _shown(value: Any) -> str:
    """A JSON value in a message."""
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else f"{value!r:.40}"


def _is_of(value: Any, form: Any) -> bool:
    """Whether a value is of a plain type. No bool is a number, no whole number has more than 64 bits, all others are
    finite, and no text has a half of a character."""
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if isinstance(value, bool) != (form is bool) or (isinstance(value, int) and abs(value) > 1 << 63):
        return False
    if isinstance(value, str) and form is str:
        return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
    return isinstance(value, int | float if form is float else form)
