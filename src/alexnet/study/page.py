"""A report as one HTML file: numbers, bars, tables, figures and commands.

It needs no scripts and no other files: figures are inlined as PNG. All text is escaped. Colours follow the reader's
light or dark setting.
"""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from alexnet.files import durable
from alexnet.files.regular import read_regular

LARGEST_FIGURE = 1 << 26
"""Bytes of a PNG."""


@dataclass(frozen=True)
class Number:
    """One measured number, shown large: `value` with its unit, what it is, and a note in small print."""

    value: str
    what: str
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """One line of a comparison: its label, its length as a `fraction` (0..1) of the width, and the value as text."""

    label: str
    fraction: float
    value: str
    marked: bool = False


@dataclass(frozen=True)
class Bars:
    """A comparison of fractions."""

    bars: Sequence[Bar]


@dataclass(frozen=True)
class Cell:
    """A cell of a table that is coloured, or leads to a section."""

    text: str
    tone: Literal["", "good", "bad", "open"] = ""
    section: int = 0
    """The number of a section, from 1; 0: none."""


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; if `numeric`, all columns but the first are aligned to the right; if `stacked`, the
    cells of a row stand below each other on a narrow screen, each beside its heading."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    numeric: bool = True
    stacked: bool = False


@dataclass(frozen=True)
class Figure:
    """A figure: a PNG file, or pixels uint8 [H, W, 3]; `alt` describes it for those who cannot see it."""

    source: Path | np.ndarray
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Commands:
    """Command lines, each with a sentence on what it does."""

    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Link:
    """A paragraph that ends in a link to a page of this machine or of the web."""

    words: str
    address: str


Block = str | Bars | Table | Figure | Commands | Link


@dataclass(frozen=True)
class Section:
    """A heading and the blocks under it; a plain string is a paragraph."""

    heading: str
    blocks: Sequence[Block]


def write_report(
    path: Path,
    *,
    title: str,
    lead: str,
    numbers: Sequence[Number] = (),
    sections: Sequence[Section] = (),
    footer: str = "",
) -> None:
    """Write the page to `path`, whole or not at all. Raises ValueError for a figure's file that is not a PNG."""
    tiles = "".join(_tile(number) for number in numbers)
    body = "".join(
        f'<section aria-labelledby="s{i}"><h2 id="s{i}">{_text(section.heading)}</h2>'
        f"{''.join(map(_block, section.blocks))}</section>\n"
        for i, section in enumerate(sections, start=1)
    )
    page = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n'
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>{_text(title)}</h1><p>{_text(lead)}</p></header>\n<main>\n"
        + (f'<dl class="numbers">{tiles}</dl>\n' if tiles else "")
        + body
        + "</main>\n"
        + (f"<footer><p>{_text(footer)}</p></footer>\n" if footer else "")
        + "</body>\n</html>\n"
    )
    with durable.whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _text(words: str) -> str:
    return html.escape(words)


def _tile(number: Number) -> str:
    note = f"<dd class='note'>{_text(number.note)}</dd>" if number.note else ""
    return f"<div><dt>{_text(number.what)}</dt><dd>{_text(number.value)}</dd>{note}</div>"


def _block(block: Block) -> str:
    match block:
        case str():
            return f"<p>{_text(block)}</p>"
        case Bars():
            return f'<table class="bars"><tbody>{"".join(map(_bar, block.bars))}</tbody></table>'
        case Table():
            return _table(block)
        case Figure():
            return _figure(block)
        case Link():
            address = _text(block.address)
            return f'<p>{_text(block.words)} <a href="{address}">{address}</a></p>'
        case Commands():
            lines = "".join(f"<p>{_text(why)}</p><pre><code>{_text(line)}</code></pre>" for line, why in block.lines)
            return f'<div class="commands">{lines}</div>'


def _bar(bar: Bar) -> str:
    width = 100 * min(max(bar.fraction, 0), 1)
    kind = "bar marked" if bar.marked else "bar"
    return (
        f'<tr><th scope="row">{_text(bar.label)}</th>'
        f'<td class="room"><div class="{kind}" style="width:{width:.2f}%"></div></td>'
        f'<td class="value">{_text(bar.value)}</td></tr>'
    )


def _table(table: Table) -> str:
    heads = "".join(f'<th scope="col">{_text(heading)}</th>' for heading in table.headings)
    rows = "".join(
        f'<tr><th scope="row">{_cell(first)}</th>'
        + "".join(
            f'<td data-heading="{_text(heading)}">{_cell(cell)}</td>'
            for heading, cell in zip(table.headings[1:], rest, strict=True)
        )
        + "</tr>"
        for first, *rest in table.rows
    )
    names = [name for name in ("numeric", "stacked") if getattr(table, name)]
    kind = f' class="{" ".join(names)}"' if names else ""
    content = f"<table{kind}><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="wide" tabindex="0">{content}</div>'


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return _text(cell)
    inner = f'<span class="tone {cell.tone}">{_text(cell.text)}</span>' if cell.tone else _text(cell.text)
    return f'<a href="#s{cell.section}">{inner}</a>' if cell.section else inner


def _figure(figure: Figure) -> str:
    data, width, height = _png(figure.source)
    caption = f"<figcaption>{_text(figure.caption)}</figcaption>" if figure.caption else ""
    inline = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    size = f'width="{width}" height="{height}"'
    image = f'<img src="{inline}" alt="{_text(figure.alt)}" {size}>'
    if isinstance(figure.source, Path):  # a plot, whose words a phone would make too small to read
        image = f'<div class="wide" tabindex="0">{image}</div>'
    return f"<figure>{image}{caption}</figure>"


def _png(source: Path | np.ndarray) -> tuple[bytes, int, int]:
    if isinstance(source, np.ndarray):
        file = io.BytesIO()
        Image.fromarray(source).save(file, "PNG", optimize=True)
        return file.getvalue(), source.shape[1], source.shape[0]
    data = read_regular(source, LARGEST_FIGURE)
    try:
        image = Image.open(io.BytesIO(data), formats=["PNG"])  # reads its header alone
    except (OSError, ValueError, Image.DecompressionBombError):
        raise ValueError(f"{source} is not PNG; save the figure with a name that ends in .png.") from None
    with image:
        # Its size on the page is that at 150 dots per inch, whatever it has in print.
        dots = (image.info.get("dpi", (0, 0))[0] or 150) / 150
        return data, round(image.width / dots), round(image.height / dots)


STYLE = """
:root { --ink: #1d2330; --faint: #5c6575; --ground: #f6f7f9; --card: #ffffff; --line: #dde1e8;
  --mark: #c2410c; --bar: #8aa4c8; --good: #14683a; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaf0; --faint: #a3abba; --ground: #14171d; --card: #1e232c; --line: #343b48;
    --mark: #fb923c; --bar: #4f6f9f; --good: #6fcf97; --bad: #ff8a80; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 4rem;
  background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; }
h2 { font-size: 1.25rem; margin: 0 0 .7rem; }
p { margin: .5rem 0; max-width: 46rem; }
header p { font-size: 1.1rem; margin: 0 0 1.6rem; }
section, .numbers div { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
section { padding: 1.3rem 1.4rem; margin: 1.2rem 0; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .8rem;
  margin: 0; }
.numbers div { padding: .9rem 1rem; display: flex; flex-direction: column; }
.numbers dt { font-size: .9rem; order: 2; }
.numbers dd { margin: 0; font-size: 1.45rem; font-weight: 650; order: 1; white-space: nowrap; }
.numbers dd.note { font-size: .8rem; font-weight: 400; color: var(--faint); order: 3; white-space: normal; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1.6rem .3rem 0; text-align: left; vertical-align: top; font-weight: 400; }
thead th { color: var(--faint); border-bottom: 1px solid var(--line); }
.numeric th:not(:first-child), .numeric td { text-align: right; }
.wide { overflow-x: auto; margin: .6rem 0; }
.wide table { width: 100%; }
.wide tbody tr { border-bottom: 1px solid var(--line); }
.tone { font-weight: 650; }
.tone.good { color: var(--good); }
.tone.bad { color: var(--bad); }
.tone.open { color: var(--faint); }
a { color: inherit; text-underline-offset: .15em; }
.bars { width: 100%; margin: .4rem 0; }
.bars th, .bars td { white-space: nowrap; vertical-align: middle; padding-right: .8rem; }
.bars .room { width: 100%; }
.bars .value { text-align: right; padding-right: 0; }
.bar { height: 1.1rem; min-width: 2px; border-radius: .2rem; background: var(--bar); }
.bar.marked { background: var(--mark); }
figure { margin: .8rem 0 .4rem; }
img { max-width: 100%; height: auto; display: block; background: #ffffff; border-radius: .4rem; }
figcaption { font-size: .88rem; color: var(--faint); margin-top: .5rem; max-width: 46rem; }
pre { background: var(--ground); border: 1px solid var(--line); border-radius: .4rem; overflow-x: auto;
  padding: .6rem .8rem; margin: .2rem 0 .9rem;
  font: .88rem/1.45 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
code { font: inherit; }
footer { color: var(--faint); font-size: .85rem; }
@media (max-width: 34rem) {
  body { padding: 1.2rem .8rem 3rem; }
  section { padding: 1rem .9rem; }
  .numbers { grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); }
  .numbers dd { font-size: 1.2rem; white-space: normal; }
  th, td { padding-right: .7rem; }
  .stacked thead { display: none; }
  .stacked tr { display: block; padding: .5rem 0; }
  .stacked th, .stacked td { display: block; padding: .1rem 0; text-align: left; }
  .stacked th { font-weight: 650; }
  .stacked td:empty { display: none; }
  .stacked td::before { content: attr(data-heading) ": "; color: var(--faint); }
  .wide img { max-width: 34rem; min-width: 100%; }
  .bars tr { display: grid; grid-template-columns: 1fr auto; margin-bottom: .5rem; }
  .bars th { white-space: normal; }
  .bars .room { grid-column: 1 / -1; grid-row: 2; padding: 0; }
}
@media print {
  body { background: #ffffff; padding: 0; max-width: none; }
  figure, tr { break-inside: avoid; }
  .wide { overflow: visible; }
  img { max-height: 22cm; width: auto; }
}
"""
