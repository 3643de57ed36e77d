"""Files that a command writes where the user says: only over others when told to, and only in formats that exist."""

import errno
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from alexnet.files.folders import check_folder
from alexnet.files.printable import printable_lines
from alexnet.ranges import UsageError

FIGURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
"""Suffixes of figures."""
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
"""Numbers of errors about a folder that is read-only, or is no folder."""


def check_output(path: Path, force: bool) -> None:
    """UsageError for a folder, and ValueError for a file that is there unless `force`."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the name of a file.")
    if path.exists() and not force:
        raise ValueError(f"{path} is there already; give another name, or --force to overwrite it.")
    check_folder(path.parent)


def check_figure(path: Path | None, force: bool) -> None:
    """As `check_output`, and UsageError for a name without the suffix of a figure; None is no output."""
    if path is None:
        return
    if path.is_dir() or path.suffix.lower() in FIGURES:
        check_output(path, force)
    else:
        raise UsageError(f"{path} is no name for a figure; give one that ends in .png, .pdf or .svg.")


def check_csv(path: Path | None, force: bool) -> None:
    """As `check_output`, and UsageError for a name that does not end in `.csv`; None is no output."""
    if path is not None:
        check_output(path, force)
        if path.suffix.lower() != ".csv":
            raise UsageError(f"{path} is no name for a table; give one that ends in .csv.")


def rounded(number: float) -> float:
    """A number with the six digits that a table shows."""
    return float(f"{number:.6g}")


@contextmanager
def advice_where_unwritable(folder: Path) -> Iterator[None]:
    """Turn an OSError about a folder that cannot be written into a ValueError that tells of --out."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise ValueError(f"{folder} cannot be written ({error.strerror}); give another folder with --out.") from None


def check_some(skipped: Sequence[dict[str, str]], count: int) -> None:
    """ValueError where all `count` images are among the `skipped` ones; these have an `error`."""
    if skipped and len(skipped) == count:
        first = skipped[0]["error"]
        raise ValueError(first if count == 1 else f"None of {count} images can be read. The first: {first}")


def left_out(skipped: Sequence[dict[str, str]], count: int) -> dict[str, str]:
    """Of `count` images the `skipped` ones as the `error` of a result, which ends a command with exit code 1."""
    if not skipped:
        return {}
    some = f"{len(skipped):,} of {count:,} images cannot be read, such as {skipped[0]['path']}"
    return {"error": f"{some}; all others are done."}


def warn(sentence: str) -> str:
    """Say `sentence` on standard error; returns it."""
    print(printable_lines(f"warning: {sentence}"), file=sys.stderr, flush=True)
    return sentence
