"""The pages of the site: all are there, in the menu, and their links lead to pages and headings of the site."""

import re
from pathlib import Path
from types import ModuleType

import pytest
from scripts import module_at

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "mkdocs.yml").is_file(), reason="the documentation is not beside the tests")


@pytest.fixture(scope="module")
def site() -> ModuleType:
    return module_at(ROOT / ".ci/site.py")


@pytest.fixture(scope="module")
def staged(site: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    site.stage(folder)
    return folder


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", each).strip().lower()) for each in headings}


def test_links_lead_to_pages_and_headings_of_the_site(staged: Path) -> None:
    followed = 0
    for page in staged.rglob("*.md"):
        for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()):
            if not re.match(r"\w+:", target):
                path = (page.parent / target).resolve() if target else page
                assert path.is_file() and path.is_relative_to(staged), f"{page.name}: {target}"
                assert not anchor or anchor in anchors(path), f"{page.name}: {target}#{anchor}"
                followed += 1
    assert followed > 30


def test_every_page_is_in_the_menu_or_linked_from_another(staged: Path) -> None:
    def pages(entry: object) -> list[str]:
        if isinstance(entry, dict):
            return [page for value in entry.values() for page in pages(value)]
        return [page for each in entry for page in pages(each)] if isinstance(entry, list) else [str(entry)]

    listed = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    there = {page.resolve() for page in staged.rglob("*.md")}
    found = {(staged / page).resolve() for page in listed}
    assert found <= there and len(found) == len(listed)
    for page in there:
        targets = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text())
        found |= {(page.parent / target).resolve() for target in targets if not re.match(r"\w+:", target)}
    assert found >= there


def test_the_reference_explains_what_it_lists(site: ModuleType, staged: Path) -> None:
    text = (staged / "api.md").read_text()
    names = [name.rpartition(".")[2] for names in site.REFERENCE.values() for name in names]
    for name in names:
        entry = re.split(r"^##", text.partition(f"\n### {name}\n")[2], flags=re.M)[0]
        assert f"import {name}\n" in entry and len(entry.rpartition("```")[2].split()) > 5, name
    assert not re.search(r"Annotated\[|_C\.|<", "".join(re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)))
