"""What is published: the wheel and the sdist hold all of the package and nothing else, and the wheel runs."""

import email
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from scripts import module_at

pytest.importorskip("setuptools", minversion="77")
ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGE = {
    str(path.relative_to(ROOT / "src"))
    for path in (ROOT / "src/alexnet").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
}


@pytest.fixture(scope="module")
def smoke() -> ModuleType:
    """The script that CI runs in full."""
    return module_at(ROOT / ".ci/smoke.py")


@pytest.fixture(scope="module")
def built(smoke: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return smoke.build(tmp_path_factory.mktemp("dist"))


def test_the_wheel_holds_the_package_and_its_licences(built: tuple[Path, Path]) -> None:
    assert {"alexnet/py.typed", "alexnet/data/ilsvrc2012.tsv", "alexnet/model/cpu/kernels.cpp"} < PACKAGE
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
        info = next(name for name in names if name.endswith("/METADATA")).rpartition("/")[0]
        metadata = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
        programs = wheel.read(f"{info}/entry_points.txt").decode()
    assert {name for name in names if not name.startswith(info)} == PACKAGE
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/docs/licences.md"} < names
    assert "alexnet = alexnet.cli:main" in programs
    assert (metadata["Name"], metadata["Version"], metadata["License-Expression"]) == (
        "alexnet",
        PROJECT["version"],
        "BSD-3-Clause",
    )
    assert metadata["Author"] and metadata["Summary"] and "Two commands" in str(metadata.get_payload())
    assert len(metadata.get_all("Project-URL", [])) == len(PROJECT["urls"])
    assert set(metadata.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])


def test_the_sdist_holds_what_the_wheel_is_made_of_and_no_tests(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    files = {"pyproject.toml", "README.md", "LICENSE", "docs/licences.md", "CHANGELOG.md", "CITATION.cff"}
    assert files | {f"src/{name}" for name in PACKAGE} < names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "campaigns", "."))]


def test_the_installed_wheel_starts(smoke: ModuleType, built: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("pip")
    smoke.check(*smoke.install(built[1], tmp_path / "installed", here=True), tmp_path, works=False)
