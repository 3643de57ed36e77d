"""Brain-Score: the plugin folder of a network, as https://github.com/brain-score/vision expects it.

`model.py` is `brainscore_plugin.py`, which needs nothing of this package. `test.py` compares it with our activations,
which the folder holds, so that it fails with other weights, random ones for example.
"""

import dataclasses
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from alexnet.exchange import brainscore_plugin, parity
from alexnet.study.activations import activations
from alexnet.study.trained import TrainedAlexNet

COMPARED = ("pool1", "pool2", "relu3", "relu4", "pool5", "relu6", "relu7")
"""Layers that are compared with brains, where the network has them; those of torchvision's alexnet in Brain-Score."""
REGIONS = {"V1": "pool1", "V2": "relu3", "V4": "relu3", "IT": "pool5"}
"""The layer that stands for a region; that of torchvision's alexnet in Brain-Score. Without it, the one before it."""
REQUIREMENTS = ("torch", "numpy", "pillow", "safetensors")

INIT = '''"""Registers the model with Brain-Score."""

import importlib.util

if importlib.util.find_spec("brainscore_vision"):  # without it, test.py can still be run
    from brainscore_vision import model_registry
    from brainscore_vision.model_helpers.brain_transformation import ModelCommitment

    from .model import get_layers, get_model

    model_registry["{identifier}"] = lambda: ModelCommitment(
        identifier="{identifier}",
        activations_model=get_model(),
        layers=get_layers(),
        behavioral_readout_layer="{last}",
        region_layer_map={regions},
    )
'''
TEST = '''"""The network gives the activations that were recorded at its export. With random weights this fails."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("plugin", HERE / "model.py")
model = importlib.util.module_from_spec(spec)
spec.loader.exec_module(model)
RECORDED = np.load(HERE / "recorded.npz")
IMAGES = sorted((HERE / "images").iterdir())


def close(found, name):
    expected = RECORDED[name].reshape(found.shape)  # Brain-Score's rows are flat
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * max(1.0, np.abs(expected).max()))


def test_plain_hooks_see_the_recorded_activations():
    network, found = model.load_network(), {}
    for name in RECORDED:
        keep = lambda module, inputs, output, name=name: found.update({name: output.data.numpy()})  # a view
        network.get_submodule(name).register_forward_hook(keep)
    with torch.no_grad():
        network(torch.from_numpy(model.preprocess(IMAGES)))
    for name in RECORDED:
        close(found[name], name)


def test_brain_score_sees_the_recorded_activations():
    pytest.importorskip("brainscore_vision", reason="brainscore_vision is not installed")
    found = model.get_model()([str(path) for path in IMAGES], layers=list(RECORDED))
    for name in RECORDED:
        of_layer = found.sel(layer=name)
        assert of_layer.shape == (len(IMAGES), RECORDED[name][0].size), name
        close(of_layer.values, name)
'''


def write_brainscore(net: TrainedAlexNet, known: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the plugin (without `mean.npy`) and compare it with our network. Returns what was compared.

    ValueError for a network with layers that PyTorch lacks.
    """
    strange = [each.name for each in net.layers if each.kind == "local" or (each.kind == "fc" and each.groups > 1)]
    if strange:
        raise ValueError(f"Brain-Score's plugin is plain PyTorch, which has no layer such as {strange[0]}.")
    identifier = re.sub(r"\W+", "_", f"alexnet_{known['run']}_{known['weights_sha256'][:8]}")
    there = [layer.name for layer in net.layers]
    described = {
        "identifier": identifier,
        "settings": known["network_settings"],
        "layers": [dataclasses.asdict(layer) for layer in net.layers],
        "compared": [name for name in COMPARED if name in there],
    }
    write_json(folder / "network.json", described)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, folder / "model.safetensors")
    np.save(folder / "mean.npy", net.preprocess.mean.numpy())
    regions = {region: present(layer, there) for region, layer in REGIONS.items()}
    (folder / "region_layer_map").mkdir()
    write_json(folder / f"region_layer_map/{identifier}.json", regions)
    source = Path(brainscore_plugin.__file__).read_text(encoding="utf-8")
    texts = {"model.py": source, "test.py": TEST, "requirements.txt": "\n".join(REQUIREMENTS) + "\n"}
    texts["__init__.py"] = INIT.format(identifier=identifier, last=there[-1], regions=json.dumps(regions))
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    paths = write_recorded(net, folder, [*described["compared"], there[-1]])
    return check(net, folder, paths)


def write_json(path: Path, value: Any) -> None:
    """Write JSON that people can read."""
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def present(layer: str, there: list[str]) -> str:
    """`layer`, or the last of `COMPARED` before it that the network has (the first, where there is none)."""
    before = [name for name in COMPARED[: COMPARED.index(layer) + 1] if name in there]
    return before[-1] if before else next(name for name in COMPARED if name in there)


def write_recorded(net: TrainedAlexNet, folder: Path, layers: list[str]) -> list[Path]:
    """Write two reference images, and our activations for them. Returns the images' paths."""
    (folder / "images").mkdir()
    paths = []
    for i, image in enumerate(parity.reference_images(net.preprocess.size)[:2]):
        paths.append(folder / f"images/{i}.png")
        Image.fromarray(image).save(paths[-1])
    views = torch.stack([net.preprocess(path) for path in paths])
    recorded = activations(net, views, layers)
    np.savez(folder / "recorded.npz", **recorded)  # type: ignore[arg-type]
    return paths


def load_plugin(folder: Path) -> ModuleType:
    """The module `model.py` of a plugin folder."""
    spec = importlib.util.spec_from_file_location("brainscore_model", folder / "model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(net: TrainedAlexNet, folder: Path, paths: list[Path]) -> dict[str, Any]:
    """Compare preprocessing, logits, and what plain hooks record of each layer. ValueError where they differ."""
    plugin = load_plugin(folder)
    network: nn.Sequential = plugin.load_network(folder)
    recorded = np.load(folder / "recorded.npz")
    x = torch.from_numpy(plugin.preprocess(paths, folder))
    if np.abs(x.numpy() - torch.stack([net.preprocess(path) for path in paths]).numpy()).max() > 1:
        raise ValueError("The plugin prepares images otherwise than our network.")
    found = hooked(network, x, list(recorded))
    for name in recorded:
        unit = max(1.0, float(np.abs(recorded[name]).max()))
        if not np.abs(found[name] - recorded[name]).max() <= 1e-4 * unit:
            raise ValueError(f"The plugin's {name} differs from our network's.")

    def run(x: Tensor) -> np.ndarray:
        with torch.inference_mode():
            return network(x).numpy()

    return parity.check_logits(net, run, "PyTorch")


def hooked(network: nn.Module, x: Tensor, layers: list[str]) -> dict[str, np.ndarray]:
    """Outputs of the layers, as Brain-Score's hooks keep them: views of memory that is still in use."""
    found: dict[str, np.ndarray] = {}
    for name in layers:

        def keep(_module: nn.Module, _inputs: Any, output: Tensor, name: str = name) -> None:
            found[name] = output.data.numpy()

        network.get_submodule(name).register_forward_hook(keep)
    with torch.no_grad():
        network(x)
    return found


def use(known: dict[str, Any]) -> str:
    """How to use the folder, in Markdown."""
    return (
        "Copy this folder to `brainscore_vision/models/` in a checkout of https://github.com/brain-score/vision, under "
        "the name in `network.json` (`identifier`), and run `pytest test.py` in it. "
        f"{known['network_settings']['input_size']} pixels; preprocessing is in `model.py`. Regions are assigned to "
        "layers as Brain-Score does for torchvision's alexnet, not measured for this network."
    )
