"""`store.json`: what is known of a store without opening its shards, and whether it can be believed."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast, get_args, get_origin, get_type_hints, is_typeddict

from alexnet.data.store.shard import ShardInfo
from alexnet.files import lock

VERSION = 2
READABLE = (1, 2)
"""Version 1 has no checksums of rows, of `mean.npy` and `covariance.npy`, and of `store.json` itself."""
COPY_AGAIN = "copy the store again, or delete it and prepare it again."
DISK_AGAIN = "see whether its disk is there and sound, then give the same command again."


class StoreInfo(TypedDict):
    """`store.json`: `classes` are pairs of wnid and name, `splits` gives each split's `images` and
    `skipped`, `arrays` the SHA-256 of `mean.npy` and `covariance.npy`, `skipped` each skipped image's `split`,
    `key` and `reason`, and `sha256` the checksum of all the rest."""

    version: int
    classes: list[list[str]]
    splits: dict[str, dict[str, int]]
    size: int
    encoding: str
    quality: int
    source: dict[str, str]
    options: dict[str, Any]
    batch_rows: int
    shards: list[ShardInfo]
    skipped: list[dict[str, str]]
    arrays: NotRequired[dict[str, str]]
    sha256: NotRequired[str]


BYTES_OF_A_ROW = 12
"""In a shard, at least: two places and a label, the image and its name not counted."""


def seal(info: StoreInfo) -> StoreInfo:
    """The same with its checksum."""
    return {**info, "sha256": _checksum(info)}


def read_info(path: Path) -> StoreInfo:
    """`store.json` of the store at `path`. Raises ValueError where there is none, it is of another version, or it is
    not as it was written."""
    file = path / "store.json"
    try:
        info = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(_no_store(path)) from None
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror or error}): {DISK_AGAIN}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} cannot be read ({error}): {COPY_AGAIN}") from None
    version = info.get("version") if isinstance(info, dict) else None
    if version not in READABLE:
        raise ValueError(
            f"{file} is of version {version} and this alexnet reads version {' and '.join(map(str, READABLE))}: "
            "delete the store and prepare it again."
        )
    if wrong := _misfit(info, StoreInfo, "") or _nonsense(cast(StoreInfo, info)):
        raise ValueError(f"{file} cannot be read ({wrong}): {COPY_AGAIN}")
    if info.get("sha256", "") != (_checksum(info) if version > 1 else info.get("sha256", "")):
        raise ValueError(f"{file} does not have the checksum in it, so it was changed: {COPY_AGAIN}")
    return cast(StoreInfo, info)


def check_shards(folder: Path, shards: list[ShardInfo]) -> None:
    """Every shard is there and as long as it should be: what a copy that was broken off gets wrong."""
    for shard in shards:
        file = folder / shard["file"]
        try:
            length = file.stat().st_size
        except FileNotFoundError:
            raise ValueError(f"{file} is missing: {COPY_AGAIN}") from None
        except OSError as error:
            raise ValueError(f"{file} cannot be read ({error.strerror or error}): {DISK_AGAIN}") from None
        if length != shard["bytes"]:
            raise ValueError(f"{file} has {length} bytes and not {shard['bytes']}: {COPY_AGAIN}")


def _checksum(info: Any) -> str:
    rest = {key: value for key, value in info.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _misfit(value: Any, expected: Any, where: str) -> str | None:
    """In which way a JSON value is not what a type says, in words; None where it is."""
    if is_typeddict(expected):
        if not isinstance(value, dict):
            return f"{where or 'it'} is no object"
        for key, hint in get_type_hints(expected).items():
            if key not in value:
                if key in expected.__required_keys__:
                    return f"{where}{key} is missing"
            elif wrong := _misfit(value[key], hint, f"{where}{key} "):
                return wrong
        return None
    origin, arguments = get_origin(expected), get_args(expected)
    if origin in (list, dict):
        if not isinstance(value, origin):
            return f"{where}is no {'list' if origin is list else 'object'}"
        parts = value.values() if isinstance(value, dict) else value
        return next((wrong for part in parts if (wrong := _misfit(part, arguments[-1], where))), None)
    if expected is Any or (isinstance(value, expected) and not isinstance(value, bool)):
        return None
    return f"{where}is {value!r:.40}, no {'number' if expected is int else 'text'}"


def _nonsense(info: StoreInfo) -> str | None:
    """What no store can be, in words."""
    if not 1 <= info["size"] <= 4096 or info["batch_rows"] < 1:
        return f"size {info['size']} or batch_rows {info['batch_rows']} makes no sense"
    if any(len(pair) != 2 for pair in info["classes"]) or not info["classes"]:
        return "classes are not pairs of wnid and name"
    if any("images" not in counts for counts in info["splits"].values()):
        return "a split has no number of images"
    for shard in info["shards"]:
        if not re.fullmatch(r"[\w-]{1,99}\.arrow", shard["file"], re.ASCII) or shard["rows"] < 0:
            return f"{shard['file']!r:.80} is no shard"
        if shard["rows"] > shard["bytes"] // BYTES_OF_A_ROW:
            return f"{shard['file']} is too short for {shard['rows']} rows"
    return None


def _no_store(path: Path) -> str:
    partial = path if path.name.endswith(".partial") else path.with_name(path.name + ".partial")
    if lock.is_held(partial):
        return f"{path} is being written by alexnet prepare at this moment: wait until it is done."
    if partial.is_dir():
        return f"{path} is not finished: give its `alexnet prepare` command again, it goes on where it was."
    if path.exists():
        return f"{path} is not a store (it has no store.json): make one with `alexnet prepare`."
    return f"There is no store at {path}: make one with `alexnet prepare`."
