"""Checksums of files."""

import hashlib
from pathlib import Path


def checksum(file: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal. Raises OSError as the system does."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
