"""The plugin folder: its own test passes, fails with other weights, and its images are prepared as ours."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from small_runs import SMALL, write

from alexnet import load
from alexnet.cli import main
from alexnet.exchange import parity
from alexnet.exchange.brainscore import hooked, load_plugin
from alexnet.exchange.export import export
from alexnet.networks import NETWORKS
from alexnet.study.activations import activations

WRAPPER = """
from collections import OrderedDict
import numpy as np
import torch

class Assembly:
    def __init__(self, rows):
        self.rows = rows
    def sel(self, layer):
        return self.rows[layer]

class Rows:
    def __init__(self, values):
        self.values, self.shape = values, values.shape

class PytorchWrapper:
    def __init__(self, model, preprocessing, identifier):
        self._model, self.preprocessing, self.identifier = model, preprocessing, identifier
    def __call__(self, stimuli, layers):
        paths = [*stimuli] + [stimuli[-1]] * (64 - len(stimuli))  # it pads its batches
        images = torch.stack([torch.from_numpy(image) for image in self.preprocessing(paths)])
        found, hooks = OrderedDict(), []
        for name in layers:
            module = self._model
            for part in name.split("."):
                module = module._modules[part]
            def keep(_layer, _input, output, name=name):
                found[name] = output.cpu().data.numpy()
            hooks.append(module.register_forward_hook(keep))
        with torch.no_grad():
            self._model.eval()(images)
        for hook in hooks:
            hook.remove()
        rows = {name: values[: len(stimuli)].reshape(len(stimuli), -1) for name, values in found.items()}
        return Assembly({name: Rows(values) for name, values in rows.items()})
"""
"""What `PytorchWrapper` of brainscore-vision 2.4.2 does, without its assemblies and its files."""


@pytest.fixture(scope="module")
def plugin(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("brainscore") / "plugin"
    export(run, out, to="brainscore")
    return out


def own_tests(folder: Path) -> subprocess.CompletedProcess[str]:
    """The plugins' own tests, in a process that does not know our package. Brain-Score itself is missing."""
    names = ["trained/test.py", "untrained/test.py", "--import-mode=importlib", "-k", "plain"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--noconftest", *names]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_plugins_own_test_fails_with_random_weights(plugin: Path, tmp_path: Path) -> None:
    for name in ("trained", "untrained"):
        shutil.copytree(plugin, tmp_path / name)
    weights = tmp_path / "untrained/model.safetensors"
    save_file({name: torch.randn_like(value) / 10 for name, value in load_file(weights).items()}, weights)
    done = own_tests(tmp_path)
    assert "1 failed, 1 passed" in done.stdout and "FAILED untrained/test.py" in done.stdout, done.stdout


def test_the_plugins_own_test_passes_with_brain_scores_hooks(plugin: Path, tmp_path: Path) -> None:
    helpers = tmp_path / "brainscore_vision/model_helpers/activations"
    helpers.mkdir(parents=True)
    (helpers / "pytorch.py").write_text(WRAPPER)
    shutil.copytree(plugin, tmp_path / "plugin", ignore=shutil.ignore_patterns("__init__.py"))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--noconftest", "plugin/test.py"]
    done = subprocess.run([*command, "--import-mode=importlib"], cwd=tmp_path, capture_output=True, text=True)
    assert "2 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("name", ["paper", "original", "caffenet", "torchvision", "tanh", "without-conv3"])
def test_plain_hooks_see_our_activations(name: str, tmp_path: Path) -> None:
    known = NETWORKS[name].config
    run = write(tmp_path / "run", dataclasses.replace(known, classes=7, width=0.05, input_size=99))
    export(run, tmp_path / "out", to="brainscore")
    net, plugin = load(run, "cpu"), load_plugin(tmp_path / "out")
    layers = [layer.name for layer in net.layers]
    x = parity.reference_views(net)
    ours, theirs = activations(net, x, layers), hooked(plugin.load_network(), x, layers)
    for layer in layers:
        # Nothing after a layer has written over what the hook kept.
        np.testing.assert_allclose(theirs[layer], ours[layer], rtol=0, atol=1e-5 * max(1, np.abs(ours[layer]).max()))


def test_images_are_prepared_as_ours(run: Path, plugin: Path, tmp_path: Path) -> None:
    net, random = load(run, "cpu"), np.random.default_rng(1)
    for i, shape in enumerate([(100, 80, 3), (72, 90, 3), (33, 300, 3), (60, 60)]):
        Image.fromarray(random.integers(0, 256, shape).astype(np.uint8)).save(tmp_path / f"{i}.png")
    paths = sorted(tmp_path.iterdir())
    ours = np.stack([net.preprocess(path).numpy() for path in paths])
    assert np.array_equal(load_plugin(plugin).preprocess(paths), ours)


def test_the_folder_is_what_brain_score_expects(plugin: Path) -> None:
    names = {path.name for path in plugin.iterdir()}
    assert {"__init__.py", "model.py", "test.py", "requirements.txt", "region_layer_map", "README.md"} <= names
    described = json.loads((plugin / "network.json").read_text())
    regions = json.loads((plugin / f"region_layer_map/{described['identifier']}.json").read_text())
    layers = {layer["name"] for layer in described["layers"]}
    assert regions.keys() == {"V1", "V2", "V4", "IT"} and {*regions.values(), *described["compared"]} <= layers
    assert f'model_registry["{described["identifier"]}"]' in (plugin / "__init__.py").read_text()
    assert "alexnet" not in [
        line.split()[1] for line in (plugin / "model.py").read_text().splitlines() if " import" in line
    ]


def test_a_network_that_plain_pytorch_lacks_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write(tmp_path / "run", dataclasses.replace(SMALL, exchange=False))
    assert main(["export", str(run), str(tmp_path / "out"), "--to", "brainscore"]) == 1
    assert "no layer such as fc6" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
