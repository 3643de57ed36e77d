"""Pickles of plain values, read without executing them, against Python's own."""

import os
import pickle
import pickletools
import random
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from alexnet.data.sources import pickled
from alexnet.data.sources.pickled import Bytes, unpickled

PLAIN = [
    None,
    True,
    -5,
    70_000,
    1 << 40,
    1.5,
    "text \u98df",
    "x" * 70_000,
    (),
    (1,),
    (1, 2, 3, 4),
    [],
    [1, [2, []]],
    {},
    {"a": [1, 2], 3: {"b": ()}},
    list(range(3000)),
    {n: str(n) for n in range(2000)},
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", PLAIN, ids=lambda value: str(value)[:20])
def test_plain_values_are_those_of_python(value: object, protocol: int) -> None:
    found = unpickled(pickle.dumps(value, protocol))
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("protocol", [2, 3, 4])  # the fifth hands arrays over by a function of its own
@pytest.mark.parametrize("shape", [(0,), (7,), (3, 4), (2, 3, 5)])
def test_arrays_of_bytes_are_those_of_numpy(shape: tuple[int, ...], protocol: int) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = unpickled(pickle.dumps({"a": array, "b": [array, array]}, protocol))
    assert found["a"] == Bytes(array.shape, array.tobytes()) == found["b"][0] == found["b"][1]


def test_bytes_of_python_3_come_back_whatever_the_protocol() -> None:
    for protocol in (2, 3, 4, 5):
        assert unpickled(pickle.dumps(b"a\xff" * 300, protocol)) == b"a\xff" * 300


class Calls:
    def __init__(self, *what: object) -> None:
        self.what = what

    def __reduce__(self):
        return self.what


def touch() -> tuple[object, ...]:
    return os.system, ("touch executed",)


GLOBAL_CALL = b"cos\nsystem\n(U\x0etouch executedtR."


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Calls(*touch()), 2),
        pickle.dumps(Calls(*touch()), 4),
        pickle.dumps(Calls(eval, ("open('executed', 'w')",)), 0),
        pickle.dumps({"data": [Calls(*touch())]}, 2),
        pickle.dumps(np.array([Calls(*touch())], object), 2),
        pickle.dumps(OrderedDict(a=1), 2),
        pickle.dumps(np.float64(1), 2),
        GLOBAL_CALL,
        b"(S'touch executed'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch executed'\no.",  # OBJ
        b"\x80\x02cnumpy\nndarray\n)\x81.",  # NEWOBJ
        b"cnumpy\ndtype\n(cos\nsystem\ntR.",
        b"c_codecs\nencode\n(U\x01aU\x04rot1tR.",
        b"c_codecs\nencode\n.",  # a name is no value
        b"](a.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cos\nsystem\ntR.",
        b"}U\x01aK\x01b.",  # the state of a dictionary
        b"\x82\x01.",  # EXT1
        b"P1\n.",  # PERSID
    ],
    ids=range(19),
)
def test_what_calls_or_imports_is_refused_and_nothing_happens(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"\w"):
        unpickled(data)
    assert not any(tmp_path.iterdir())


def test_that_call_would_do_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(GLOBAL_CALL)
    assert Path("executed").exists()


def laughs(levels: int, whole: bytes = b".") -> bytes:
    """A list that holds the one before it twice, so many times."""
    return b"]" + b"".join(b"q\x00](h\x00h\x00e" for _ in range(levels)) + whole


@pytest.mark.parametrize(
    "data",
    [
        laughs(30),
        laughs(31),
        laughs(5000),
        b"(K\x01"
        + b"t\x85" * 0
        + b"t"
        + b"q\x00h\x00\x86" * 60
        + b"}q\x01h\x00K\x01s.",  # a key that takes for ever to hash
        b"]q\x00h\x00a.",  # a list in itself
        b"(" * 20_000 + b".",
        b"]" * 20_000 + b".",
        b"T\xff\xff\xff\x7fabc.",  # a text of 2 GiB
        b"\x8e" + struct.pack("<Q", 1 << 60) + b".",
        b"\x8a\xff" + b"\xff" * 255 + b".",
        b"h\x07.",
        b"a.",
        b"u.",
        b".",
        b"t.",
        b"(K\x01u.",
        b"I" + b"9" * 100_000 + b"\n.",
    ],
    ids=range(17),
)
def test_a_hostile_pickle_is_refused_at_once_or_read(data: bytes) -> None:
    said = ""
    try:
        unpickled(data)
    except ValueError as error:
        said = str(error)
    assert "\n" not in said and len(said) < 200


def test_a_pickle_of_too_many_instructions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "MOST_INSTRUCTIONS", 100)
    assert unpickled(pickle.dumps(list(range(50)), 2)) == list(range(50))
    with pytest.raises(ValueError, match="more than 100 instructions"):
        unpickled(pickle.dumps(list(range(200)), 2))


def test_damaged_pickles_are_read_or_refused() -> None:
    array = np.arange(40, dtype=np.uint8).reshape(4, 10)
    whole = pickle.dumps({"data": array, "labels": [1, 2, 3, 4], "names": ["a", "b"]}, 2)
    dice = random.Random(0)
    for _ in range(1500):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        try:
            unpickled(bytes(data[: dice.randint(1, len(data))] if dice.random() < 0.2 else data))
        except ValueError:
            continue


def test_no_instruction_is_both_followed_and_forgotten() -> None:
    known = {each.name for each in pickletools.opcodes}
    followed = {*pickled.VALUES, *pickled.CONSTANTS, *pickled.MAKERS, *pickled.PUT, *pickled.GET}
    assert followed <= known
    assert not {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "PERSID", "BINPERSID"} & followed
