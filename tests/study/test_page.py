"""The page: one well-formed file that needs no others and shows what it was given."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.study.page import Bar, Bars, Commands, Figure, Number, Section, Table, write_report

ODD = '<b>"x" & y</b>'
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Reads a page; fails where a tag is not closed in its order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)


@pytest.fixture
def page(tmp_path: Path, pixels: np.ndarray) -> Page:
    Image.fromarray(pixels).save(tmp_path / "file.png")
    blocks = (
        f"words {ODD}",
        Bars([Bar(f"bar {ODD}", 0.25, f"value {ODD}"), Bar("beyond", 1.7, "170 %", marked=True)]),
        Table([f"head {ODD}", "second"], [[f"row {ODD}", f"cell {ODD}"]]),
        Figure(pixels, f"alt {ODD}", f"caption {ODD}"),
        Figure(tmp_path / "file.png", "from a file"),
        Commands([(f"command {ODD}", f"why {ODD}")]),
    )
    path = tmp_path / "page" / "report.html"
    path.parent.mkdir()
    write_report(
        path,
        title=f"title {ODD}",
        lead=f"lead {ODD}",
        numbers=[Number(f"number {ODD}", f"what {ODD}", f"note {ODD}")],
        sections=[Section(f"section {ODD}", blocks), Section("empty", ())],
        footer=f"footer {ODD}",
    )
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    return Page(path)


def test_all_words_are_there_as_they_are(page: Page) -> None:
    for what in [
        "title",
        "lead",
        "number",
        "what",
        "note",
        "section",
        "words",
        "bar",
        "value",
        "head",
        "row",
        "cell",
        "caption",
        "command",
        "why",
        "footer",
    ]:
        assert f"{what} {ODD}" in page.words, what
    assert not page.all("b")


def test_it_needs_nothing_else(page: Page) -> None:
    """No scripts, and nothing is fetched: no address leads out of the file."""
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object"}
    for _, attributes in page.tags:
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
        assert not any(name.startswith("on") for name in attributes)


def test_a_plot_is_wider_than_a_phone_and_moves_under_the_finger_and_the_keys(page: Page, tmp_path: Path) -> None:
    frames = [page.tags[at - 1] for at, (tag, _) in enumerate(page.tags) if tag == "img"]
    assert frames[0][0] == "figure"  # pixels, without words
    assert frames[1] == ("div", {"class": "wide", "tabindex": "0"})
    write_report(tmp_path / "report.html", title="t", lead="l")
    phone = (tmp_path / "report.html").read_text().partition("@media (max-width: 34rem)")[2]
    assert re.search(r"\.wide img \{ max-width: \d+rem; min-width: 100%; \}", phone)


def test_style_fetches_nothing_and_knows_light_and_dark(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", title="t", lead="l")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    style = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(style) == 1
    assert style[0].count("{") == style[0].count("}")
    assert "url(" not in style[0]
    assert "@import" not in style[0]
    used = set(re.findall(r"var\((--[a-z]+)\)", style[0]))
    themes = re.findall(r":root \{(.*?)\}", style[0], re.DOTALL)
    assert len(themes) == 2
    assert all(used <= set(re.findall(r"(--[a-z]+):", theme)) for theme in themes)


def test_images_are_inside_pixel_for_pixel_and_described(page: Page, pixels: np.ndarray) -> None:
    images = page.all("img")
    assert [image["alt"] for image in images] == [f"alt {ODD}", "from a file"]
    for image in images:
        kind, _, data = (image["src"] or "").partition(",")
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as opened:
            np.testing.assert_array_equal(np.asarray(opened), pixels)
        assert (image["height"], image["width"]) == tuple(map(str, pixels.shape[:2]))


def test_bars_are_as_long_as_their_fraction_and_never_longer_than_the_page(page: Page) -> None:
    styles = [attributes["style"] for attributes in page.all("div") if "style" in attributes]
    assert styles == ["width:25.00%", "width:100.00%"]


def test_the_page_is_structured_for_screen_readers(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    headings = {attributes["id"] for attributes in page.all("h2")}
    assert headings == {attributes["aria-labelledby"] for attributes in page.all("section")}
    assert all(attributes.get("scope") in ("row", "col") for attributes in page.all("th"))


def test_a_figure_that_is_no_png_is_refused_by_name(tmp_path: Path, pixels: np.ndarray) -> None:
    file = tmp_path / "figure.jpg"
    Image.fromarray(pixels).save(file)
    with pytest.raises(ValueError, match=r"figure\.jpg"):
        write_report(tmp_path / "r.html", title="t", lead="l", sections=[Section("s", [Figure(file, "alt")])])
    assert not (tmp_path / "r.html").exists()
