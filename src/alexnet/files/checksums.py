"""Checksums of files."""

import hashlib
import os
from pathlib import Path

from alexnet.files.regular import check_length, open_regular


def checksum(file: Path, limit: int | None = None) -> str:
    """The SHA-256 of a file's content, in hexadecimal.

    Raises OSError as `open_regular`, and for a file of more than `limit` bytes.
    """
    with open_regular(file) as opened:
        if limit is not None:
            check_length(file, os.fstat(opened.fileno()).st_size, limit)
        return hashlib.file_digest(opened, "sha256").hexdigest()
