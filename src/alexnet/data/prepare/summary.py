"""What `prepare` returns, and its rendering for people."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alexnet.data.sources.names import some
from alexnet.data.store.info import StoreInfo
from alexnet.data.store.reader import Store
from alexnet.files.words import counted

MAX_LISTED = 10
"""Skipped images that a summary or a message lists."""


MOST_CLASSES_SHOWN = 20
"""Classes that a summary for people lists one by one."""
LEFT_OUT = {
    "hidden": "hidden",
    "system": "of the system",
    "notes": "notes",
    "other": "videos, archives and the like",
    "stray": "in no class folder",
}
"""What people read for the kinds of `Source.contents.left_out`."""
LEFT_OUT_ONE = {"notes": "note", "other": "video, archive or the like"}
"""The same for one file, where that differs."""


def summarise(store: Path, info: StoreInfo, images: int = 0, seconds: float = 0.0) -> dict[str, Any]:
    """What is in a store, and that preparing it did `images` images in `seconds`; none of them, if it was there."""
    opened = Store(store)
    counts = {
        name: np.bincount(opened.split(name).labels, minlength=len(opened.classes)).tolist() for name in info["splits"]
    }
    train = [
        {"wnid": each.wnid, "name": each.name, "images": count}
        for each, count in zip(opened.classes, counts["train"], strict=True)
    ]
    return {
        "store": str(store),
        "splits": info["splits"],
        "classes": len(info["classes"]),
        "class_images": {
            each.wnid: {name: of_split[label] for name, of_split in counts.items()}
            for label, each in enumerate(opened.classes)
        },
        "class_names": {each.wnid: each.name for each in opened.classes},
        "smallest_class": min(train, key=lambda each: each["images"]),
        "largest_class": max(train, key=lambda each: each["images"]),
        "empty_classes": [each["name"] for each in train if not each["images"]],
        "left_out": info["source"]["left_out"],
        "remarks": info["source"]["remarks"],
        "in_both_splits": info["in_both_splits"],
        "already_there": False,
        "seconds": seconds,
        "images_per_second": images / seconds if seconds else 0.0,
        "skipped_reasons": info["skipped"][:MAX_LISTED],
    }


def render(summary: dict[str, Any]) -> RenderableType:
    """The summary, for people."""
    table = Table("split", "images", "skipped")
    for name, counts in summary["splits"].items():
        table.add_row(name, f"{counts['images']:,}", f"{counts['skipped']:,}")
    lines = [f"skipped {each['key']}: {each['reason']}" for each in summary["skipped_reasons"]]
    more = sum(counts["skipped"] for counts in summary["splits"].values()) - len(lines)
    if more:
        lines.append(f"... and {more:,} more, listed in {Path(summary['store'], 'store.json')}")
    lines += [*_left_out(summary), *_classes(summary)]
    if (both := summary["in_both_splits"])["images"]:
        train, val = both["examples"][0]
        one = both["images"] == 1
        kind = "validation or test image" if "test" in summary["splits"] else "validation image"
        are = f"{counted(both['images'], kind)} {'is a training image' if one else 'are training images'}"
        lines.append(f"warning: {are} too, such as {train} and {val}: errors will look smaller than they are.")
    if empty := summary["empty_classes"]:
        lines.append(f"No training image in {some(empty)}: the network cannot learn such a class.")
    if summary["already_there"]:
        lines.append(f"{summary['store']} already exists, made from this source. Delete it to prepare it again.")
    else:
        rate = summary["images_per_second"]  # 0 where an interrupted call had done all images
        took = f", {summary['seconds']:.0f} s, {rate:.0f} images per second" if rate else ""
        lines.append(f"{summary['store']}: {counted(summary['classes'], 'class', 'classes')}{took}.")
    tables = [table] + ([_class_table(summary)] if summary["classes"] <= MOST_CLASSES_SHOWN else [])
    return Group(*tables, *(Text(line) for line in lines))


def _class_table(summary: dict[str, Any]) -> Table:
    """The images of each class."""
    names = summary["class_names"]
    shown = Table("class", *summary["splits"])
    for wnid, counts in summary["class_images"].items():
        name = names[wnid].split(",")[0]
        title = wnid if name == wnid else f"{name} ({wnid})"
        shown.add_row(Text(title), *(f"{count:,}" for count in counts.values()))
    return shown


def _left_out(summary: dict[str, Any]) -> Iterator[str]:
    """What was not taken for an image."""
    if counts := summary["left_out"]:
        one = LEFT_OUT | LEFT_OUT_ONE
        kinds = ", ".join(f"{n:,} {(one if n == 1 else LEFT_OUT).get(kind, kind)}" for kind, n in counts.items())
        yield f"Left out, because they are not images of a class: {kinds}."
    for remark in summary["remarks"]:
        yield f"{remark}."


def _classes(summary: dict[str, Any]) -> Iterator[str]:
    """The smallest and the largest class."""
    smallest, largest = summary["smallest_class"], summary["largest_class"]
    if smallest["images"] == largest["images"]:
        yield f"Training images: {smallest['images']:,} in each class."
    else:
        yield (
            f"Training images: {smallest['images']:,} in the smallest class ({smallest['name']}), "
            f"{largest['images']:,} in the largest ({largest['name']}){times_as_many(smallest, largest)}."
        )


def times_as_many(smallest: dict[str, Any], largest: dict[str, Any]) -> str:
    """How many times as many images the largest class has, in words, where it is twice as many or more."""
    if not smallest["images"] or largest["images"] < 2 * smallest["images"]:
        return ""
    return f", {largest['images'] / smallest['images']:.3g} times as many"
