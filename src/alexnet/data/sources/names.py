"""Names in messages."""

from collections.abc import Iterable


def some(names: Iterable[str]) -> str:
    """The first five of many names, for a message."""
    names = sorted(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
