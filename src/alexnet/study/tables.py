"""Tables for a terminal: however narrow it is, text wraps and no number is lost."""

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Column, Table
from rich.text import Text

SHORTEST, LONGEST = 6, 32
"""Columns that text keeps on a narrow terminal: as many as its longest word, between these."""


class NumberTable(Table):
    """A table whose numbers are never cut, and whose words are not broken unless they are long. Where a terminal is too
    narrow for that, each cell has a line of its own."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        for column in self.columns:
            cells = (column.header, *column.cells)
            word = max((len(word) for cell in cells for word in str(cell).split()), default=0)
            longest = max(map(_width, cells))
            column.min_width = longest if column.no_wrap else min(max(SHORTEST, word), LONGEST)
        needed = sum(column.min_width or SHORTEST for column in self.columns) + 3 * len(self.columns) + 1
        if needed <= options.max_width:
            self._share(options.max_width - needed)
            yield from super().__rich_console__(console, options)  # type: ignore[misc]
            return
        for row in zip(*(column.cells for column in self.columns), strict=True):
            for column, cell in zip(self.columns, row, strict=True):
                if _width(cell):
                    yield Text.assemble((f"{column.header}: ", "bold"), cell if isinstance(cell, Text) else str(cell))
            yield Text()

    def _share(self, spare: int) -> None:
        """Give each text column its share of the columns that are over. (rich would take them from numbers too.)"""
        texts = [column for column in self.columns if not column.no_wrap]
        for number, column in enumerate(texts):
            least, longest = column.min_width or 0, max(map(_width, (column.header, *column.cells)))
            more = max(0, min(longest - least, spare // (len(texts) - number)))
            column.width, spare = least + more, spare - more


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
