"""The documentation shows the results that lie beside the scripts, and the READMEs list every script."""

import json
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


def test_the_page_about_gpus_shows_the_results() -> None:
    page = (ROOT / "docs/gpu.md").read_text(encoding="utf-8")
    results = json.loads((ROOT / "benchmarks/gpu/results/2026-11-26-h200.json").read_text(encoding="utf-8"))
    for row in results["training"]:
        if row["dtype"] == "torch.bfloat16":
            line = f"| {row['network']}, bfloat16 | {row['batch']:,} | {row['images_per_second']:,.0f} |"
            assert f"{line} {row['peak_memory_gib']:.1f} GiB |" in page
    for row in results["inference"]:
        assert f"| {row['images_per_second']:,.0f} | {row['milliseconds']:.2g} ms |" in page
    assert f"{results['loader'][0]['images_per_second']:,.0f} images per second" in page
    assert f"{results['training'][0]['images_per_second']:,.0f}" in (ROOT / "README.md").read_text(encoding="utf-8")
