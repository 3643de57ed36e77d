"""Folders that a command writes to: whether they can be made and written, before anything is computed."""

import os
from pathlib import Path


def check_folder(folder: Path) -> None:
    """ValueError unless the folder is there or can be made, and can be written to."""
    there = next(each for each in (folder, *folder.parents, Path.cwd()) if os.path.lexists(each))
    if not there.is_dir():
        raise ValueError(f"{there} is a file, not a folder; give another name.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{there} cannot be written to; give another name.")
