"""Training and inference on a GPU against autograd in float64, for every named network."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet.config import OptimConfig, TrainConfig
from alexnet.data.loader import TrainingBatch
from alexnet.model.input import network_input
from alexnet.model.network import AlexNet
from alexnet.networks import NETWORKS
from alexnet.training.state import Setup, TrainState
from alexnet.training.update import MomentumSGD

pytestmark = pytest.mark.usefixtures("large_tiles")

BATCH, CLASSES = 2, 7
SMALL = {"input_size": 43, "width": 0.1, "fc_units": 200}
TINY = {"width": 0.2, "input_size": 16}  # of the four-layer networks
INTERPRETED = "paper", "original", "caffe", "caffenet", "torchvision", "no-exchange", "tanh", "four-layer"
"""The networks that Triton's interpreter tests: each way to build a plan. It is slow; a GPU tests all of them."""


def small_network(name: str) -> AlexNet:
    """A narrow network with weights large enough that every layer matters."""
    settings = TINY if name.startswith("four-layer") else SMALL
    if name == "torchvision":  # its pooling drops what does not fill a window
        settings = SMALL | {"input_size": 63}
    if name == "no-exchange":  # 2x2 pixels, and not one, reach fc6 of each tower
        settings = SMALL | {"input_size": 79}
    network = AlexNet(name, classes=CLASSES, generator=torch.Generator().manual_seed(0), **settings)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            scale = 3 if network.network.initial_std else 1
            parameter.mul_(scale).add_(torch.randn(parameter.shape, generator=random) * 0.005)
    return network


class Batch:
    """A batch of noise, as the plan takes it and as the network does."""

    def __init__(self, size: int, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        self.crops = torch.randint(0, 256, (BATCH, size, size, 3), dtype=torch.uint8, generator=random)
        self.offsets = torch.randint(0, 9, (BATCH, 2), generator=random)
        self.mirrored = torch.rand(BATCH, generator=random) < 0.5
        self.shift = torch.randn(BATCH, 3, generator=random)
        self.labels = torch.randint(0, CLASSES, (BATCH,), generator=random)

    def numbers(self) -> Tensor:
        columns = self.offsets, self.mirrored[:, None], self.labels[:, None], self.shift, torch.full((BATCH, 1), 1.1)
        return torch.cat([column.float() for column in columns], 1)

    def input(self, mean: Tensor) -> Tensor:
        return network_input(self.crops, mean, self.offsets, self.mirrored, shift=self.shift, divisor=1.1)


@pytest.fixture(params=NETWORKS)
def name(request: pytest.FixtureRequest, device: torch.device) -> str:
    if device.type == "cpu" and request.param not in INTERPRETED:
        pytest.skip("tested on a GPU")
    return request.param


def trained(
    name: str, dtype: torch.dtype, device: torch.device, steps: int = 1, autocast: bool = False
) -> tuple[list[Tensor], list[Tensor]]:
    """The velocities after some steps of the plan, and by autograd with the plan's dropout masks: in float64, or with
    `autocast` in PyTorch's mixture of float32 and `dtype`."""
    from alexnet.model.cuda.dropout import dropout_
    from alexnet.model.cuda.plan import TrainingPlan

    network = small_network(name)
    exact_dtype = torch.float32 if autocast else torch.float64
    exact = copy.deepcopy(network).to(exact_dtype).train()
    network = network.train().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    size = network.network.input_size
    mean = torch.rand(size + 8, size + 8, 3, generator=torch.Generator().manual_seed(2)) * 255
    optimizer = MomentumSGD(exact.named_parameters(), OptimConfig(lr=0.003, bias_lr_factor=2))
    velocities = [torch.zeros_like(p) for p in network.parameters()]
    plan = TrainingPlan(network, velocities, momentum=0.9, batch=BATCH, slots=2, mean=mean.to(device), dtype=dtype)
    plan.rates.copy_(torch.tensor([[group["lr"], group["weight_decay"]] for group in optimizer.param_groups]))
    layers = [layer.name for layer in network.layers]

    def as_the_plan(module: torch.nn.Module, inputs: tuple[Tensor], _: Tensor, *, name: str) -> Tensor:
        dropout: object = module
        kept = torch.ones(inputs[0].shape, device=device)
        scale = 1 / (1 - dropout.p) if dropout.inverted else 1.0  # type: ignore[attr-defined]
        dropout_(kept, plan.seed, layers.index(name), dropout.p, scale)  # type: ignore[attr-defined]
        return inputs[0] * kept.cpu()

    for layer in network.layers:
        if layer.kind == "dropout":
            exact.get_submodule(layer.name).register_forward_hook(partial(as_the_plan, name=layer.name))
    for step in range(steps):
        batch, slot = Batch(size, seed=step), step % 2
        plan.crops[slot], plan.numbers[slot] = batch.crops.to(device), batch.numbers().to(device)
        plan.slot.fill_(slot)
        plan.seed.fill_(77 + step)
        plan.step()
        with torch.autocast("cpu", dtype if autocast else torch.bfloat16, enabled=autocast):
            logits = exact(batch.input(mean).to(exact_dtype))
        loss = F.cross_entropy(logits.to(exact_dtype), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tolerance = 1e-5 if dtype == torch.float32 else 0.02
        torch.testing.assert_close(plan.metrics[0].item(), loss.item(), rtol=tolerance, atol=tolerance)
    return [v.cpu() for v in velocities], [optimizer.state[w]["velocity"] for w in exact.parameters()]


def distance(a: Tensor, b: Tensor) -> float:
    return ((a.double() - b.double()).norm() / b.double().norm()).item()


def test_steps_in_float32_are_those_of_autograd_in_float64(name: str, device: torch.device) -> None:
    got, wanted = trained(name, torch.float32, device, steps=2 if name == "paper" else 1)
    for g, w in zip(got, wanted, strict=True):
        assert distance(g, w) < 1e-4


@pytest.mark.parametrize("network", ["paper", "original"])
def test_twenty_steps_in_float32_are_those_of_autograd_in_float64(network: str, device: torch.device) -> None:
    if device.type == "cpu":
        pytest.skip("tested on a GPU: half a minute in Triton's interpreter")
    for g, w in zip(*trained(network, torch.float32, device, steps=20), strict=True):
        assert distance(g, w) < 1e-4


def test_a_graph_of_the_step_is_the_step(name: str, device: torch.device) -> None:
    """Of every network: three steps as a CUDA graph, and the same ones without, leave the same weights."""
    from alexnet.training.cuda_step import CudaStep

    if device.type == "cpu":
        pytest.skip("there is no graph on a CPU")
    weights = []
    for in_graph in (True, False):
        network = small_network(name).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        config = TrainConfig(network=network.network, batch_size=BATCH, optim=OptimConfig(lr=0.003))
        size = network.network.input_size
        mean = torch.full((size + 8, size + 8, 3), 128.0, device=device)
        setup = Setup(config, device, torch.bfloat16, mean, np.eye(3) * 3000, steps_per_epoch=100, store="")
        state = TrainState(network, network, MomentumSGD(network.named_parameters(), config.optim))
        step = CudaStep(state, setup)
        if not in_graph:
            step.graph = None
        for number in range(3):
            batch, alphas = Batch(size, seed=number), np.full((BATCH, 3), 0.1, np.float32)
            drawn = batch.offsets.numpy(), batch.mirrored.numpy(), alphas
            done = step(state, TrainingBatch(batch.crops.pin_memory(), batch.labels, *drawn), setup)
        assert math.isfinite(done.loss)
        weights.append([w.detach().clone() for w in network.parameters()])
    for graph, plain in zip(*weights, strict=True):
        assert torch.equal(graph, plain)


@pytest.mark.parametrize("network", ["original"])
def test_steps_in_bfloat16_are_as_near_as_those_of_autocast(network: str, device: torch.device) -> None:
    got, exact = trained(network, torch.bfloat16, device)
    _, autocast = trained(network, torch.bfloat16, device, autocast=True)
    for g, a, e in zip(got, autocast, exact, strict=True):
        assert distance(g, e) < 2 * distance(a, e) + 0.02


def test_inference_is_the_network_in_eval_mode(name: str, device: torch.device) -> None:
    from alexnet.model.cuda.inference import GraphNetwork

    if device.type == "cpu" and name in ("caffe", "torchvision", "no-exchange"):
        pytest.skip("tested on a GPU")
    network = small_network(name).eval()
    exact = copy.deepcopy(network).double()
    size = network.network.input_size
    x = torch.randn(5, 3, size, size, generator=torch.Generator().manual_seed(3)) * 60
    fast = GraphNetwork(network.to(device), torch.float32, batch=4, device=device)
    with torch.no_grad():
        torch.testing.assert_close(fast(x.to(device)).cpu().double(), exact(x.double()), rtol=1e-4, atol=1e-5)


def test_inference_does_not_depend_on_the_mode_in_which_it_was_laid_out(device: torch.device) -> None:
    from alexnet.model.cuda.inference import GraphNetwork

    network = small_network("paper").eval().to(device)
    size = network.network.input_size
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(3)).to(device)
    with torch.inference_mode():
        fast = GraphNetwork(network, torch.float32, batch=2, device=device)
        inside = fast(x)
    assert torch.equal(fast(x), inside)


def test_functions_outside_a_plan_have_the_values_and_gradients_of_pytorch(device: torch.device) -> None:
    from alexnet.model.cuda import functions
    from alexnet.model.lrn import lrn_plain
    from alexnet.model.spatial_norm import spatial_norm_plain

    start = torch.randn(2, 12, 9, 9, generator=torch.Generator().manual_seed(4)) * 5
    pairs = [
        (
            lambda x: functions.norm_and_pool(x, (4, 4), (3, 2), 2, 5, 0.01, 2.0, relu=True),
            lambda x: F.max_pool2d(lrn_plain(x.relu(), 5, 0.01, 0.75, 2.0, 2), 3, 2),
        ),
        (
            lambda x: functions.norm_and_pool(x, (9, 9), (1, 1), 2, 5, 0.01, 2.0, relu=False),
            lambda x: lrn_plain(x, 5, 0.01, 0.75, 2.0, 2),
        ),
        (lambda x: functions.spatial_norm(x, 5, 0.3), lambda x: spatial_norm_plain(x, 5, 0.3, 0.75)),
    ]
    for ours, plain in pairs:
        x, exact = start.clone().to(device).requires_grad_(), start.double().requires_grad_()
        y, wanted = ours(x), plain(exact)
        torch.testing.assert_close(y.detach().cpu().double(), wanted.detach(), rtol=1e-5, atol=1e-5)
        g = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(5))
        y.backward(g.to(device))
        wanted.backward(g.double())
        torch.testing.assert_close(x.grad.cpu().double(), exact.grad, rtol=1e-5, atol=1e-5)  # type: ignore[union-attr]
