"""What one image may cost: at most 2 GiB of memory and ten seconds, also for a small file that claims much.

docs/reliability.md has the measurements behind these numbers.
"""

from typing import Final

MAX_MEMORY: Final = 1 << 30
"""Bytes that the pixels of an image may take while it is decoded."""

LARGEST_IMAGE: Final = 1 << 28
"""Bytes. A longer file is no image, and reading it would take the memory that many images share."""

MAX_SIDE: Final = 65_535
"""Height and width, in pixels: JPEG's limit. Of more rows or columns, each costs memory of its own."""

MAX_SCAN_PIXELS: Final = 5 << 28
"""Scans of a JPEG times its pixels. Each scan goes through all pixels again, even if its data is a single byte."""


class TooLargeError(ValueError):
    """The image is too large; nothing else is known to be wrong with it."""


def check_size(width: int, height: int, bytes_per_pixel: int) -> None:
    """TooLargeError for an image that cannot be decoded within the bounds."""
    max_pixels = MAX_MEMORY // bytes_per_pixel
    if width * height > max_pixels:
        raise TooLargeError(f"it claims {width}x{height} pixels, more than the {max_pixels:,} that are decoded")
    if max(width, height) > MAX_SIDE:
        raise TooLargeError(f"it claims {width}x{height} pixels, and no side may be longer than {MAX_SIDE:,}")
