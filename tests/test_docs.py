"""What the documentation names exists: files, tests, links, scripts. Snippets run, and tables are true."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from alexnet.cli import COMMANDS, main
from alexnet.data.download.archives import ARCHIVES
from alexnet.data.prepare.prepare import prepare
from alexnet.demo.synthetic import draw_set
from alexnet.networks import NETWORKS
from alexnet.recipes import RECIPES
from alexnet.training.loop import train

ROOT = Path(__file__).parents[1]
PAGES = [page for folder in (".", "docs", "benchmarks", "campaigns") for page in sorted((ROOT / folder).glob("*.md"))]
PARTS = ("src", "tests", "benchmarks", "campaigns")
pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documentation is not beside the tests")


def sources(*endings: str) -> list[Path]:
    return [file for part in PARTS for file in sorted((ROOT / part).rglob("*")) if file.suffix in endings]


each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@each_page
def test_files_and_tests_that_are_named_exist(page: Path):
    """Paths from the root, paths inside the package (`data/image/decode.py`), and `tests/FILE.py::NAME`."""
    roots = "|".join((*PARTS, "docs", *sorted(path.name for path in (ROOT / "src/alexnet").iterdir() if path.is_dir())))
    for file, name in re.findall(rf"`((?:{roots})/[\w./-]+\.\w+)(?:::(\w+))?`", page.read_text()):
        path = next((path for path in (ROOT / file, ROOT / "src/alexnet" / file) if path.is_file()), None)
        assert path, file
        assert not name or f"def {name}(" in path.read_text(), f"{file}::{name}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@each_page
def test_links_lead_somewhere(page: Path):
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]+))?\)", page.read_text()):
        if not re.match(r"\w+:", target):
            path = page.parent / target if target else page
            assert path.exists(), target
            assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


@each_page
def test_scripts_and_make_targets_that_are_named_exist(page: Path):
    """`python -m MODULE` with the options that it understands, and `make TARGET`."""
    for module, line in re.findall(r"\bpython -m ((?:benchmarks|campaigns)[\w.]*)([^\n`]*)", page.read_text()):
        path = ROOT / module.replace(".", "/")
        files = sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        known = '"--help"' + "".join(file.read_text() for file in (*files, ROOT / "benchmarks/comparison.py"))
        for option in re.findall(r"\s(--[a-z-]+)", line):
            assert f'"{option}"' in known, f"{module} {option}"
    for target in re.findall(r"(?:^|`)make ([\w-]+)", page.read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


def test_options_that_are_named_exist(capsys: pytest.CaptureFixture[str]):
    for command in COMMANDS:
        assert main([command, "--help"]) == 0
    scripts = "".join(file.read_text() for part in ("benchmarks", "campaigns") for file in (ROOT / part).rglob("*.py"))
    shorthands = ("--recipe", "--network", "--from", "--checkpoint-every")  # of `train`
    of_torchrun, of_others = ("--max-restarts",), ("--check", "--logdir", "--directory", "--private")
    known = {*re.findall(r"--[a-z][\w.-]*", capsys.readouterr().out + scripts), *shorthands, *of_torchrun, *of_others}
    for page in PAGES:
        for text in re.findall(r"`([^`\n]+)`", page.read_text()):
            for option in re.findall(r"(?:^| )(--[a-z][\w.-]*)", text):
                assert option in known, f"{page.name}: {option}"


def test_the_tables_of_recipes_and_networks_are_complete():
    recipes = re.findall(r"^\| `(\w+)`", section(ROOT / "docs/training.md", "Choose a recipe"), re.MULTILINE)
    assert recipes == list(RECIPES)
    comparisons = section(ROOT / "docs/fidelity.md", "The comparisons of the paper and the program")
    features = section(ROOT / "docs/fidelity.md", "Feature by feature").splitlines()
    header = next(line for line in features if line.startswith("| |"))
    named = {*re.findall(r"`([a-z0-9-]+)`", comparisons), *re.findall(r"`([a-z]+)`", header)}
    shown = {name for name in NETWORKS if not re.fullmatch(r"without-(conv[345]|fc6)", name)}  # between the two named
    assert shown == {name for name in named if name in NETWORKS}
    assert named <= {*NETWORKS}


def test_the_table_of_data_sets_is_what_the_command_says():
    rows = re.findall(r"^\| `(\S+)` \| (.+) \| ([\d,]+) MB \|$", (ROOT / "docs/data.md").read_text(), re.MULTILINE)
    assert rows == [(name, each.about, f"{each.length / 1e6:,.0f}") for name, each in ARCHIVES.items()]


def section(page: Path, heading: str) -> str:
    return re.split(r"^##? ", page.read_text().partition(f"\n## {heading}\n")[2], flags=re.MULTILINE)[0]


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
        assert file == Path(__file__) or not re.search(r"\bSPEC\b", text), f"{file}: which section?"
        for section in cited_sections(text):
            assert section in headings, f"{file} cites {section!r}"


def test_an_image_is_called_an_image():
    for file in [*PAGES, *sources(".py", ".cpp", ".h")]:
        assert file == Path(__file__) or not re.search(r"(?i)\bpictures?\b", file.read_text(encoding="utf-8")), file


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the snippets read: `stores/mine`, `runs/mine`, `holiday.jpg` and `stimuli`."""
    folder = tmp_path_factory.mktemp("example")
    draw_set(folder / "images", train=64, val=16, workers=1)
    prepare(folder / "images", folder / "stores/mine", size=256, workers=1)
    config = replace(RECIPES["small"](), epochs=1, device="cpu")
    train(folder / "stores/mine", folder / "runs/mine", replace(config, network=replace(config.network, width=0.05)))
    drawn = sorted((folder / "images/val").rglob("*.jpg"))
    shutil.copy(drawn[0], folder / "holiday.jpg")
    (folder / "stimuli").mkdir()
    for number, image in enumerate(drawn[:6]):
        shutil.copy(image, folder / f"stimuli/stimulus{number}.jpg")
    return folder


@each_page
def test_python_snippets_run(page: Path, example: Path, monkeypatch: pytest.MonkeyPatch):
    if page.name == "CONTRIBUTING.md":
        pytest.skip("tests/test_contributing.py follows its examples")
    monkeypatch.chdir(example)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", example / "cache")
    for snippet in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        exec(compile(snippet, page.name, "exec"), {})
