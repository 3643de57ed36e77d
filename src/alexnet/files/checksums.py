"""Checksums of files."""

import hashlib
from pathlib import Path

from alexnet.files.regular import open_regular


def checksum(file: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal. Raises OSError as `open_regular`."""
    with open_regular(file) as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
