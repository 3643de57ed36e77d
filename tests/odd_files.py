"""What may lie where a file is expected: no ordinary file, or one that is far too large."""

import os
from collections.abc import Callable
from pathlib import Path


def huge(file: Path) -> None:
    """A file of 300 GB, of which the disk holds nothing."""
    with open(file, "wb") as opened:
        opened.truncate(300 << 30)


ODD_FILES: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "device": lambda file: file.symlink_to("/dev/zero"),
    "300 GB": huge,
    "folder": lambda file: file.mkdir(),
}
"""How each is made, by its name."""
