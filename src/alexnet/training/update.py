"""The update of the paper (section 5): momentum, with the learning rate inside the velocity.

    v <- momentum * v - weight_decay * lr * w - lr * gradient
    w <- w + v

`torch.optim.SGD` multiplies by the learning rate outside the velocity: when the learning rate drops, the velocity
gathered so far shrinks with it, while here it keeps its size. The original program uses the same rule, with twice the
learning rate and no weight decay for biases (docs/specification.md, "The update").
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from alexnet.config import OptimConfig
from alexnet.model.linear import deferred, momentum_update_


def _undecorated(method: Any) -> Any:
    """A method without its decorator, which imports PyTorch's compiler: a second at the start of every training."""
    return getattr(method, "__wrapped__", method)


_zero_grad = _undecorated(torch.optim.Optimizer.zero_grad)


class MomentumSGD(torch.optim.Optimizer):
    """The rule above. A parameter whose learning rate is 0 is frozen: no weight decay, no coasting.

    `parameters` are a module's `named_parameters()`, or parameters without names, which count as weights of no layer.
    The gradient is the mean over the minibatch, deferred or not (`alexnet.model.linear.defer_weight_gradients`). The
    state of each parameter is its `velocity`, of the parameter's shape.
    """

    def __init__(self, parameters: Iterable[nn.Parameter] | Iterable[tuple[str, nn.Parameter]], config: OptimConfig):
        groups = []
        for each in parameters:
            name, w = each if isinstance(each, tuple) else ("", each)
            layer, _, kind = name.rpartition(".")
            decays = ("bias" if kind == "bias" else layer) not in config.no_weight_decay
            factor = config.bias_lr_factor if kind == "bias" else 1.0
            groups.append(
                {
                    "params": [w],
                    "layer": layer,
                    "lr_factor": factor,
                    "lr": config.lr * factor,
                    "weight_decay": config.weight_decay if decays else 0.0,
                }
            )
        super().__init__(groups, {"momentum": config.momentum})

    add_param_group = _undecorated(torch.optim.Optimizer.add_param_group)

    def set_learning_rates(self, learning_rate: Callable[[str], float]) -> None:
        """Set the learning rate of each layer, by the layer's name; biases get it times their factor."""
        for group in self.param_groups:
            group["lr"] = learning_rate(group["layer"]) * group["lr_factor"]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            if group["lr"] == 0:
                continue
            for w in group["params"]:
                if w.grad is None and not deferred(w):
                    continue
                state = self.state[w]
                if not state:
                    state["velocity"] = torch.zeros_like(w)
                momentum_update_(w, state["velocity"], group["lr"], group["momentum"], group["weight_decay"])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As `torch.optim.Optimizer.zero_grad`; deferred gradients are always deleted."""
        _zero_grad(self, set_to_none)
        for group in self.param_groups:
            for w in group["params"]:
                if deferred(w):
                    del w.deferred
