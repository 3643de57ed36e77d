"""Numbers in sentences."""


def counted(number: float, noun: str, many: str = "") -> str:
    """A number and its noun: "1 image", "1,234 images", "2.5 epochs"; `many` is the plural where that takes more than
    an s."""
    figures = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{figures} {noun if number == 1 else many or noun + 's'}"
