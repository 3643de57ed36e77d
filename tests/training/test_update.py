"""The update, against a float64 loop and torch.optim.SGD."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from alexnet.config import OptimConfig
from alexnet.training.update import MomentumSGD

LEARNING_RATES = (0.1, 0.1, 0.01, 0.01, 0.01, 0.1)


def gradient(step: int) -> torch.Tensor:
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(step), dtype=torch.float64)


def run(learning_rates: tuple[float, ...]) -> tuple[nn.Parameter, MomentumSGD]:
    w = nn.Parameter(torch.ones(7, 5, dtype=torch.float64))
    optimizer = MomentumSGD([w], OptimConfig(weight_decay=0.05))
    for step, lr in enumerate(learning_rates):
        optimizer.param_groups[0]["lr"] = lr
        w.grad = gradient(step)
        optimizer.step()
    return w, optimizer


def test_it_is_the_papers_rule():
    w, v = np.ones((7, 5)), np.zeros((7, 5))
    for step, lr in enumerate(LEARNING_RATES):
        v = 0.9 * v - 0.05 * lr * w - lr * gradient(step).numpy()
        w = w + v
    ours, optimizer = run(LEARNING_RATES)
    np.testing.assert_allclose(ours.detach().numpy(), w, rtol=1e-12)
    np.testing.assert_allclose(optimizer.state[ours]["velocity"].numpy(), v, rtol=1e-12)


def test_it_is_torchs_sgd_with_its_buffer_rescaled_at_each_drop():
    w = nn.Parameter(torch.ones(7, 5, dtype=torch.float64))
    sgd = torch.optim.SGD([w], lr=LEARNING_RATES[0], momentum=0.9, weight_decay=0.05)
    before = LEARNING_RATES[0]
    for step, lr in enumerate(LEARNING_RATES):
        if lr != before:
            sgd.state[w]["momentum_buffer"] *= before / lr
        sgd.param_groups[0]["lr"] = before = lr
        w.grad = gradient(step)
        sgd.step()
    torch.testing.assert_close(run(LEARNING_RATES)[0].detach(), w.detach())


def test_a_layer_with_learning_rate_zero_is_frozen():
    moving, _ = run(LEARNING_RATES[:3])
    frozen, optimizer = run((*LEARNING_RATES[:3], 0.0, 0.0))
    assert torch.equal(moving, frozen)
    assert optimizer.state[frozen]["velocity"].any()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_float32_weights_in_any_layout_follow_float64(memory_format):
    layer = nn.Conv2d(20, 30, 3).to(memory_format=memory_format)  # type: ignore[call-overload]
    exact = copy.deepcopy(layer).double()
    for network in (layer, exact):
        optimizer = MomentumSGD(network.parameters(), OptimConfig(lr=0.1))
        for step in range(4):
            random = torch.Generator().manual_seed(step)
            for w in network.parameters():
                w.grad = torch.randn(w.shape, generator=random).to(w)
            optimizer.step()
    for ours, theirs in zip(layer.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-6)


def test_biases_and_layers_without_weight_decay_follow_their_own_rule():
    """The original program: twice the learning rate and no weight decay for biases; here none in one layer too."""
    network = nn.ModuleDict({"conv1": nn.Conv2d(2, 3, 2), "fc8": nn.Linear(3, 2)}).double()
    config = OptimConfig(lr=0.1, weight_decay=0.05, bias_lr_factor=2, no_weight_decay=("bias", "conv1"))
    optimizer = MomentumSGD(network.named_parameters(), config)
    learning_rates = {"conv1": 0.1, "fc8": 0.01}
    start = {name: w.detach().clone() for name, w in network.named_parameters()}
    v = {name: torch.zeros_like(w) for name, w in start.items()}
    w = dict(start)
    for step in range(3):
        optimizer.set_learning_rates(lambda layer: learning_rates[layer])
        for i, (name, parameter) in enumerate(network.named_parameters()):
            g = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(10 * step + i)).double()
            parameter.grad = g
            lr = learning_rates[name.split(".")[0]] * (2 if name.endswith("bias") else 1)
            v[name] = 0.9 * v[name] - (0.05 if name == "fc8.weight" else 0) * lr * w[name] - lr * g
            w[name] = w[name] + v[name]
        optimizer.step()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.detach(), w[name], rtol=1e-12, atol=0)
        assert not torch.equal(parameter.detach(), start[name])


def test_an_update_needs_no_compiler():
    """Methods of torch.optim.Optimizer import it at their first call, which takes a second."""
    code = """
import sys, torch
from alexnet.config import OptimConfig
from alexnet.training.update import MomentumSGD
w = torch.nn.Parameter(torch.ones(2))
optimizer = MomentumSGD([w], OptimConfig())
w.grad = torch.ones(2)
optimizer.step()
optimizer.zero_grad()
print(w.grad, "torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None False\n"
