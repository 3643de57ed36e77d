"""What a command writes to standard error when it fails."""


def one_line(text: str) -> str:
    """The only line of `text`, however long."""
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1, text
    return text
