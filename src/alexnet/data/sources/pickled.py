"""Reads what Python pickled of plain values and NumPy arrays of bytes, and executes nothing.

A pickle is a program for a small stack machine, and some of its instructions import and call whatever they name. Here
the instructions are read by `pickletools.genops`, which runs none, and only those are followed that build dictionaries,
lists, tuples, texts, numbers and arrays of bytes. The few names that such arrays need stand for themselves and are
never looked up. Any other instruction or name is refused. (Python's own `pickle` with a `find_class` of few names would
still call what `BUILD` finds on them.)

Protocols 0 to 5 of Python 2 and 3; texts of Python 2, which are bytes, are returned as text in Latin-1.
"""

import math
import pickletools
import warnings
from typing import Any, NamedTuple

MOST_INSTRUCTIONS, MOST_PARTS, MOST_DEPTH = 1 << 21, 1 << 12, 32
"""Of a pickle: instructions, values that hold others, and levels of these. CIFAR's have some 150,000, 10 and 2."""


class Bytes(NamedTuple):
    """An array of bytes."""

    shape: tuple[int, ...]
    data: bytes


class _Name(NamedTuple):
    """A name that an array needs; it stands for itself."""

    module: str
    name: str


class _Mark:
    """The mark that some instructions collect their arguments from."""


class _Array:
    """An array whose state has yet to come."""

    def __init__(self) -> None:
        self.value: Bytes | None = None


class _Type(NamedTuple):
    """A type of numbers, by NumPy's code."""

    code: str


NAMES = {
    _Name(module, name)
    for module, name in (
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
        ("__builtin__", "bytes"),
        ("builtins", "bytes"),
    )
}
VALUES = {
    *("BINSTRING", "SHORT_BINSTRING", "STRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "BINFLOAT"),
    "FLOAT",
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
MAKERS: dict[str, type] = {"EMPTY_DICT": dict, "EMPTY_LIST": list}
HOLDERS = (_Array, dict, list, tuple, type)
"""What a list is searched for."""
PUT, GET = ("PUT", "BINPUT", "LONG_BINPUT"), ("GET", "BINGET", "LONG_BINGET")


def unpickled(data: bytes) -> Any:
    """The value that `data` describes: dictionaries, lists, tuples, texts, numbers, bytes, and `Bytes` for arrays.

    Raises ValueError with the reason where it is damaged, needs more than that, or has more than `MOST_INSTRUCTIONS`.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # about odd escapes in texts
            return _Plain().of(_followed(data))
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError, StopIteration) as error:
        raise ValueError(f"it is damaged ({type(error).__name__})") from None


def _followed(data: bytes) -> Any:
    """What is on the stack at the end of the instructions."""
    machine = _Machine(len(data))
    for number, (instruction, argument, _) in enumerate(pickletools.genops(data)):
        if number == MOST_INSTRUCTIONS:
            raise ValueError(f"it has more than {MOST_INSTRUCTIONS:,} instructions")
        if instruction.name == "STOP":
            return machine.stack.pop()
        machine.follow(instruction.name, argument)
    raise ValueError("it stops before its end")


class _Machine:
    """The stack and the memory of a pickle."""

    def __init__(self, length: int) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}
        self._left = length
        """Bytes that may still be made of texts: in all no more than the pickle has, in which each text stands once."""

    def follow(self, name: str, argument: Any) -> None:
        """Follow one instruction. Raises ValueError for one that is not among those that build plain values."""
        stack = self.stack
        if name in VALUES:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in MAKERS:
            stack.append(MAKERS[name]())
        elif name in PUT:
            self.memory[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memory[len(self.memory)] = stack[-1]
        elif name in GET:
            stack.append(self.memory[argument])
        elif name == "MARK":
            stack.append(_Mark)
        elif name not in ("PROTO", "FRAME"):
            self._combine(name, argument)

    def _combine(self, name: str, argument: Any) -> None:
        stack = self.stack
        match name:
            case "TUPLE" | "LIST" | "DICT":
                items = self._since_mark()
                stack.append(_pairs(items) if name == "DICT" else tuple(items) if name == "TUPLE" else items)
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack[-int(name[-1]) :] = [tuple(stack[-int(name[-1]) :])]
            case "APPEND" | "APPENDS":
                items = [stack.pop()] if name == "APPEND" else self._since_mark()
                _of(list, stack[-1]).extend(items)
            case "SETITEM" | "SETITEMS":
                items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self._since_mark()
                _of(dict, stack[-1]).update(_pairs(items))
            case "GLOBAL" | "STACK_GLOBAL":
                words = argument.split(" ", 1) if name == "GLOBAL" else [stack.pop(-2), stack.pop()]
                wanted = _Name(*words)
                if wanted not in NAMES:
                    raise ValueError(f"it asks for {wanted.module}.{wanted.name}, which no array of bytes needs")
                stack.append(wanted)
            case "REDUCE":
                arguments = stack.pop()
                stack[-1] = self._reduced(stack[-1], _of(tuple, arguments))
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], _Array):
                    stack[-1].value = self._bytes_of(*_of(tuple, state)[1:5])
                elif not isinstance(stack[-1], _Type):
                    raise ValueError("it sets the state of something that is no array")
            case _:
                raise ValueError(f"it has the instruction {name}, which no array of bytes needs")

    def _since_mark(self) -> list[Any]:
        # From the top, and no further than the mark: a pickle may have a million values below a million marks.
        at = next(at for at in range(len(self.stack) - 1, -1, -1) if self.stack[at] is _Mark)
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def _reduced(self, name: Any, arguments: tuple[Any, ...]) -> Any:
        """What a call of one of `NAMES` stands for; nothing is called."""
        match name, arguments:
            case _Name(_, "_reconstruct"), (_Name("numpy", "ndarray"), *_):
                return _Array()
            case _Name("numpy", "dtype"), (str(code), *_):
                return _Type(code)
            case _Name("_codecs", "encode"), (str(text), str("latin1" | "latin-1")):
                return self._encoded(text)
            case _Name(_, "bytes"), ():
                return b""
        raise ValueError("it calls something that no array of bytes needs")

    def _bytes_of(self, shape: Any, kind: Any, is_fortran: Any, data: Any) -> Bytes:
        """The array of a state; its numbers are bytes, row by row, and as many as its shape says."""
        if not isinstance(kind, _Type) or kind.code not in ("u1", "|u1", "uint8") or is_fortran not in (False, 0):
            raise ValueError("it has an array of something other than bytes in rows")
        raw = self._encoded(data) if isinstance(data, str) else _of(bytes, data)
        sides = [_of(int, side) for side in _of(tuple, shape)]
        if len(sides) > MOST_DEPTH or not all(0 <= side <= len(raw) for side in sides) or math.prod(sides) != len(raw):
            raise ValueError("it has an array of another size than it says")
        return Bytes(tuple(sides), raw)

    def _encoded(self, text: str) -> bytes:
        """The bytes that a text stands for."""
        self._left -= len(text)
        if self._left < 0:
            raise ValueError("it makes bytes of a text too often")
        return text.encode("latin-1")


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError
    return value


def _pairs(items: list[Any]) -> dict[Any, Any]:
    """Keys and values in turn as a dictionary. Keys are texts and numbers: to hash others may take for ever."""
    if not all(isinstance(key, str | bytes | int) for key in items[::2]):
        raise ValueError("it has a key that is neither a text nor a number")
    return dict(zip(items[::2], items[1::2], strict=True))


class _Plain:
    """Copies a value with its arrays as `Bytes`.

    ValueError for one that is nested deeper than `MOST_DEPTH`, or in itself, or that refers to its parts so often that
    it would have more of them than `MOST_PARTS`, or more items in all of them than a pickle has instructions.
    """

    def __init__(self) -> None:
        self.parts, self.items = MOST_PARTS, MOST_INSTRUCTIONS

    def of(self, value: Any, depth: int = MOST_DEPTH) -> Any:
        self.parts -= 1
        self.items -= len(value) if isinstance(value, dict | list | tuple) else 0
        if depth == 0 or self.parts < 0 or self.items < 0:
            raise ValueError(f"it is nested more than {MOST_DEPTH} levels deep, or refers to its parts too often")
        if isinstance(value, _Array):
            if value.value is None:
                raise ValueError("it has an array without content")
            return value.value
        if isinstance(value, _Name | _Type | type):
            raise ValueError("it has a name in place of a value")
        if isinstance(value, dict):
            return {key: self.of(each, depth - 1) for key, each in value.items()}
        if isinstance(value, list | tuple) and any(isinstance(each, HOLDERS) for each in value):
            return type(value)(self.of(each, depth - 1) for each in value)
        return value
