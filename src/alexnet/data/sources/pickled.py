"""Reads what Python pickled of plain values and NumPy arrays of bytes, and executes nothing.

A pickle is a program for a small stack machine, and some of its instructions import and call whatever they name. Here
the instructions are read by `pickletools.genops`, which runs none, and only those are followed that build dictionaries,
lists, tuples, texts, numbers and arrays of bytes. The few names that such arrays need stand for themselves and are
never looked up. Any other instruction or name is refused. (Python's own `pickle` with a `find_class` of few names would
still call what `BUILD` finds on them.)

Protocols 0 to 5 of Python 2 and 3; texts of Python 2, which are bytes, are returned as text in Latin-1.
"""

import io
import math
import pickletools
import warnings
from collections.abc import Collection
from typing import Any, BinaryIO, ClassVar, NamedTuple

MOST_INSTRUCTIONS, MOST_PARTS, MOST_DEPTH = 1 << 21, 1 << 12, 32
"""Of a pickle: instructions, values that hold others, and levels of these. CIFAR's have some 150,000, 10 and 2."""


class Bytes(NamedTuple):
    """An array of bytes."""

    shape: tuple[int, ...]
    data: bytes


class Name(NamedTuple):
    """A name that a pickle refers to; it stands for itself."""

    module: str
    name: str


class OtherNameError(ValueError):
    """A pickle refers to `name`, which is not among those that are followed."""

    def __init__(self, name: str, needed_by: str) -> None:
        super().__init__(f"it asks for {name}, which no {needed_by} needs")
        self.name = name


class _Array:
    """An array whose state has yet to come."""

    def __init__(self) -> None:
        self.value: Bytes | None = None


class _Type(NamedTuple):
    """A type of numbers, by NumPy's code."""

    code: str


NAMES = {
    Name(module, name)
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
            return _Plain().of(Machine(len(data)).follow(io.BytesIO(data)))
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"it is damaged ({type(error).__name__})") from None


class Machine:
    """The stack and the memory of a pickle. Nothing is called; what a call stands for is what `called` returns."""

    names: ClassVar[Collection[Name]] = NAMES
    """What a pickle may refer to."""
    needed_by = "array of bytes"
    """What needs nothing else."""

    def __init__(self, room: int) -> None:
        """`room`: the bytes that texts may become, all together."""
        self.stack: list[Any] = []
        self.marks: list[int] = []
        """Where on the stack the arguments of some instructions begin."""
        self.memory: dict[int, Any] = {}
        self.room = room

    def follow(self, file: BinaryIO) -> Any:
        """What is on the stack at the end of the pickle that begins here in `file`."""
        for number, (instruction, argument, _) in enumerate(pickletools.genops(file)):
            if number == MOST_INSTRUCTIONS:
                raise ValueError(f"it has more than {MOST_INSTRUCTIONS:,} instructions")
            if instruction.name == "STOP":
                return self.stack.pop()
            self._follow(instruction.name, argument)
        raise ValueError("it stops before its end")

    def _follow(self, name: str, argument: Any) -> None:
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
            self.marks.append(len(stack))
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
                if (wanted := Name(*words)) not in self.names:
                    raise OtherNameError(f"{wanted.module}.{wanted.name}", self.needed_by)
                stack.append(wanted)
            case "REDUCE":
                arguments = stack.pop()
                stack[-1] = self.called(stack[-1], _of(tuple, arguments))
            case "BUILD":
                state = stack.pop()
                self.built(stack[-1], state)
            case "BINPERSID":
                stack[-1] = self.kept_elsewhere(stack[-1])
            case _:
                raise ValueError(f"it has the instruction {name}, which no {self.needed_by} needs")

    def _since_mark(self) -> list[Any]:
        at = self.marks.pop()
        items = self.stack[at:]
        del self.stack[at:]
        return items

    def called(self, name: Any, arguments: tuple[Any, ...]) -> Any:
        """What a call of one of `names` stands for."""
        match name, arguments:
            case Name(_, "_reconstruct"), (Name("numpy", "ndarray"), *_):
                return _Array()
            case Name("numpy", "dtype"), (str(code), *_):
                return _Type(code)
            case Name("_codecs", "encode"), (str(text), str("latin1" | "latin-1")):
                return self.in_bytes(text)
            case Name(_, "bytes"), ():
                return b""
        raise ValueError(f"it calls something that no {self.needed_by} needs")

    def built(self, value: Any, state: Any) -> None:
        """Give a value its state."""
        if isinstance(value, _Array):
            shape, kind, is_fortran, data = _of(tuple, state)[1:5]
            raw = self.in_bytes(data) if isinstance(data, str) else _of(bytes, data)
            value.value = _bytes_of(shape, kind, is_fortran, raw)
        elif not isinstance(value, _Type):
            raise ValueError("it sets the state of something that is no array")

    def kept_elsewhere(self, what: Any) -> Any:
        """What stands outside of the pickle."""
        raise ValueError("it refers to something outside")

    def in_bytes(self, text: str) -> bytes:
        """A text as bytes. A pickle may repeat a text in two bytes, but each of its bytes becomes one only once."""
        self.room -= len(text)
        if self.room < 0:
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


def _bytes_of(shape: Any, kind: Any, is_fortran: Any, raw: bytes) -> Bytes:
    """The array of a state; its numbers are bytes, row by row, and as many as its shape says."""
    if not isinstance(kind, _Type) or kind.code not in ("u1", "|u1", "uint8") or is_fortran not in (False, 0):
        raise ValueError("it has an array of something other than bytes in rows")
    sides = [_of(int, side) for side in _of(tuple, shape)]
    if len(sides) > MOST_DEPTH or not all(0 <= side <= len(raw) for side in sides) or math.prod(sides) != len(raw):
        raise ValueError("it has an array of another size than it says")
    return Bytes(tuple(sides), raw)


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
        if isinstance(value, Name | _Type | type):
            raise ValueError("it has a name in place of a value")
        if isinstance(value, dict):
            return {key: self.of(each, depth - 1) for key, each in value.items()}
        if isinstance(value, list | tuple) and any(isinstance(each, HOLDERS) for each in value):
            return type(value)(self.of(each, depth - 1) for each in value)
        return value
