"""Fully connected layers: `torch.nn.Linear`, by the fastest implementation (on a CPU: `cpu/linear.py`).

The gradient of their weights, 96 % of the network's, is a product of two small matrices: g' x, with x [B, in] and g
[B, out], the gradient of the output. A training loop can defer it (`defer_weight_gradients`): the backward pass leaves
x and g, and the update multiplies them while it changes the weights. The gradient itself is then never in memory.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.model.cpu import kernels
from alexnet.model.cpu import linear as cpu


class Linear(nn.Linear):
    """`torch.nn.Linear`: [B, in] to [B, out]."""

    defers_weight_gradient = False
    """Whether backward passes leave `weight.deferred` instead of `weight.grad`; see `defer_weight_gradients`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias, self.defers_weight_gradient and torch.is_grad_enabled())


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, defer_weight_gradient: bool = False) -> Tensor:
    """`F.linear` by the fastest implementation; `cpu.linear.implementation` says which that is.

    `defer_weight_gradient`: defer the gradient of `weight` where a kernel would compute it.
    """
    if cpu.implementation(x, weight, bias) == "pytorch":
        return F.linear(x, weight, bias)
    if defer_weight_gradient and cpu.gradient_implementation(x, kernels.computed_in(x)) == "kernel":
        return cpu.linear_deferring_gradient(x, weight, bias)
    return cpu.linear(x, weight, bias)


torch.fx.wrap("linear")  # one node in a traced network


def defer_weight_gradients(network: nn.Module) -> None:
    """From now on backward passes defer the gradients of the weights of every `Linear` where they can.

    Such a weight has no `grad` but `deferred`: pairs of x [B, in] and g [B, out] whose products g' x add up to the
    gradient. `MomentumSGD` takes both forms, to the same numbers, and clears both; `gradient` computes the whole
    gradient. For training loops that look at no `grad`, share none with other processes and do not use torch.compile.
    """
    for module in network.modules():
        if isinstance(module, Linear):
            module.defers_weight_gradient = True


def deferred(weight: Tensor) -> list[tuple[Tensor, Tensor]]:
    """What backward passes have deferred of the gradient of `weight`: pairs (x, g)."""
    return getattr(weight, "deferred", [])


@torch.no_grad()
def gradient(weight: Tensor) -> Tensor | None:
    """The whole gradient of a parameter, deferred or not; None without a backward pass."""
    parts = [] if weight.grad is None else [weight.grad]
    parts += [cpu.weight_gradient(x, weight, g) for x, g in deferred(weight)]
    return sum(parts[1:], parts[0]) if parts else None


@torch.no_grad()
def momentum_update_(w: Tensor, v: Tensor, learning_rate: float, momentum: float, weight_decay: float) -> None:
    """`kernels.momentum_update_` of a parameter and its velocity with its gradient, deferred or not; without: nothing.

    A gradient deferred by one backward pass, the usual case, is computed and applied in one pass over memory.
    """
    rates = learning_rate, momentum, weight_decay
    if w.grad is None and len(deferred(w)) == 1 and w.is_contiguous() and v.is_contiguous():
        cpu.weight_gradient_update_(w, v, *deferred(w)[0], *rates)
    elif (whole := gradient(w)) is not None:
        kernels.momentum_update_(w, v, whole, *rates)
