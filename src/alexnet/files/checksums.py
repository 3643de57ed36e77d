"""Checksums of files."""

import hashlib
from pathlib import Path


def checksum(file: Path) -> str:
    """SHA-256, in hexadecimal."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
