"""Fully connected layers: `torch.nn`'s, in the form that is fastest on a CPU.

- In float32 by oneDNN, where PyTorch would ask MKL: two to three times faster on AMD. The gradients by kernels of our
  own where the processor has vectors of 512 bits.
- In bfloat16 by kernels of our own where the processor multiplies pairs: they round the weights in cache, and the
  gradient of the weights comes in float32, unrounded.
- In training the gradient of the weights need never be in memory: `keep_factors` leaves it as its two factors, which
  the update multiplies in the one pass in which it changes the weights. They are 96 % of the network's.

Values and gradients are those of `torch.nn` but for the order of additions.

torch.compile keeps what it compiled under the operators' names and does not see their gradients: an operator whose
gradient takes other operators than before needs another name.
"""

from typing import List  # noqa: UP035  # as below

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.model.cpu import kernels
from alexnet.model.cpu.operator import operator

# PyTorch 2.6 takes the schema of an operator from no other name of this.
Tensors = List[Tensor]  # noqa: UP006

FEWEST = 16
"""Images for which products of fully connected layers are made by `native/full.h`: fewer do not fill its vectors."""


@operator("alexnet::linear")
def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    x, weight = (t if t.t().is_contiguous() else t.contiguous() for t in (x, weight))
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@_linear.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])


def _keep_linear(ctx, inputs, output) -> None:
    x, weight, _ = inputs
    ctx.save_for_backward(x, weight)


def _linear_backward(ctx, g: Tensor):
    x, weight = ctx.saved_tensors
    of_x, of_weight, of_bias = ctx.needs_input_grad
    if len(x) >= FEWEST and kernels.usable(x) and kernels.has_vectors():
        return _full_backward(ctx, g)
    return (
        _linear(g, weight.t(), None) if of_x else None,
        _linear(g.t(), x.t(), None) if of_weight else None,
        g.sum(0) if of_bias else None,
    )


_linear.register_autograd(_linear_backward, setup_context=_keep_linear)


@operator("alexnet::full")
def _full(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    x, weight = x.contiguous(), weight.contiguous()
    y = x.new_empty(len(x), len(weight))
    kernels.call("linear", x.dtype, x, weight, bias, y, *x.shape, len(weight))
    return y


@_full.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])


@operator("alexnet::full_gradient")
def _full_gradient(x: Tensor, weight: Tensor, g: Tensor, of_x: bool, of_weight: bool) -> Tensors:
    x, weight, g = x.contiguous(), weight.contiguous(), g.contiguous()
    sizes = *x.shape, len(weight)
    grads = _empty_full_gradient(x, weight, g, of_x, of_weight)
    if of_x:
        kernels.call("linear_gradient_input", g.dtype, g, weight, grads[0], *sizes)
    if of_weight:
        kernels.call("linear_gradient_weight", g.dtype, x, g, grads[-1], *sizes)
    return grads


@_full_gradient.register_fake
def _empty_full_gradient(x: Tensor, weight: Tensor, g: Tensor, of_x: bool, of_weight: bool) -> Tensors:
    return [each.new_empty(each.shape) for each, wanted in ((x, of_x), (weight, of_weight)) if wanted]


def _full_backward(ctx, g: Tensor):
    x, weight = ctx.saved_tensors
    of_x, of_weight, of_bias = ctx.needs_input_grad
    grads = _full_gradient(x, weight, g, of_x, of_weight)
    return grads[0] if of_x else None, grads[-1] if of_weight else None, g.float().sum(0) if of_bias else None


_full.register_autograd(_full_backward, setup_context=_keep_linear)


class _InFactors(torch.autograd.Function):
    """A fully connected layer whose backward pass adds to `weight.factors` what `weight.grad` is the product of."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return (_full if x.dtype == torch.bfloat16 else _linear)(x, weight, bias)

    @staticmethod
    def backward(ctx, g: Tensor):
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        if of_weight:
            weight.factors = [*factors(weight), (x, g)]
        dx = _full_gradient(x, weight, g, True, False)[0] if of_x else None
        return dx, None, g.float().sum(0) if of_bias else None


class Linear(nn.Linear):
    """`torch.nn.Linear`; see `keep_factors`."""

    keeps_factors = False

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias, in_factors=self.keeps_factors and torch.is_grad_enabled())


def keep_factors(network: nn.Module) -> None:
    """From now on a backward pass leaves the gradients of the weights of every `Linear` as factors where it can.

    Such a weight has no `grad` but `factors`: pairs of x [B, in] and g [B, out], whose products g' x add up to the
    gradient. `MomentumSGD` takes either, to the same numbers, and clears both; `gradient` makes the gradient of it.
    For a loop that looks at no `grad` and shares none with other processes, without torch.compile.
    """
    for module in network.modules():
        if isinstance(module, Linear):
            module.keeps_factors = True


def factors(weight: Tensor) -> list[tuple[Tensor, Tensor]]:
    """What a backward pass has left of the gradient of `weight` as factors."""
    return getattr(weight, "factors", [])


@torch.no_grad()
def gradient(weight: Tensor) -> Tensor | None:
    """The whole gradient of a parameter, whichever form a backward pass has left it in; None where there is none."""
    parts = [] if weight.grad is None else [weight.grad]
    parts += [_full_gradient(x, weight, g, False, True)[0] for x, g in factors(weight)]
    return sum(parts[1:], parts[0]) if parts else None


@torch.no_grad()
def momentum_update_(w: Tensor, v: Tensor, learning_rate: float, momentum: float, weight_decay: float) -> None:
    """`kernels.momentum_update_` with the gradient that a backward pass has left of `w`, where it has left one."""
    left = factors(w)
    if w.grad is None and len(left) == 1 and w.is_contiguous() and v.is_contiguous():
        x, g = (each.contiguous() for each in left[0])
        assert v.shape == w.shape == (g.shape[1], x.shape[1]) and w.dtype == v.dtype == torch.float32
        rates = learning_rate, momentum, weight_decay * learning_rate
        kernels.call("linear_update", x.dtype, x, g, w, v, *rates, *x.shape, len(w))
        torch.autograd.graph.increment_version([w, v])
    elif (whole := gradient(w)) is not None:
        kernels.momentum_update_(w, v, whole, learning_rate, momentum, weight_decay)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, in_factors: bool = False) -> Tensor:
    """`F.linear` by whichever form is fastest here; `in_factors` leaves the gradient of `weight` as factors, where the
    kernels multiply them."""
    fits = x.dim() == 2 and x.shape[1] == weight.shape[1] and x.numel() > 0 and weight.dtype == torch.float32
    dtype, many = kernels.computed_in(x), len(x) >= FEWEST
    if fits and dtype == torch.float32 and kernels.has_onednn(x):
        in_factors = in_factors and many and kernels.usable(x) and kernels.has_vectors()
        return (_InFactors.apply if in_factors else _linear)(x, weight, bias)
    if fits and dtype == torch.bfloat16 and many and kernels.usable(x) and kernels.has_pairs():
        return (_InFactors.apply if in_factors else _full)(x.to(dtype), weight, bias)
    return F.linear(x, weight, bias)


torch.fx.wrap("linear")
