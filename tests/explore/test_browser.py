"""Every view in a browser: with the mouse and by keyboard alone, wide and narrow, light and dark.

They need Playwright (pip install playwright) and a Chromium: /usr/bin/chromium, or that of the variable
ALEXNET_CHROMIUM. With ALEXNET_AXE, the path of axe-core's axe.min.js, each view is checked for accessibility too.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from explore_site import SECONDS, Site, serving, wait_for

from alexnet.study.predict import predict
from alexnet.study.scores import percent

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = os.environ.get("ALEXNET_CHROMIUM", shutil.which("chromium") or "")
AXE = os.environ.get("ALEXNET_AXE", "")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium")
VIEWS = ("image/val-3", "network?image=val-3&stage=conv2", "unit/conv3/5", "kernels", "map?image=val-3",
         "tricks?image=val-3", "training")  # fmt: skip


@pytest.fixture(scope="module")
def shown(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server whose store is indexed and whose runs have a log."""
    made = tmp_path_factory.mktemp("shown")
    runs = [Path(shutil.copytree(folder / name, made / name)) for name in ("paper", "original")]
    line = '{{"step": {0}, "epoch": {0}, "loss": 2.0, "learning_rate": 0.01}}\n'
    last = '{"step": 9, "epoch": 9, "evaluation": "val", "loss": 1, "top1_error": 0.25, "top5_error": 0.1}\n'
    for run in runs:
        (run / "metrics.jsonl").write_text("".join(line.format(step) for step in range(1, 9)) + last)
    with serving(runs, folder / "store", index=True) as site:
        wait_for(lambda: all(site.get(f"progress?run={run}")["index"]["state"] == "done" for run in range(2)))
        yield site


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        camera = "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"  # Chromium's own
        made = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *camera])
        yield made
        made.close()


class Watched:
    """A page, with what its console said."""

    def __init__(self, browser: Any, width: int = 1280, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.page.set_default_timeout(1000 * SECONDS)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def open(self, address: str) -> Any:
        self.page.goto(address)
        self.page.wait_for_selector("h1")
        until(self.page, "[...document.images].every(image => image.complete || image.loading === 'lazy')")
        return self.page


def until(page: Any, expression: str) -> None:
    """Wait until an expression holds in the page. (Playwright's own way needs `eval`, which the page forbids.)"""
    end = time.monotonic() + SECONDS
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"it never holds: {expression}"
        page.wait_for_timeout(50)


def tab_to(page: Any, selector: str) -> None:
    """Press Tab until what `selector` means has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(f"document.activeElement.matches('{selector}')"):
            return
    raise AssertionError(f"Tab never reaches {selector}")


@pytest.fixture
def wide(browser: Any) -> Iterator[Watched]:
    watched = Watched(browser)
    yield watched
    watched.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (375, "dark")])
def test_every_view_shows_without_a_fault(browser: Any, shown: Site, width: int, scheme: str) -> None:
    watched = Watched(browser, width, scheme)
    for view in VIEWS:
        page = watched.open(f"{shown.url}/{view}")
        assert not page.query_selector_all(".error"), view
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        until(page, "[...document.images].every(image => image.complete && image.naturalWidth)")  # the lazy ones too
        widths = page.evaluate("[...document.querySelectorAll('.bars th')].map(label => label.clientWidth)")
        assert all(each >= 80 for each in widths), view  # whole words
        if AXE:
            check_accessibility(page, view)
    assert watched.said == []
    assert all(url.startswith((shown.url, "data:", "blob:")) for url in watched.asked)
    watched.context.close()


def test_the_camera_takes_a_photo(wide: Watched, shown: Site) -> None:
    page = wide.open(f"{shown.url}/image/val-3")
    page.click("text=Use the camera")
    until(page, "document.querySelector('video')?.videoWidth > 0")
    page.click("text=Take the photo")
    until(page, "location.pathname.startsWith('/image/u-') && document.querySelectorAll('.bars tr').length > 0")
    assert not page.query_selector_all(".error, video") and wide.said == []


def check_accessibility(page: Any, view: str) -> None:
    """axe-core finds nothing serious."""
    found = page.context.browser.new_context(bypass_csp=True, viewport=page.viewport_size).new_page()
    found.goto(page.url)
    found.wait_for_load_state("networkidle")
    found.evaluate(Path(AXE).read_text(encoding="utf-8"))
    violations = found.evaluate("axe.run()")["violations"]
    assert [each["id"] for each in violations if each["impact"] in ("serious", "critical")] == [], view
    found.context.close()


def test_the_labels_are_those_of_predict_to_the_last_digit(wide: Watched, shown: Site, folder: Path) -> None:
    page = wide.open(f"{shown.url}/image/val-3")
    for number, run in enumerate(("paper", "original")):
        said = predict(folder / run, [folder / "images/val/n00000001/1.png"], device="cpu")["predictions"][0]["top5"]
        bars = page.query_selector_all(".bars")[number]
        rows = [row.inner_text().split("\t") for row in bars.query_selector_all("tr")]
        assert [(row[0].split(" (")[0].strip(), row[-1].strip()) for row in rows] == [
            (guess["name"], percent(guess["probability"])) for guess in said
        ]
    assert page.query_selector("tr.true th") is None or "animal 1" in page.inner_text("tr.true th")


def test_an_image_is_chosen_and_followed(wide: Watched, shown: Site, folder: Path) -> None:
    page = wide.open(f"{shown.url}/")
    page.set_input_files("#file", folder / "images/val/n00000004/0.png")
    page.wait_for_url("**/image/u-*")
    page.click("a[href*='u-']:has-text('Follow it through the network')")  # not that of the image before
    page.wait_for_selector(".formula")
    assert re.search(r"/network\?image=u-[0-9a-f]{16}", page.url)
    page.go_back()
    page.wait_for_selector(".bars")
    (folder / "broken.png").write_bytes(b"no image")
    page.set_input_files("#file", folder / "broken.png")
    page.wait_for_selector(".error")
    assert "no JPEG, PNG" in page.inner_text(".error")
    (folder / "broken.png").unlink()


def test_the_network_is_walked_by_mouse(wide: Watched, shown: Site) -> None:
    page = wide.open(f"{shown.url}/network?image=val-3")
    page.click(".strip button:has-text('conv3')")
    page.wait_for_selector("section[aria-label='Stage conv3'] .formula")
    page.locator("canvas.maps").click(position={"x": 5, "y": 5})
    until(page, "document.querySelector('#at-unit').value === '0'")
    end = time.monotonic() + SECONDS
    said = "section[aria-label='Stage conv3'] strong"
    while "unit 0, row 0, column 0" not in page.inner_text(said):
        assert time.monotonic() < end
        for at in (3, 2):  # the map may have been drawn anew, or have moved, under a mouse that was there before
            page.locator("canvas.one").hover(position={"x": at, "y": at})
        page.wait_for_timeout(200)
    value = shown.get("map?image=val-3&stage=conv3&unit=0")["values"][0][0]
    found = page.inner_text(said).split(" = ")[1].replace("\u2212", "-")
    assert float(found) == pytest.approx(value, rel=1e-5)
    page.click("text=/What excites this unit/")
    page.wait_for_url("**/unit/conv3/0*")
    page.wait_for_selector(".nine img")


def test_the_stage_that_was_chosen_last_is_shown(wide: Watched, shown: Site) -> None:
    """Whatever is clicked while its maps are on their way."""
    page = wide.open(f"{shown.url}/network?image=val-3")
    page.wait_for_selector("section[aria-label='Stage conv1'] .formula")
    held: list[Any] = []
    page.route(re.compile(r"/api/maps\.png\?.*stage=conv3"), lambda route: held.append(route))
    page.click(".strip button:has-text('conv3')")
    while not held:
        page.wait_for_timeout(20)
    page.locator("canvas.maps").click(position={"x": 5, "y": 5})  # still those of conv1
    page.wait_for_timeout(200)
    assert page.query_selector("section[aria-label='Stage conv1']") and "stage=conv3" in page.url
    for route in held:
        route.continue_()
    page.wait_for_selector("section[aria-label='Stage conv3'] .formula")
    assert page.input_value("#stage") == "conv3" and "stage=conv3" in page.url


def test_the_network_is_walked_by_keyboard_alone(wide: Watched, shown: Site) -> None:
    page = wide.open(f"{shown.url}/network?image=val-3&stage=pool1&unit=2&y=1&x=1")
    page.wait_for_selector(".formula")
    tab_to(page, "canvas.maps")
    page.keyboard.press("ArrowRight")
    until(page, "document.querySelector('#at-unit').value === '3'")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('canvas.one')")
    before = [int(page.input_value(f"#at-{axis}")) for axis in "yx"]
    page.keyboard.press("ArrowDown" if before[0] == 0 else "ArrowUp")
    until(page, f"document.querySelector('#at-y').value !== '{before[0]}'")
    until(page, "document.activeElement.matches('canvas.one')")  # the focus stays
    assert f"y={page.input_value('#at-y')}" in page.url


def test_links_and_buttons_are_reached_by_keyboard(wide: Watched, shown: Site) -> None:
    page = wide.open(f"{shown.url}/kernels")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    tab_to(page, ".kernels *")
    page.keyboard.press("Enter")
    page.wait_for_url("**/unit/conv1/*")
    page.wait_for_selector(".nine")
    first = page.url
    page.keyboard.press("ArrowRight")
    until(page, f"location.href !== '{first}'")


def test_the_chosen_stage_is_in_sight_on_a_narrow_page(browser: Any, shown: Site) -> None:
    watched = Watched(browser, 375)
    page = watched.open(f"{shown.url}/network?image=val-3&stage=fc7")
    box = "document.querySelector('.strip [aria-pressed=true]').getBoundingClientRect()"
    until(page, f"{box}.left >= 0 && {box}.right <= 375")
    watched.context.close()


def test_the_nine_images_of_a_unit_are_squares_whatever_it_sees(wide: Watched, shown: Site) -> None:
    page = wide.open(f"{shown.url}/unit/conv1/2")
    sides = "[...document.querySelectorAll('.nine img')].map(image => [image.clientWidth, image.clientHeight])"
    assert all(abs(width - height) <= 1 for width, height in page.evaluate(sides))


def test_a_switch_changes_the_labels_and_the_address(wide: Watched, shown: Site) -> None:
    page = wide.open(f"{shown.url}/tricks?image=val-3")
    before = page.inner_text(".result")
    page.check("#activation")
    until(page, f"document.querySelector('.result').innerText !== {before!r}")
    assert "activation=tanh" in page.url
    page.reload()
    page.wait_for_selector(".result .bars")
    assert page.is_checked("#activation")


def test_runs_are_chosen_and_neighbours_are_linked(wide: Watched, shown: Site) -> None:
    page = wide.open(f"{shown.url}/map?image=val-3")
    page.select_option("#run", "1")
    page.wait_for_url("**run=1*")
    page.wait_for_selector(".thumbs a")
    page.click(".thumbs a")
    page.wait_for_url("**image=train-*")


def test_the_map_is_walked_by_keyboard_alone(wide: Watched, shown: Site) -> None:
    page = wide.open(f"{shown.url}/map")
    page.wait_for_selector("canvas.full")
    tab_to(page, "canvas.full")
    seen = {page.url}
    for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
        page.wait_for_load_state("networkidle")
        seen.add(page.url)
        until(page, "document.activeElement.matches('canvas.full')")  # the focus stays
    assert len(seen) > 3 and all("image=train-" in url for url in seen - {f"{shown.url}/map"})


def test_without_an_image_the_way_to_one_is_linked(wide: Watched, folder: Path) -> None:
    with serving([folder / "paper"], None) as site:
        for view in ("network", "tricks"):
            page = wide.open(f"{site.url}/{view}")
            page.click("main a:has-text('Choose an image')")
            page.wait_for_selector("#file", state="attached")
            assert page.url == f"{site.url}/"


def test_what_goes_wrong_is_a_sentence_in_the_page(wide: Watched, shown: Site) -> None:
    page = wide.open(f"{shown.url}/image/val-99")
    assert "14 images" in page.inner_text(".error")


def test_a_saved_page_opens_from_disk(wide: Watched, saved_page: Path) -> None:
    address = saved_page.as_uri()
    for view in ("", "#/network?image=val-6", "#/unit", "#/kernels", "#/map?image=val-6"):
        page = wide.open(address + view)
        assert not page.query_selector_all(".error"), view
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth)"), view
        if AXE:
            check_accessibility(page, view)
    page.click("nav a:has-text('An image')")
    page.wait_for_selector(".bars")
    assert wide.said == [] and all(url.startswith(("file:", "data:")) for url in wide.asked)
