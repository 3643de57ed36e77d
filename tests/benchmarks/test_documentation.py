"""The documentation shows the results that lie beside the scripts, and the READMEs list every script."""

import re
from pathlib import Path

import pytest
from scripts import ROOT

from benchmarks.results import load_results
from benchmarks.tables import MARK, TABLES, updated

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documentation is not beside the tests")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_marked_tables_show_the_results(page: Path) -> None:
    """`python -m benchmarks.tables` would change nothing."""
    text = page.read_text(encoding="utf-8")
    assert updated(text, load_results()) == text


def test_every_table_is_shown() -> None:
    shown = {name for page in PAGES for _, name in re.findall(MARK, page.read_text(encoding="utf-8"))}
    assert shown == TABLES.keys()


@pytest.mark.parametrize("folder", ["benchmarks", "campaigns"])
def test_the_readme_lists_every_script_and_its_files_exist(folder: str) -> None:
    text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / folder / target).exists(), target
    listed = {ROOT / folder / target for target in re.findall(r"\]\(([^)]+\.py)\)", text)}
    scripts = [path for path in (ROOT / folder).rglob("*.py") if "__main__" in path.read_text(encoding="utf-8")]
    for script in scripts:
        if not script.name.startswith("worker_") and script.name != "__main__.py":
            assert script in listed, script
