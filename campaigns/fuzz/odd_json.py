"""JSON with one value that does not belong there."""

import copy
import json
import random
from typing import Any

ODD_VALUES = (
    *(None, True, -1, 0, 2**31, 2**70, 10**400, 0.5, 1e308, float("nan"), float("inf")),
    *("", "../x", "x" * 300, "<b>\x1b\u202e", [], {}, [[]], {"images": -1}, [1, 2, 3]),
)


def with_odd_value(value: Any, rng: random.Random) -> Any:
    """Replace one value of a JSON object or list, at any depth, by an odd one, or delete it. Returns `value`."""
    at = value
    while isinstance(at, dict | list) and at:
        key = rng.choice(list(at) if isinstance(at, dict) else list(range(len(at))))
        if rng.random() < 0.3 or not isinstance(at[key], dict | list):
            if rng.random() < 0.15:
                del at[key]
            else:
                at[key] = copy.deepcopy(rng.choice(ODD_VALUES))  # which may be changed in its turn
            break
        at = at[key]
    return value


def odd_file(data: bytes, rng: random.Random) -> bytes:
    """A JSON file as it is, or with one or two odd values."""
    value = json.loads(data)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        value = with_odd_value(value, rng)
    return json.dumps(value).encode()
