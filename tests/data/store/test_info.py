"""Every key of store.json is read through one form: whatever stands in it, it is read or refused in a sentence."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alexnet.data.store.info import seal
from alexnet.data.store.reader import Store

ODD: tuple[Any, ...] = (None, True, -1, 0, 2**70, 0.5, "", "../x", [], {}, [[]], [None], {"images": "1"}, float("nan"))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every value of a JSON object is, as keys and indices; of a list, its first item."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(info: dict[str, Any], path: tuple[Any, ...], value: Any, delete: bool) -> dict[str, Any]:
    info = copy.deepcopy(info)
    at = info
    for key in path[:-1]:
        at = at[key]
    if delete:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return info


def read(store: Path) -> None:
    opened = Store(store)
    for name in opened.splits:
        split = opened.split(name)
        assert len(split) == len(split.labels)
        if len(split):
            split.image(0)


def test_whatever_stands_in_store_json_it_is_read_or_refused(store: Path) -> None:
    read(store)
    file = store / "store.json"
    info = json.loads(file.read_text())
    info["skipped"] = [{"split": "train", "key": "x", "reason": "y"}]
    info["in_both_splits"] = {"images": 1, "examples": [["a", "b"]]}
    refused = tried = 0
    for path in list(places(info)):
        for value, delete in [(None, True), *((value, False) for value in ODD)]:
            file.write_text(json.dumps(seal(changed(info, path, value, delete))))
            tried += 1
            try:
                read(store)
            except Exception as error:
                refused += 1
                if type(error) is not ValueError or "\n" in str(error):
                    pytest.fail(f"{path}, {value!r}: {error!r}")
    assert refused > tried / 2
