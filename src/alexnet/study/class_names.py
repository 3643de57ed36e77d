"""Names of classes, and the true class of an image file, as far as its path tells."""

import re
from collections.abc import Sequence
from pathlib import Path

from alexnet.data.classes import Class


def short_name(name: str) -> str:
    """The first of a class's names: "tench, Tinca tinca" becomes "tench"."""
    return name.split(",")[0].strip()


def true_class(path: Path, classes: Sequence[Class]) -> int | None:
    """Index of the true class of an image file; None when its path does not tell.

    The name of its folder may be a wnid or a class name; or its own name may start with a wnid, as those of ImageNet
    do (n01440764_10026.JPEG).
    """
    index = {short_name(entry.name).lower(): i for i, entry in enumerate(classes)}
    index |= {entry.name.lower(): i for i, entry in enumerate(classes)}
    index |= {entry.wnid.lower(): i for i, entry in enumerate(classes)}
    folder = path.absolute().parent.name
    prefix = re.match(r"(n\d{8})_", path.name)
    for word in (folder, folder.replace("_", " "), prefix and prefix[1]):
        if word and word.lower() in index:
            return index[word.lower()]
    return None


def true_label(label: int | None, classes: Sequence[Class]) -> dict[str, str | None]:
    """The true class of an image as JSON values: `true` (wnid) and `true_name`, None where it is not known."""
    if label is None:
        return {"true": None, "true_name": None}
    return {"true": classes[label].wnid, "true_name": classes[label].name}
