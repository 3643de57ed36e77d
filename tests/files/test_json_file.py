"""JSON is read with the types it must have, or refused with the reason."""

import json
from pathlib import Path
from typing import Any, Literal, TypedDict

import pytest

from alexnet.files.json_file import DEEPEST, mismatch, parse_json, read_json


class Inner(TypedDict):
    name: str
    rows: int


class Outer(TypedDict):
    kind: Literal["a", "b"]
    share: float
    done: bool
    pairs: list[list[str]]
    parts: dict[str, Inner]
    rest: Any


WHOLE = {
    "kind": "a",
    "share": 1,
    "done": True,
    "pairs": [["n1", "Löffel 匙"]],
    "parts": {"x": {"name": "x", "rows": 3}},
    "rest": None,
}


def test_what_fits_is_returned(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(json.dumps(WHOLE | {"more": 1}), encoding="utf-8")
    assert read_json(tmp_path / "file", Outer) == WHOLE | {"more": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "c"}, "kind is 'c', not one of"),
        ({"share": "1"}, "share is '1', not a number"),
        ({"share": True}, "share is True, not a number"),
        *(({"share": float(text)}, f"share is {text}, not finite") for text in ("nan", "inf", "-inf")),
        ({"done": 1}, "done is 1, not"),
        ({"pairs": {}}, "pairs is not a list"),
        ({"pairs": [["n1", 2]]}, "pairs is 2, not a text"),
        ({"pairs": [["n1", "\ud800"]]}, "pairs is .*, not a text"),
        ({"parts": []}, "parts is not an object"),
        ({"parts": {"x": {"name": "x"}}}, "parts rows is missing"),
        ({"parts": {"x": {"name": "x", "rows": 0.5}}}, "parts rows is 0.5, not a number"),
        ({"parts": {"x": None}}, "parts is not an object"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    (tmp_path / "file").write_text(json.dumps(WHOLE | change))
    with pytest.raises(ValueError, match=reason):
        read_json(tmp_path / "file", Outer)


@pytest.mark.parametrize("data", [b"", b"{", b"nonsense", b"\xff\xfe\x00", b'{"a": 1}{', b"1" * 5000])
def test_what_is_no_json_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ValueError, match=r"\w"):
        read_json(tmp_path / "file", Outer)


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"[":'])
@pytest.mark.parametrize("levels", [DEEPEST + 1, 500, 200_000])
def test_deep_nesting_is_refused(opening: str, levels: int) -> None:
    closing = "".join({"[": "]", "{": "}"}[c] for c in reversed(opening.replace('"["', "")) if c in "[{")
    for text in (opening * levels + "1" + closing * levels, opening * levels):
        with pytest.raises(ValueError, match=r"nested more than|Expecting"):
            parse_json(text)


def test_nesting_up_to_the_bound_is_read() -> None:
    assert parse_json("[" * DEEPEST + "]" * DEEPEST)
    assert parse_json(json.dumps("[" * 1000)) == "[" * 1000


def test_a_long_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"[" + b"0," * 50 + b"0]")
    assert len(read_json(tmp_path / "file", list[int], 103)) == 51
    with pytest.raises(OSError, match="it has 103 bytes, and at most 102 are read"):
        read_json(tmp_path / "file", list[int], 102)


def test_an_object_in_a_wrong_place_is_not_written_out() -> None:
    for value, words in (({"a": 1}, "an object"), ([1], "a list"), ("x" * 100, "'" + "x" * 39)):
        assert mismatch(value, float) == f"it is {words}, not a number"
