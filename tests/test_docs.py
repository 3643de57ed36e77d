"""The documentation names tests, files and commands that exist."""

import re
import shlex
from pathlib import Path

import pytest

from alexnet.cli import COMMANDS
from alexnet.config import TrainConfig
from alexnet.networks import NETWORKS
from alexnet.recipes import RECIPES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PARTS = ("src", "tests", "benchmarks", "campaigns")
pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documentation is not beside the tests")


def sources(*endings: str) -> list[Path]:
    return [file for part in PARTS for file in sorted((ROOT / part).rglob("*")) if file.suffix in endings]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_are_named_exist(page: Path):
    for file, name in re.findall(r"`(tests/\S+?\.py)(?:::(\w+))?`", page.read_text()):
        assert (ROOT / file).is_file(), file
        assert not name or f"def {name}(" in (ROOT / file).read_text(), f"{file}::{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not re.match(r"\w+:", target):
            assert (page.parent / target).exists(), target


def cited_sections(text: str) -> list[str]:
    """The headings in `docs/specification.md, "The update" and "Testing"`, which may continue on the next line."""
    quoted = r'"[A-Z][^"]+"'
    one_line = re.sub(r"\n\s*(?:#|//|\*)?\s*", " ", text)
    citations = re.findall(rf"docs/specification\.md,? ((?:section )?{quoted}(?:(?:,| and|, and) {quoted})*)", one_line)
    return [heading.strip('"') for citation in citations for heading in re.findall(quoted, citation)]


def test_every_citation_of_the_specification_names_a_section_that_exists():
    assert cited_sections('see docs/specification.md,\n# "The update" and "Testing"') == ["The update", "Testing"]
    headings = re.findall(r"^## (.+)$", (ROOT / "docs/specification.md").read_text(), re.MULTILINE)
    for file in [*PAGES, *sources(".py", ".cpp", ".h")]:
        text = file.read_text(encoding="utf-8")
        for section in cited_sections(text):
            assert section in headings, f"{file} cites {section!r}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_recipes_and_networks_that_are_named_exist(page: Path):
    for line in re.findall(r"^(?:torchrun .*-m )?alexnet .*$", page.read_text(), re.MULTILINE):
        words = shlex.split(line, comments=True)
        words = words[words.index("alexnet") + 1 :]
        assert words[0] in COMMANDS or words[0] in ("COMMAND", "--help"), line
        for option, known in (("--recipe", RECIPES), ("--network", NETWORKS)):
            if option in words:
                assert words[words.index(option) + 1] in known, line
        for word in words:
            if words[0] == "train" and word.startswith("--") and "." in word:
                part, _, setting = word[2:].partition(".")
                assert hasattr(getattr(TrainConfig(), part), setting.replace("-", "_")), line
