"""What the campaign knows of a file format."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Format(NamedTuple):
    """A file format and what reads it.

    `read` gets the bytes of a file and a folder that it may write to. It must return or raise a plain ValueError that
    says why the file is refused.
    """

    name: str
    share: int
    """Its part of all inputs, relative to the shares of the other formats."""
    examples: Callable[[], list[bytes]]
    """Undamaged files; `read` accepts the first."""
    read: Callable[[bytes, Path], object]
    repair: Callable[[bytes], bytes] | None = None
    """Corrects the checksums inside a damaged file, so that the damage reaches the reader. Half of the inputs."""
    make: Callable[[random.Random], bytes] | None = None
    """Writes a new file of random structure for each input, in place of the examples. Half of them stay undamaged."""
