"""The update rule of the paper (section 5): momentum with the learning rate inside the velocity.

    v <- momentum * v - weight_decay * lr * w - lr * gradient
    w <- w + v

`torch.optim.SGD` multiplies by the learning rate outside the velocity: after a drop of the rate its old velocity
shrinks too, here it keeps its size. The original program's rule is the same with twice the rate and no decay for
biases (`OptimConfig.bias_lr_factor`, `no_weight_decay`).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from alexnet.config import OptimConfig
from alexnet.model.linear import factors, momentum_update_


class MomentumSGD(torch.optim.Optimizer):
    """The rule above; a parameter whose rate is 0 is frozen: no decay, no coasting.

    `parameters` are a module's `named_parameters()`, or parameters without names, which are then all weights of no
    layer. The gradient is the mean over the minibatch, whole or in factors (`alexnet.model.linear.keep_factors`).
    State per parameter: `velocity`, of the parameter's shape.
    """

    def __init__(self, parameters: Iterable[nn.Parameter] | Iterable[tuple[str, nn.Parameter]], config: OptimConfig):
        groups = []
        for each in parameters:
            name, w = each if isinstance(each, tuple) else ("", each)
            layer, _, kind = name.rpartition(".")
            decayed = ("bias" if kind == "bias" else layer) not in config.no_weight_decay
            factor = config.bias_lr_factor if kind == "bias" else 1.0
            groups.append(
                {
                    "params": [w],
                    "layer": layer,
                    "factor": factor,
                    "lr": config.lr * factor,
                    "weight_decay": config.weight_decay if decayed else 0.0,
                }
            )
        super().__init__(groups, {"momentum": config.momentum})

    def set_rates(self, rate: Callable[[str], float]) -> None:
        """The learning rate of each layer from now on, by its name; biases have their factor on it."""
        for group in self.param_groups:
            group["lr"] = rate(group["layer"]) * group["factor"]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            if group["lr"] == 0:
                continue
            for w in group["params"]:
                if w.grad is None and not factors(w):
                    continue
                state = self.state[w]
                if not state:
                    state["velocity"] = torch.zeros_like(w)
                momentum_update_(w, state["velocity"], group["lr"], group["momentum"], group["weight_decay"])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As `torch.optim.Optimizer.zero_grad`; gradients that were kept as factors go in any case."""
        super().zero_grad(set_to_none)
        for group in self.param_groups:
            for w in group["params"]:
                if factors(w):
                    del w.factors
