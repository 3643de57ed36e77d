"""Reads protocol buffers without their schema: fields by number (https://protobuf.dev/programming-guides/encoding/).

As much as the files of Caffe and of the ONNX zoo need. Lengths are checked against the bytes that are there, and a file
has at most `MOST_FIELDS`: two bytes make a field, which takes a hundred bytes of memory and a microsecond.
"""

from collections.abc import Iterator

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types: how a field is written."""
MOST_FIELDS = 1 << 20
"""Fields of all messages of a file together, and numbers in lists of integers. Caffe's networks have some 1,000."""

Value = int | memoryview


class Message:
    """A message: what each field holds, by its number. ValueError, with the reason, where the bytes are none."""

    def __init__(self, data: bytes | memoryview, budget: Iterator[int] | None = None) -> None:
        """`budget`: of fields, shared by all messages of a file; without one, this is the whole file."""
        self._budget = budget or iter(range(MOST_FIELDS))
        self._values: dict[int, list[Value]] = {}
        for number, value in fields(memoryview(data)):
            self._spend()
            self._values.setdefault(number, []).append(value)

    def _spend(self) -> None:
        if next(self._budget, None) is None:
            raise ValueError(f"it has more than {MOST_FIELDS:,} fields")

    def parts(self, number: int) -> list[memoryview]:
        """The bytes in the fields with this number."""
        return [value for value in self._values.get(number, []) if isinstance(value, memoryview)]

    def messages(self, number: int) -> list["Message"]:
        """The messages in the fields with this number."""
        return [Message(part, self._budget) for part in self.parts(number)]

    def text(self, number: int) -> str:
        """The text in the field with this number; "" without it."""
        found = self.parts(number)
        return bytes(found[-1]).decode("utf-8", "replace") if found else ""

    def integers(self, number: int) -> list[int]:
        """The integers in the fields with this number, one by one or packed."""
        found = []
        for value in self._values.get(number, []):
            if isinstance(value, int):
                found.append(value)
                continue
            at = 0
            while at < len(value):
                each, at = varint(value, at)
                self._spend()
                found.append(each)
        return found

    def integer(self, number: int, default: int = 0) -> int:
        """The integer in the field with this number, the last of several."""
        return (self.integers(number) or [default])[-1]

    def numbers(self, number: int, dtype: str) -> np.ndarray:
        """The numbers of `dtype` ("<f4" or "<f8") in the fields with this number, one by one or packed."""
        data = b"".join(self.parts(number))
        if len(data) % np.dtype(dtype).itemsize:
            raise ValueError("an array ends in the middle of a number")
        return np.frombuffer(data, dtype)


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Number and value of each field of a message, in order: an int (VARINT) or bytes.

    ValueError, with the reason, where the bytes are no message.
    """
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = varint(message, at)
            yield number, value
            continue
        length = {FIXED64: 8, FIXED32: 4}.get(wire)
        if wire == BYTES:
            length, at = varint(message, at)
        if length is None or number == 0:
            raise ValueError(f"byte {at} begins no field of a protocol buffer")
        if at + length > len(message):
            raise ValueError("it ends in the middle of a field")
        yield number, message[at : at + length]
        at += length


def varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at byte `at`, seven bits per byte, lowest first, and the byte after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("it ends in the middle of a number")
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError(f"the number before byte {at} has more than ten bytes")
