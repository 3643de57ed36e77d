"""What `prepare` returns, and its rendering for people."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alexnet.data.sources.names import some
from alexnet.data.store.info import StoreInfo
from alexnet.data.store.reader import Store

MAX_LISTED = 10
"""Skipped images that a summary or a message lists."""


def summarise(store: Path, info: StoreInfo, images: int = 0, seconds: float = 0.0) -> dict[str, Any]:
    """What is in a store, and that preparing it did `images` images in `seconds`; none of them, if it was there."""
    return {
        "store": str(store),
        "splits": info["splits"],
        "classes": len(info["classes"]),
        "already_there": False,
        "empty_classes": _empty_classes(Store(store)),
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
    if empty := summary["empty_classes"]:
        lines.append(f"No training image in {some(empty)}: the network cannot learn such a class.")
    if summary["already_there"]:
        lines.append(f"{summary['store']} already exists, made from this source. Delete it to prepare it again.")
    else:
        rate = f"{summary['images_per_second']:.0f} images per second"
        lines.append(f"{summary['store']}: {summary['classes']} classes, {summary['seconds']:.0f} s, {rate}.")
    return Group(table, *(Text(line) for line in lines))


def _empty_classes(store: Store) -> list[str]:
    """Names of the classes without a training image."""
    counts = np.bincount(store.split("train").labels, minlength=len(store.classes))
    return [each.name for each, count in zip(store.classes, counts, strict=True) if count == 0]
