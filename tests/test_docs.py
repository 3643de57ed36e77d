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
pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documentation is not beside the tests")


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
