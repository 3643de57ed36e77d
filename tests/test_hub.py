"""`torch.hub` finds the networks and trained runs in a clone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from scripts import module_at
from small_runs import SMALL, write

import alexnet
from alexnet.networks import NETWORKS

ROOT = str(Path(__file__).parents[1])
pytestmark = pytest.mark.skipif(not Path(ROOT, "hubconf.py").is_file(), reason="hubconf.py is not beside the tests")


def test_every_network_is_an_entry_that_says_what_it_is() -> None:
    module = module_at(Path(ROOT, "hubconf.py"))
    entries = {name for name in dir(module) if callable(getattr(module, name)) and not name.startswith("_")}
    assert entries == {*NETWORKS, "load"}  # what torch.hub.list shows
    assert all(NETWORKS[name].about in getattr(module, name).__doc__ for name in NETWORKS)


@pytest.mark.parametrize("name", ["caffe", "without-conv3"])
def test_hub_makes_a_network_by_name(name: str) -> None:
    network = torch.hub.load(ROOT, name, source="local", classes=7, width=0.05)
    assert isinstance(network, alexnet.AlexNet)
    assert network.network == NETWORKS[name].config.__class__(
        **{**vars(NETWORKS[name].config), "classes": 7, "width": 0.05}
    )
    with pytest.raises(ValueError, match="No weights are published"):
        torch.hub.load(ROOT, name, source="local", pretrained=True)


def test_hub_loads_a_run(tmp_path: Path) -> None:
    run = write(tmp_path / "run", SMALL)
    trained: Any = torch.hub.load(ROOT, "load", str(run), "cpu", source="local")
    assert len(trained.classes) == SMALL.classes and not trained.training
