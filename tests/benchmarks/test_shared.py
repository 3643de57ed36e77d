"""What the comparisons share: results are kept section by section, can be drawn, and failures have reasons."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image
from scripts import run_script

from benchmarks.comparison import Section, add_results, compare
from benchmarks.results import load_results
from benchmarks.separate_process import SeparateProcess, UnavailableError


def test_results_are_kept_section_by_section_and_drawn(tmp_path: Path) -> None:
    out, figure = tmp_path / "results.json", tmp_path / "speed.png"
    contenders = {"limit": (lambda: None, 5.0), "alexnet": (lambda: None, 3.0), "other": (lambda: None, 1.0)}
    for name in ("inference", "loading"):
        rates = compare(name, contenders, 2, "limit")
        add_results(out, Section(name, 2, {"batch 1": rates, "psnr": {"alexnet": {}}}, ["torch"], "limit"))
    kept = json.loads(out.read_text(encoding="utf-8"))
    assert list(kept) == ["inference", "loading"]
    assert kept["loading"]["versions"]["torch"] == version("torch")
    assert kept["loading"]["results"]["batch 1"].keys() == contenders.keys()
    run_script("benchmarks.speed_figure", figure, "--results", out)
    with Image.open(figure) as drawn:
        assert drawn.width > 500


def test_every_comparison_says_when_where_and_with_which_versions_it_was_measured() -> None:
    sections = load_results()
    assert sections.keys() >= {"training step", "inference", "batch sizes", "communication", "loading", "preparing"}
    for name, section in sections.items():
        assert section.keys() >= {"date", "rounds", "machine", "versions", "results"}, name
        assert section["machine"]["processor"] and section["machine"]["torch"], name


@pytest.mark.parametrize(
    ("module", "python", "reason"),
    [
        ("benchmarks.no_such_module", sys.executable, "No module named"),
        ("benchmarks.loading.worker_tf_data", "no-such-python", "cannot be started"),
    ],
)
def test_a_framework_that_cannot_start_has_a_reason(module: str, python: str, reason: str) -> None:
    with pytest.raises(UnavailableError, match=reason):
        SeparateProcess(module, python=python)
