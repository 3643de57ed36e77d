"""ONNX files compute what our network computes: in ONNX Runtime, in ONNX's reference evaluator, in OpenVINO."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import SMALL, spread

from alexnet import AlexNet, load
from alexnet.cli import main
from alexnet.config import NetworkConfig
from alexnet.exchange import parity
from alexnet.exchange.export import export
from alexnet.files.checksums import checksum
from alexnet.networks import NETWORKS

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")


def small(config: NetworkConfig) -> AlexNet:
    """The network, narrow and with seven classes, in eval mode."""
    net = AlexNet(dataclasses.replace(config, classes=7, width=0.05)).eval()
    spread(net)
    return net


def run_file(path: Path, images: np.ndarray) -> np.ndarray:
    """The only output of a model in ONNX Runtime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_gives_the_same_logits(name: str, decomposed: bool, tmp_path: Path) -> None:
    from alexnet.exchange.onnx_network import network_model

    net = small(NETWORKS[name].config)
    size = net.network.input_size
    x = 50 * torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    model = network_model(net, decomposed)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with torch.no_grad():
        ours = net(x).numpy()
    assert np.ptp(ours, axis=0).max() > 0.1  # the outputs depend on the input
    assert parity.compare(ours, run_file(tmp_path / "model.onnx", x.numpy()), "ONNX Runtime") < 1e-5
    operators = {node.op_type for node in model.graph.node}
    assert ("LRN" in operators) == (not decomposed and net.network.lrn != "none")


def test_the_reference_evaluator_gives_the_same_logits() -> None:
    from onnx.reference import ReferenceEvaluator

    from alexnet.exchange.onnx_network import network_model

    net = AlexNet(SMALL).eval()
    spread(net)
    x = 50 * torch.randn(2, 3, 63, 63, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = net(x).numpy()
    # Without LRN: there the reference takes the number of images for that of channels.
    (theirs,) = ReferenceEvaluator(network_model(net, decomposed=True)).run(None, {"images": x.numpy()})
    assert parity.compare(ours, np.asarray(theirs), "the reference evaluator") < 1e-5


def test_openvino_gives_the_same_logits_and_probabilities(run: Path, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    core, net = openvino.Core(), load(run, "cpu")
    x = parity.reference_views(net)
    image = parity.reference_images(net.preprocess.size)[0]
    for options, inputs, ours in (
        ({}, x.numpy(), parity.logits(net, x)),
        ({"preprocess": True, "views": 10}, image[None], parity.probabilities(net, image, 10)),
    ):
        export(run, tmp_path / f"out{len(options)}", **options)  # type: ignore[arg-type]
        model = core.compile_model(core.read_model(tmp_path / f"out{len(options)}/model.onnx"), "CPU", PRECISE)
        assert parity.compare(ours, model([inputs])[0], "OpenVINO", 1e-4) < 1e-4


PRECISE = {"INFERENCE_PRECISION_HINT": "f32"}


def test_nodes_have_the_names_of_the_layers(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "out")
    outputs = {node.output[0] for node in onnx.load(tmp_path / "out/model.onnx").graph.node}
    layers = {layer.name for layer in load(run, "cpu").layers if layer.kind != "pad"}
    assert layers - {"fc8"} | {"logits"} <= outputs


def test_the_metadata_tells_classes_errors_and_weights(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "out")
    model = onnx.load(tmp_path / "out/model.onnx")
    metadata = {each.key: each.value for each in model.metadata_props}
    net = load(run, "cpu")
    assert json.loads(metadata["classes"]) == [each.name for each in net.classes]
    assert json.loads(metadata["wnids"]) == [each.wnid for each in net.classes]
    assert metadata["weights_sha256"] == checksum(net.checkpoint / "weights.safetensors")
    assert json.loads(metadata["errors"])["top1_error"] == 0.25
    assert [opset.version for opset in model.opset_import] == [18]
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    assert [each.dim_param or each.dim_value for each in dimensions] == ["batch", 3, 63, 63]


@pytest.mark.parametrize("views", [1, 10])
@pytest.mark.parametrize("central", [False, True])
def test_with_preprocess_images_of_any_size_give_our_probabilities(
    views: int, central: bool, run: Path, tmp_path: Path
) -> None:
    from alexnet.exchange.onnx_images import image_model

    net = load(run, "cpu")
    net.preprocess.central = central
    path = tmp_path / "model.onnx"
    path.write_bytes(image_model(net, views).SerializeToString())
    random = np.random.default_rng(3)
    for height, width in ((72, 90), (200, 131), (40, 55), (9, 300)):
        images = random.integers(0, 256, (2, height, width, 3)).astype(np.uint8)
        ours = np.concatenate([parity.probabilities(net, image, views) for image in images])
        theirs = run_file(path, images)
        assert theirs.sum(1) == pytest.approx(1, abs=1e-5)
        assert np.abs(ours - theirs).max() < (1e-5 if height == 72 else 1e-3)


def test_the_graph_resizes_as_we_do(run: Path) -> None:
    """To the same bytes, but for one value in a thousand that is rounded to its neighbour."""
    from onnx import TensorProto, helper

    from alexnet.exchange.onnx_images import add_square
    from alexnet.exchange.onnx_nodes import Nodes

    net, nodes = load(run, "cpu"), Nodes()
    square = add_square(nodes, "images", net.preprocess.size)
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", "height", "width", 3])
    model = nodes.model(images, square, 1)
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    for _ in range(4):
        model.graph.output[0].type.tensor_type.shape.dim.add()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(4)
    for height, width in ((72, 72), (71, 300), (1000, 700), (5, 3), (1, 1)):
        image = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
        theirs = session.run(None, {"images": image[None]})[0][0].transpose(1, 2, 0)
        difference = np.abs(theirs - net.preprocess.pixels(image))
        assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_nothing_is_written_when_the_runtime_computes_something_else(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("alexnet.exchange.onnx_network.BETA", 0.7)
    assert main(["export", str(run), str(tmp_path / "out")]) == 1
    assert "ONNX Runtime differs from our network" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_what_installs_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("alexnet.exchange.export.NEEDS", {"onnx": ("onnx", "not_there")})
    assert main(["export", str(run), str(tmp_path / "out")]) == 1
    assert "needs not_there: pip install 'alexnet[export]'" in capsys.readouterr().err
