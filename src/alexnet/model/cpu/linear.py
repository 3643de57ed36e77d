"""Fully connected layers on a CPU: what computes each, and the operators around the C++ kernels (`linear.h`).

- Forward in float32: oneDNN. PyTorch would ask MKL, which is two to three times slower on AMD processors.
- Forward in bfloat16: a kernel, where the processor has dot products of bf16 pairs. It rounds the weights in cache.
- Gradients: kernels where there are some, else oneDNN. That of the weights is float32 and never rounded.
- Update: a kernel can compute the gradient of the weights and update them in one pass over memory.

Values and gradients are those of `F.linear` but for the order of additions.

torch.compile caches compiled graphs by the names of operators and does not look into their gradients: when a gradient
is to call other operators, give its operator another name.
"""

from typing import Literal

import torch
from torch import Tensor

from alexnet.model.cpu import kernels
from alexnet.model.cpu.operator import Tensors, operator

MIN_BATCH = 16
"""Images for which the kernels are used: fewer do not fill their vectors."""

Implementation = Literal["pytorch", "onednn", "kernel"]


def implementation(x: Tensor, weight: Tensor, bias: Tensor | None) -> Implementation:
    """What computes `F.linear(x, weight, bias)` here; "onednn" and "kernel" go with `gradient_implementation`."""
    dtype = kernels.multiplied_in(x, weight, bias)
    wide = all(t is None or t.dtype == torch.float32 for t in (weight, bias))
    if dtype is None or not wide or not is_valid(x, weight, bias):
        return "pytorch"
    if dtype == torch.float32 and kernels.has_onednn(x):
        return "onednn"
    if dtype == torch.bfloat16 and len(x) >= MIN_BATCH and kernels.usable(x) and kernels.has("linear", dtype):
        return "kernel"
    return "pytorch"


def is_valid(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the shapes fit each other, in two dimensions and with at least one image. PyTorch takes the others, or
    says what is wrong with them."""
    return (
        x.dim() == weight.dim() == 2
        and x.numel() > 0
        and weight.numel() > 0
        and x.shape[1] == weight.shape[1]
        and (bias is None or bias.shape == (len(weight),))
    )


def gradient_implementation(x: Tensor, dtype: torch.dtype) -> Literal["onednn", "kernel"]:
    """What computes the gradients of x [B, in] and of the weights, in `dtype`."""
    many = len(x) >= MIN_BATCH
    return "kernel" if many and kernels.usable(x) and kernels.has("linear_gradient_weight", dtype) else "onednn"


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear` of x [B, in], weight float32 [out, in]; only where `implementation` says something but "pytorch"."""
    return _linear(x.to(kernels.computed_in(x)), weight, bias)


def linear_deferring_gradient(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`linear` whose backward pass appends (x, g) to `weight.deferred` instead of adding g' x to `weight.grad`.

    Only where `gradient_implementation` says "kernel".
    """
    return _Deferring.apply(x.to(kernels.computed_in(x)), weight, bias)  # type: ignore[return-value]


def weight_gradient(x: Tensor, weight: Tensor, g: Tensor) -> Tensor:
    """g' x, float32 [out, in], from x [B, in] and g [B, out]."""
    return _linear_gradient(x, weight, g, False, True)[0]


def weight_gradient_update_(
    w: Tensor, v: Tensor, x: Tensor, g: Tensor, learning_rate: float, momentum: float, weight_decay: float
) -> None:
    """`kernels.momentum_update_` of w and v [out, in] with the gradient g' x, which does not go through memory.

    w and v float32, each row after row; x [B, in] and g [B, out] of a dtype with `gradient_implementation` "kernel".
    """
    assert v.shape == w.shape == (g.shape[1], x.shape[1]) and w.dtype == v.dtype == torch.float32
    assert w.is_contiguous() and v.is_contiguous()
    rates = learning_rate, momentum, weight_decay * learning_rate
    kernels.call("linear_update", x.dtype, x.contiguous(), g.contiguous(), w, v, *rates, *x.shape, len(w))
    torch.autograd.graph.increment_version([w, v])


# ---- The operators ----


@operator("alexnet::linear")
def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if x.dtype == torch.float32:
        return _by_onednn(x, weight, bias)
    x, weight = x.contiguous(), weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    y = x.new_empty(len(x), len(weight))
    kernels.call("linear", x.dtype, x, weight, bias, y, *x.shape, len(weight))
    return y


@_linear.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    x, weight = (t if t.t().is_contiguous() else t.contiguous() for t in (x, weight))
    bias = None if bias is None else bias.contiguous()
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@operator("alexnet::linear_gradient")
def _linear_gradient(x: Tensor, weight: Tensor, g: Tensor, of_x: bool, of_weight: bool) -> Tensors:
    """The gradients that are wanted, of x and of weight, in this order."""
    if gradient_implementation(x, x.dtype) == "onednn":
        of_x_only = [_by_onednn(g, weight.t(), None)] if of_x else []
        return [*of_x_only, *([_by_onednn(g.t(), x.t(), None)] if of_weight else [])]
    x, weight, g = x.contiguous(), weight.contiguous(), g.contiguous()
    sizes = *x.shape, len(weight)
    grads = _empty_linear_gradient(x, weight, g, of_x, of_weight)
    if of_x:
        kernels.call("linear_gradient_input", g.dtype, g, weight, grads[0], *sizes)
    if of_weight:
        kernels.call("linear_gradient_weight", g.dtype, x, g, grads[-1], *sizes)
    return grads


@_linear_gradient.register_fake
def _empty_linear_gradient(x: Tensor, weight: Tensor, g: Tensor, of_x: bool, of_weight: bool) -> Tensors:
    return [each.new_empty(each.shape) for each, wanted in ((x, of_x), (weight, of_weight)) if wanted]


def _save(ctx, inputs, output) -> None:
    x, weight, _ = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx, g: Tensor):
    x, weight = ctx.saved_tensors
    of_x, of_weight, of_bias = ctx.needs_input_grad
    grads = _linear_gradient(x, weight, g, of_x, of_weight)
    return grads[0] if of_x else None, grads[-1] if of_weight else None, g.float().sum(0) if of_bias else None


_linear.register_autograd(_backward, setup_context=_save)


class _Deferring(torch.autograd.Function):
    """`_linear` with the gradient of its weights deferred."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _linear(x, weight, bias)

    @staticmethod
    def backward(ctx, g: Tensor):
        assert not torch.is_grad_enabled()
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        if of_weight:
            weight.deferred = [*getattr(weight, "deferred", ()), (x, g)]
        dx = _linear_gradient(x, weight, g, True, False)[0] if of_x else None
        return dx, None, g.float().sum(0) if of_bias else None
