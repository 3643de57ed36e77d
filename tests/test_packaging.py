"""What the package says of itself and what checks it: bounds, licences, versions, and the targets that CI runs."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest

import alexnet

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]


@pytest.mark.parametrize("requirement", REQUIREMENTS)
def test_each_package_has_a_lower_bound_and_a_licence_in_the_list(requirement: str) -> None:
    match = re.fullmatch(r"([a-z0-9-]+)(?:\[\w+\])?>=[0-9.]+(,<[0-9.]+)?", requirement)
    assert match, requirement
    # `make oldest` makes exact versions of the bounds; what formats the code may differ from version to version.
    assert not match[2] or requirement in PROJECT["optional-dependencies"]["dev"], requirement
    (row,) = re.findall(
        rf"^\| {match[1]}(?: \(\w+\))? \| [0-9.]+ \| (.+) \|$", (ROOT / "docs/licences.md").read_text(), re.M
    )
    assert "?" not in row


def test_one_version_everywhere() -> None:
    assert alexnet.__version__ == PROJECT["version"]
    assert re.search(rf"^version: {re.escape(PROJECT['version'])}$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert f"\n## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


def prerequisites(target: str) -> set[str]:
    """All targets that `make target` makes, itself included."""
    rules = dict(re.findall(r"^([a-z]\S*):(?!=) *([^|\n]*)", (ROOT / "Makefile").read_text(), re.M))
    assert target in rules, f"the Makefile has no target {target}"
    return {target}.union(*(prerequisites(each) for each in rules[target].split() if each in rules))


def test_ci_runs_what_the_readme_and_the_workflow_say() -> None:
    (run,) = re.findall(r"make (\S+)", (ROOT / ".ci/run").read_text())
    assert {"lint", "test"} <= prerequisites(run)
    for page in ("README.md", ".github/workflows/check.yml", ".github/PULL_REQUEST_TEMPLATE.md"):
        named = re.findall(r"(?:^|run: |`)make ([a-z-]+)", (ROOT / page).read_text(), re.M)
        assert named, page
        assert all(prerequisites(target) for target in named)


def test_make_demo_ends_with_the_command_that_looks_inside() -> None:
    (recipe,) = re.findall(r"^demo:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    assert re.search(r"alexnet explore demo/run --data demo/store\"\n$", recipe)


def test_the_workflow_tries_every_python_that_the_package_names() -> None:
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load((ROOT / ".github/workflows/check.yml").read_text())["jobs"]
    named = [each.rsplit(" ", 1)[1] for each in PROJECT["classifiers"] if re.search(r":: Python :: 3\.\d", each)]
    assert jobs["check"]["strategy"]["matrix"]["python"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_the_hooks_before_a_commit_are_the_tools_of_make_lint() -> None:
    yaml = pytest.importorskip("yaml")
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    tools = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in repo["hooks"]}
    (lint,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    assert tools == set(re.findall(r"\$\(BIN\)/(\S+)", lint))
