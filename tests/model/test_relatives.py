"""The network's relatives: torchvision's with its own weights, Caffe's from PyTorch's layers, the original's variants.

Sources: docs/specification.md, "The network", "The bigger network", "The comparisons the original ran", "What people
confuse it with".
"""

import math
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet import AlexNet
from alexnet.model.unshared import GroupedLinear, Local2d
from alexnet.networks import NETWORKS, PAPER, network

NARROW = {"width": 1 / 12, "classes": 7, "input_size": 67}


def outputs(name: str, **overrides: Any) -> dict[str, tuple[int, ...]]:
    """Output shape of each stage, as hooks see it."""
    shapes: dict[str, tuple[int, ...]] = {}
    with torch.device("meta"):
        net = AlexNet(name, **overrides).eval()
        for stage_name, stage in net.named_children():
            stage.register_forward_hook(lambda m, i, o, name=stage_name: shapes.update({name: tuple(o.shape[1:])}))  # type: ignore[union-attr]
        net(torch.empty(2, 3, net.network.input_size, net.network.input_size))
    return shapes


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_described_is_what_is_built(name):
    with torch.device("meta"):
        net = AlexNet(name)
    assert parameters(net) == sum(layer.parameters for layer in net.layers)
    assert outputs(name) == {layer.name: layer.outputs for layer in net.layers}
    assert [layer.name for layer in net.layers] == [stage for stage, _ in net.named_children()]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_difference_from_the_paper_has_its_reason(name):
    known = network(name)
    differing = {f for f, value in vars(known.config).items() if value != getattr(PAPER.config, f)}
    assert set(known.reasons) == differing
    assert known.about.endswith(".") and all(known.reasons.values())


@pytest.mark.parametrize(
    ("name", "count"),
    [("paper", 60_965_224), ("original", 60_965_224), ("half", 59_798_312), ("caffe", 60_965_224)],
)
def test_parameter_counts_are_those_of_the_specification(name, count):
    with torch.device("meta"):
        assert parameters(AlexNet(name)) == count


def test_the_paper_multiplies_about_725_million_times():
    with torch.device("meta"):
        layers = AlexNet("paper").layers
    assert sum(layer.multiply_adds for layer in layers) == pytest.approx(725e6, rel=1e-3)


def test_the_original_normalises_and_pools_conv1_before_its_relu():
    with torch.device("meta"):
        names = [name for name, _ in AlexNet("original").named_children()]
    assert names[:5] == ["pad1", "conv1", "norm1", "pool1", "relu1"]
    assert names[5:10] == ["conv2", "relu2", "norm2", "spatial2", "pool2"]


def test_windows_that_do_not_overlap_give_the_sizes_of_definition_147():
    shapes = outputs("non-overlapping")
    sizes = {name: shape[-1] for name, shape in shapes.items()}
    assert (sizes["conv1"], sizes["pool1"], sizes["conv2"], sizes["pool2"]) == (55, 28, 26, 13)
    assert (sizes["conv3"], sizes["conv4"], sizes["conv5"], sizes["pool5"]) == (13, 13, 11, 6)


def test_definition_148_has_no_normalisation():
    assert not {"norm1", "norm2", "spatial2"} & outputs("no-norm").keys()
    assert "spatial2" not in outputs("no-spatial-norm") and "norm2" in outputs("no-spatial-norm")


def test_towers_that_never_exchange_have_the_widths_of_definition_150():
    shapes = outputs("no-exchange")
    per_tower = {name: shape[0] // 2 for name, shape in shapes.items()}
    widths = [per_tower[name] for name in ("conv2", "conv3", "conv4", "conv5", "fc6", "fc7")]
    assert widths == [160, 192, 192, 128, 4096, 4096]
    with torch.device("meta"):
        net = AlexNet("no-exchange")
    assert net.fc6.weight.shape == (8192, 128 * 6 * 6) and net.fc8.weight.shape == (1000, 8192)


def test_one_tower_never_sees_the_other_unless_they_exchange():
    """Changing the second tower's conv1 changes the first tower's fc7 in the paper's network, not in definition 150."""
    for name, same in (("no-exchange", True), ("paper", False)):
        net = AlexNet(name, **NARROW, initial_std=(0.02, *[0.1] * 7)).double().eval()
        seen = []
        net.fc7.register_forward_hook(lambda m, i, o, seen=seen: seen.append(o))
        x = torch.randn(2, 3, 67, 67, dtype=torch.float64) * 60
        net(x)
        with torch.no_grad():
            net.conv1.weight[net.conv1.out_channels // 2 :] *= -1
        net(x)
        first, second = (value.chunk(2, 1) for value in seen)
        assert torch.equal(first[0], second[0]) == same
        assert not torch.equal(first[1], second[1])


def test_the_sixth_convolution_sees_both_towers_and_keeps_the_size():
    shapes = outputs("sixth-conv")
    assert shapes["conv6"] == shapes["relu_conv6"] == (256, 6, 6)
    with torch.device("meta"):
        assert AlexNet("sixth-conv").conv6.weight.shape == (256, 256, 3, 3)


@pytest.mark.parametrize("layer", ["conv2", "conv3", "conv4", "conv5", "fc6", "fc7"])
def test_a_middle_layer_can_be_left_out(layer):
    paper, without = outputs("paper"), outputs(f"without-{layer}")
    gone = {layer, f"relu{layer[-1]}"} | ({f"drop{layer[-1]}"} if layer[:2] == "fc" else set())
    gone |= {"norm2"} if layer == "conv2" else set()
    assert paper.keys() - without.keys() == gone
    assert without["pool5"][1:] == (6, 6) and without["fc8"] == (1000,)


def test_the_four_layer_network_has_the_programs_shapes():
    shapes = outputs("four-layer")
    assert [shapes[name] for name in ("conv1", "pool1", "conv2", "pool2", "local3", "local4", "fc10")] == [
        *((64, 24, 24), (64, 12, 12), (64, 12, 12), (64, 6, 6)),
        *((32, 6, 6), (32, 6, 6), (10,)),
    ]
    assert outputs("four-layer", input_size=32)["local4"] == (32, 8, 8)
    assert [name for name in outputs("four-layer-tanh") if name.startswith("tanh")] == [
        f"tanh{i}" for i in (1, 2, 3, 4)
    ]


TORCHVISION = {
    **{f"features.{i}": f"conv{n}" for n, i in enumerate((0, 3, 6, 8, 10), 1)},
    **{f"classifier.{i}": f"fc{n}" for n, i in ((6, 1), (7, 4), (8, 6))},
}


def test_torchvisions_alexnet_with_its_own_weights_gives_its_own_outputs_and_gradients():
    theirs = torchvision.models.alexnet(num_classes=10).eval()
    state = {}
    for name, value in theirs.state_dict().items():
        layer, _, kind = name.rpartition(".")
        state[f"{TORCHVISION[layer]}.{kind}"] = value
    ours = AlexNet("torchvision", classes=10).eval()
    ours.load_state_dict(state)
    x, y = torch.randn(2, 3, 224, 224), torch.tensor([1, 2])
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
    for net in (ours, theirs):  # in float64: rounding moves the maximum of a window to another pixel
        F.cross_entropy(net.double()(x.double()), y).backward()
    gradients = {TORCHVISION[n.rpartition(".")[0]] + n[n.rindex(".") :]: w.grad for n, w in theirs.named_parameters()}
    for name, w in ours.named_parameters():
        torch.testing.assert_close(w.grad, gradients[name], rtol=1e-6, atol=1e-12)


def test_torchvisions_network_starts_as_torchvision_starts():
    with torch.random.fork_rng():
        torch.manual_seed(1)  # the largest of ten biases may be far from the largest that there can be
        ours, theirs = AlexNet("torchvision", classes=10), torchvision.models.alexnet(num_classes=10)
    for name, value in theirs.state_dict().items():
        layer, _, kind = name.rpartition(".")
        mine = ours.state_dict()[f"{TORCHVISION[layer]}.{kind}"]
        assert mine.shape == value.shape
        assert mine.abs().max().item() == pytest.approx(value.abs().max().item(), rel=0.2)


def test_caffes_network_gives_the_outputs_of_the_same_pytorch_layers():
    """bvlc_alexnet: conv, ReLU, normalisation across all channels with k = 1, pooling; inverted dropout."""
    net = AlexNet("caffe", width=1 / 12, classes=7, input_size=67).double().eval()
    parts = nn.Sequential(
        *(nn.Conv2d(3, 8, 11, 4), nn.ReLU(), nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        *(nn.Conv2d(8, 22, 5, padding=2, groups=2), nn.ReLU(), nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        *(nn.Conv2d(22, 32, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(32, 22, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Flatten()),
        *(nn.Linear(22, 342), nn.ReLU(), nn.Dropout()),
        *(nn.Linear(342, 342), nn.ReLU(), nn.Dropout()),
        nn.Linear(342, 7),
    ).double().eval()  # fmt: skip
    values = zip(parts.state_dict(), net.state_dict().values(), strict=True)
    parts.load_state_dict(dict(values))
    x = torch.randn(3, 3, 67, 67, dtype=torch.float64) * 60
    torch.testing.assert_close(net(x), parts(x), rtol=1e-10, atol=0)


def test_inverted_dropout_is_pytorchs():
    ours, theirs = AlexNet("caffe", **NARROW).train().drop6, nn.Dropout(0.5)
    x = torch.full((1000, 40), 3.0)
    assert set(ours(x).unique().tolist()) == set(theirs(x).unique().tolist()) == {0.0, 6.0}
    assert torch.equal(ours.eval()(x), x)


def test_dropout_acts_on_the_outputs_or_inputs_of_fc6_and_fc7():
    def order(name: str) -> list[str]:
        return [n for n in outputs(name) if n[:4] in ("drop", "fc6", "fc7", "fc8", "relu") and n[-1] in "678"]

    assert order("paper") == ["fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8"]
    assert order("torchvision") == ["drop6", "fc6", "relu6", "drop7", "fc7", "relu7", "fc8"]
    assert order("no-dropout") == ["fc6", "relu6", "fc7", "relu7", "fc8"]


def test_tanh_replaces_relu():
    paper, tanh = outputs("paper"), outputs("tanh")
    assert [name.replace("relu", "tanh") for name in paper] == list(tanh)
    assert AlexNet("tanh", **NARROW).last_hidden == "tanh7" and AlexNet(**NARROW).last_hidden == "relu7"


def test_a_grouped_layer_is_a_block_diagonal_one():
    layer = GroupedLinear(6, 8, 2).double()
    nn.init.normal_(layer.bias)
    x = torch.randn(5, 6, dtype=torch.float64)
    whole = torch.block_diag(*layer.weight.chunk(2))
    torch.testing.assert_close(layer(x), F.linear(x, whole, layer.bias))


def test_local_layers_apply_their_own_kernel_at_each_position():
    layer = Local2d(3, (4, 5, 5), kernel_size=3, padding=1).double()
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    padded, expected = F.pad(x, (1, 1, 1, 1)), torch.empty(2, 4, 5, 5, dtype=torch.float64)
    for row in range(5):
        for column in range(5):
            window = padded[:, :, row : row + 3, column : column + 3].flatten(1)
            kernels = layer.weight[row * 5 + column]
            expected[:, :, row, column] = window @ kernels.T + layer.bias[:, row, column]
    torch.testing.assert_close(layer(x), expected)


def test_a_local_layer_of_equal_kernels_is_a_convolution():
    layer, conv = Local2d(3, (4, 5, 5), kernel_size=3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
    with torch.no_grad():
        layer.weight.copy_(conv.weight.flatten(1).expand(25, -1, -1))
        layer.bias.copy_(conv.bias[:, None, None].expand(4, 5, 5))  # type: ignore[index]
    x = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(layer(x), conv(x))


@pytest.mark.parametrize("name", ["original", "caffe", "four-layer"])
def test_initial_values_are_those_of_the_settings(name):
    net = AlexNet(name, width=0.5 if name == "four-layer" else 0.25)
    stages = [layer for layer in net.layers if layer.weight_shape]
    for layer, std, bias in zip(stages, net.network.initial_std, net.network.initial_bias, strict=True):
        stage = net.get_submodule(layer.name)
        weight, biases = stage.weight, stage.bias
        assert isinstance(weight, Tensor) and isinstance(biases, Tensor)
        assert weight.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * weight.numel()))
        assert biases.unique().tolist() == pytest.approx([bias])


@pytest.mark.parametrize(
    ("name", "overrides", "sentence"),
    [
        ("orginal", {}, "did you mean 'original'"),
        ("paper", {"channels": (1, 2, 3)}, "network.channels needs 5 numbers"),
        ("paper", {"initial_std": (0.1,)}, "network.initial_std needs 8 numbers"),
        ("paper", {"initial_std": ()}, "both given, or both empty"),
        ("paper", {"without_layers": ("conv1",)}, "names 'conv1'"),
        ("paper", {"towers": 3}, "network.towers is 3"),
        ("four-layer", {"towers": 2}, "network.towers is 2"),
        ("four-layer", {"input_size": 0}, "at least"),
    ],
)
def test_contradicting_settings_are_explained(name, overrides, sentence):
    with pytest.raises(ValueError, match=sentence):
        AlexNet(name, **overrides)
