"""What stops a preparation: a name that is taken, too many unreadable images.

Each message names the file or the option, and what to do.
"""

from math import ceil
from pathlib import Path
from typing import Any

from alexnet.data.prepare.chunk import Skipped
from alexnet.data.prepare.partial import TOO_MANY_SKIPPED, PartialStore, partial_folder
from alexnet.data.prepare.summary import MAX_LISTED
from alexnet.data.sources.source import Source
from alexnet.data.store.info import StoreInfo, read_info
from alexnet.files.folders import check_folder
from alexnet.files.words import counted


def allowed_bad(max_bad: float, images: int) -> int:
    """How many of the images may be unreadable: the fraction `max_bad`, rounded up: a small set may have one."""
    return ceil(max_bad * images - 1e-9)  # 0.07 * 100 is a little more than 7


def check_unchanged(store: Path, info: StoreInfo, source: Source) -> None:
    """ValueError where the source is not what the store was made from."""
    then, now = info["source"], source.contents
    if then["sha256"] != now.sha256:
        raise ValueError(
            f"The source has changed since {store} was made: {source.path} had {counted(then['images'], 'image')} "
            f"then and has {now.images:,} now. Delete the store to prepare it again, or choose another name."
        )


def find_existing(source: Path, store: Path, options: dict[str, Any]) -> StoreInfo | None:
    """The existing store, made from the same source with the same options; None where the name is free.

    Raises ValueError where it is taken by anything else, or nothing can be written there.
    """
    if not store.exists() or (store.is_dir() and not any(store.iterdir())):
        check_folder(store)
        check_folder(partial_folder(store))
        return None
    if not (store / "store.json").is_file():
        raise ValueError(f"{store} exists and is not a store: choose another name.")
    info = read_info(store)
    if info["source"]["path"] == str(source.resolve()) and info["options"] == options:
        return info
    given = [f"{name.replace('_', ' ')} {value}" for name, value in info["options"].items() if value is not None]
    raise ValueError(
        f"{store} exists, made from {info['source']['path']} with {', '.join(given)}: "
        "choose another name, or delete it."
    )


def check_location(store: Path, source: Source) -> None:
    """ValueError where the store would be among the images of the source."""
    if source.takes_every_file and store.resolve().is_relative_to(source.path.resolve()):
        raise ValueError(
            f"{store} is inside {source.path}, where it would be taken for a class: choose another folder."
        )


def check_skipped(skipped: list[Skipped], allowed: int, store: PartialStore) -> None:
    """ValueError where more than `allowed` images cannot be read. It lists them, and so does a file."""
    if len(skipped) <= allowed:
        return
    file = store.folder / TOO_MANY_SKIPPED
    lines = [f"{each.key}: {each.reason}" for each in skipped]
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    more = [f"... and {len(lines) - MAX_LISTED:,} more, listed in {file}"] if len(lines) > MAX_LISTED else []
    raise ValueError(
        f"{counted(len(skipped), 'image')} cannot be read, and --max-bad allows {allowed:,}. Repair them and delete "
        f"{store.folder}, or do without them: run the same command with a larger --max-bad.\n"
        + "\n".join(f"  {line}" for line in lines[:MAX_LISTED] + more)
    )


def check_splits(store: PartialStore, source: Source) -> None:
    """ValueError for a split of which no image can be read."""
    stored = {shard["split"] for _, shard in store.shards}
    for name in source.splits:
        if name not in stored:
            raise ValueError(f"No image of the {name} split of {source.path} can be read.")
