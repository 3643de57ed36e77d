"""The comparisons of `benchmarks/`: they compare the same network, and what they keep can be drawn."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from PIL import Image
from scripts import run_script

from alexnet import AlexNet
from benchmarks.comparison import compare, keep
from benchmarks.network.torch_nn import as_written, with_weights


@pytest.mark.parametrize("banded", [False, True])
def test_the_network_as_written_is_the_papers(banded: bool) -> None:
    net = AlexNet("paper", initial_std=(), initial_bias=(), generator=torch.Generator().manual_seed(0)).eval()
    other = with_weights(as_written(banded), net.parameters()).eval()
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1)) * 60
    with torch.no_grad():
        expected = net(x)
        torch.testing.assert_close(other(x), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert other(x).std() > 0


def test_results_are_kept_section_by_section_and_drawn(tmp_path: Path) -> None:
    out, image = tmp_path / "results.json", tmp_path / "speed.png"
    forms = {"limit": (lambda: None, 5.0), "ours": (lambda: None, 3.0), "theirs": (lambda: None, 1.0)}
    for section in ("inference", "loading"):
        keep(out, section, 2, {"batch 1": compare(section, forms, 2), "quality": {"ours": 1}}, ["torch"])
    kept = json.loads(out.read_text(encoding="utf-8"))
    assert list(kept) == ["inference", "loading"]
    assert kept["loading"]["versions"]["torch"] == version("torch")
    run_script("benchmarks.speed_figure", out, image)
    with Image.open(image) as drawn:
        assert drawn.width > 500
