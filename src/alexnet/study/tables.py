"""Tables for a terminal: however narrow it is, text wraps and no number is lost."""

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Column, Table
from rich.text import Text

SHORTEST = 6
"""Columns that text keeps on the narrowest terminal."""


class NumberTable(Table):
    """A table whose numbers are never cut. Where a terminal is too narrow for them, each cell has a line of its own."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        numbers = [column for column in self.columns if column.no_wrap]
        for column in numbers:
            column.min_width = max(_width(cell) for cell in (column.header, *column.cells))
        needed = sum(column.min_width or SHORTEST for column in self.columns) + 3 * len(self.columns) + 1
        if needed <= options.max_width:
            yield from super().__rich_console__(console, options)  # type: ignore[misc]
            return
        for row in zip(*(column.cells for column in self.columns), strict=True):
            for column, cell in zip(self.columns, row, strict=True):
                if _width(cell):
                    yield Text.assemble((f"{column.header}: ", "bold"), cell if isinstance(cell, Text) else str(cell))
            yield Text()


def table(*headings: str, texts: int = 1) -> Table:
    """An empty table: text in the first `texts` columns, numbers, aligned to the right, in the others."""
    columns = [
        Column(heading, overflow="fold", min_width=SHORTEST)
        if index < texts
        else Column(heading, justify="right", no_wrap=True)
        for index, heading in enumerate(headings)
    ]
    return NumberTable(*columns)


def heading(words: str) -> Text:
    """A line over a table. (rich would wrap a table's own title to the table's width.)"""
    return Text(words, style="bold")


def _width(cell: RenderableType) -> int:
    return cell.cell_len if isinstance(cell, Text) else Text.from_markup(str(cell)).cell_len
