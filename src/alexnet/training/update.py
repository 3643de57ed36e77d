"""The update rule of the paper (section 5): momentum with the learning rate inside the velocity.

    v <- momentum * v - weight_decay * lr * w - lr * gradient
    w <- w + v

`torch.optim.SGD` multiplies by the learning rate outside the velocity: after a drop of the rate its old velocity
shrinks too, here it keeps its size.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from alexnet.config import OptimConfig
from alexnet.model.kernels import momentum_update_


class MomentumSGD(torch.optim.Optimizer):
    """The rule above for `parameters`; a group whose `lr` is 0 is frozen: no decay, no coasting.

    The gradient is the mean over the minibatch. State per parameter: `velocity`, of the parameter's shape.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], config: OptimConfig) -> None:
        defaults = {"lr": config.lr, "momentum": config.momentum, "weight_decay": config.weight_decay}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            if group["lr"] == 0:
                continue
            for w in group["params"]:
                if w.grad is None:
                    continue
                state = self.state[w]
                if not state:
                    state["velocity"] = torch.zeros_like(w)
                momentum_update_(w, state["velocity"], w.grad, group["lr"], group["momentum"], group["weight_decay"])
