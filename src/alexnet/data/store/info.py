"""`store.json`: what is known of a store without opening its shards, and whether it is intact."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

from alexnet.data.classes import as_classes
from alexnet.data.store.shard import ShardInfo
from alexnet.files import lock
from alexnet.files.json_file import mismatch, read_json

VERSION = 2
COPY_AGAIN = "copy the store again, or delete it and prepare it again."
CHECK_DISK = "check that its disk is connected and working, then run the same command again."

MIN_ROW_BYTES = 16
"""What a row takes in a shard without its image and key: two offsets, a label and a checksum."""


class SourceInfo(TypedDict):
    """What a store was made from; `images` and `sha256` tell later whether the source has changed since."""

    kind: str
    path: str
    images: int
    sha256: str
    left_out: dict[str, int]
    remarks: list[str]


class SplitInfo(TypedDict):
    """How many images of a split are stored, and how many were skipped."""

    images: int
    skipped: int


class SkippedInfo(TypedDict):
    """An image that was skipped."""

    split: str
    key: str
    reason: str


class DoublesInfo(TypedDict):
    """How many images of other splits are training images too, and some pairs of keys: training, other."""

    images: int
    examples: list[list[str]]


class StoreInfo(TypedDict):
    """The content of `store.json`.

    `classes` are pairs of wnid and name, `arrays` the SHA-256 of `mean.npy` and `covariance.npy`, and `sha256` the
    checksum of all other keys.
    """

    version: int
    classes: list[list[str]]
    splits: dict[str, SplitInfo]
    size: int
    encoding: str
    quality: int
    source: SourceInfo
    options: dict[str, Any]
    batch_rows: int
    shards: list[ShardInfo]
    skipped: list[SkippedInfo]
    in_both_splits: DoublesInfo
    arrays: dict[str, str]
    sha256: str


def seal(info: Mapping[str, Any]) -> StoreInfo:
    """The content of `store.json` with its checksum."""
    return cast(StoreInfo, {**info, "sha256": _checksum(info)})


def read_info(path: Path) -> StoreInfo:
    """`store.json` of the store at `path`.

    Raises ValueError where there is none, it is of another version, or it is not as it was written.
    """
    file = path / "store.json"
    try:
        info: Any = read_json(file, object)
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(_why_no_store(path)) from None
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror or error}): {CHECK_DISK}") from None
    except ValueError as error:
        raise ValueError(f"{file} cannot be read ({error}): {COPY_AGAIN}") from None
    version = info.get("version") if isinstance(info, dict) else None
    if version != VERSION:
        raise ValueError(
            f"{file} is of version {version} and this alexnet reads version {VERSION}: "
            "delete the store and prepare it again."
        )
    if problem := mismatch(info, StoreInfo) or _contradiction(cast(StoreInfo, info)):
        raise ValueError(f"{file} cannot be read ({problem}): {COPY_AGAIN}")
    if info["sha256"] != _checksum(info):
        raise ValueError(f"{file} does not match its own checksum, so it was changed: {COPY_AGAIN}")
    return cast(StoreInfo, info)


def check_shards(folder: Path, shards: list[ShardInfo]) -> None:
    """ValueError unless every shard is there and has its length. An interrupted copy fails this."""
    for shard in shards:
        file = folder / shard["file"]
        try:
            length = file.stat().st_size
        except FileNotFoundError:
            raise ValueError(f"{file} is missing: {COPY_AGAIN}") from None
        except OSError as error:
            raise ValueError(f"{file} cannot be read ({error.strerror or error}): {CHECK_DISK}") from None
        if length != shard["bytes"]:
            raise ValueError(f"{file} has {length} bytes and not {shard['bytes']}: {COPY_AGAIN}")


def _checksum(info: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in info.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _contradiction(info: StoreInfo) -> str | None:
    """Why no store can have this content, in words; None where one can."""
    if not 1 <= info["size"] <= 4096 or info["batch_rows"] < 1:
        return f"size {info['size']} or batch_rows {info['batch_rows']} makes no sense"
    try:
        as_classes(info["classes"])
    except ValueError as error:
        return str(error)
    if any(len(pair) != 2 for pair in info["in_both_splits"]["examples"]):
        return "in_both_splits is not pairs of keys"
    for shard in info["shards"]:
        if not re.fullmatch(r"[\w-]{1,99}\.arrow", shard["file"], re.ASCII) or shard["rows"] < 0:
            return f"{shard['file']!r:.80} is not a shard"
        if shard["rows"] > shard["bytes"] // MIN_ROW_BYTES:
            return f"{shard['file']} is too short for {shard['rows']} rows"
    return None


def _why_no_store(path: Path) -> str:
    """What is at a path without a `store.json`, and what to do."""
    partial = path if path.name.endswith(".partial") else path.with_name(path.name + ".partial")
    if lock.is_held(partial):
        return f"{path} is still being written by alexnet prepare: wait until it is done."
    if partial.is_dir():
        return f"{path} is unfinished: run its `alexnet prepare` command again, which resumes it."
    if path.exists():
        return f"{path} is not a store (it has no store.json): make one with `alexnet prepare`."
    return f"There is no store at {path}: make one with `alexnet prepare`."
