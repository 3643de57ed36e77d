"""Reads protocol buffers without their schema: fields by number (https://protobuf.dev/programming-guides/encoding/).

As much as Caffe's files need. Lengths are checked against the bytes that are there.
"""

from collections.abc import Iterator

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types: how a field is written."""

Value = int | memoryview


def fields(message: memoryview) -> Iterator[tuple[int, int, Value]]:
    """Number, wire type and value of each field of a message, in order.

    The value is an int (VARINT) or bytes. ValueError, with the reason, where the bytes are no message.
    """
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = varint(message, at)
            yield number, wire, value
            continue
        length = {FIXED64: 8, FIXED32: 4}.get(wire)
        if wire == BYTES:
            length, at = varint(message, at)
        if length is None or number == 0:
            raise ValueError(f"byte {at} begins no field of a protocol buffer")
        if at + length > len(message):
            raise ValueError("it ends in the middle of a field")
        yield number, wire, message[at : at + length]
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


def messages(message: memoryview, number: int) -> list[memoryview]:
    """The messages, texts or bytes in the fields with this number."""
    return [value for n, wire, value in fields(message) if n == number and wire == BYTES and not isinstance(value, int)]


def text(message: memoryview, number: int) -> str:
    """The text in the field with this number; "" without it."""
    found = messages(message, number)
    return bytes(found[-1]).decode("utf-8", "replace") if found else ""


def integers(message: memoryview, number: int) -> list[int]:
    """The integers in the fields with this number, one by one or packed."""
    found = []
    for n, wire, value in fields(message):
        if n == number and isinstance(value, int):
            found.append(value)
        elif n == number and wire == BYTES and not isinstance(value, int):
            at = 0
            while at < len(value):
                each, at = varint(value, at)
                found.append(each)
    return found


def numbers(message: memoryview, number: int, dtype: str) -> np.ndarray:
    """The numbers of `dtype` ("<f4" or "<f8") in the fields with this number, one by one or packed."""
    parts = [bytes(value) for n, _, value in fields(message) if n == number and not isinstance(value, int)]
    data = b"".join(parts)
    if len(data) % np.dtype(dtype).itemsize:
        raise ValueError("an array ends in the middle of a number")
    return np.frombuffer(data, dtype)
