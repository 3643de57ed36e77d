"""Custom operators that `torch.compile` and autograd treat like PyTorch's own."""

from collections.abc import Callable
from typing import Any, List  # noqa: UP035  # as below

import torch
from torch import Tensor

# PyTorch 2.6 accepts no other names of these in the schema of an operator.
Integers = List[int]  # noqa: UP006
Tensors = List[Tensor]  # noqa: UP006


class Operator:
    """A function of CPU tensors as the operator `name` ("alexnet::lrn"); its schema comes from the type annotations.

    Like `torch.library.custom_op`, whose operators import torch's compiler at their first call. That takes 0.7 to 1.0
    seconds, too long for a command that classifies one image.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        torch.library.define(name, torch.library.infer_schema(function, mutates_args=()))
        torch.library.impl(name, "cpu", function)
        namespace, _, short = name.partition("::")
        self._packet = getattr(getattr(torch.ops, namespace), short)

    def __call__(self, *arguments: Any) -> Any:
        return self._packet(*arguments)

    def register_fake(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorates a function that returns results of the right shape and layout without computing them."""
        torch.library.register_fake(self.name, function)
        return function

    def register_autograd(self, backward: Callable[..., Any], *, setup_context: Callable[..., Any]) -> None:
        """Like `torch.library.register_autograd`. A second derivative is refused: the kernels have none."""
        torch.library.register_autograd(
            self.name, differentiable_once(backward, self.name), setup_context=setup_context
        )


def differentiable_once(backward: Callable[..., Any], name: str) -> Callable[..., Any]:
    """`backward` of the operator `name`, which raises RuntimeError where its result is to be differentiated again.

    PyTorch would take the kernels' results for constants and give wrong second derivatives. `torch.func` asks for
    differentiable gradients always, so there PyTorch's own warning has to do.
    """

    def once(ctx: Any, *g: Any) -> Any:
        if torch.is_grad_enabled() and torch._C._functorch.maybe_current_level() is None:  # type: ignore[attr-defined]
            raise RuntimeError(
                f"{name} has no second derivative (create_graph=True). In float64 PyTorch's own operations compute it: "
                "convert the network and its input with .double()."
            )
        return backward(ctx, *g)

    return once


def operator(name: str) -> Callable[[Callable[..., Any]], Operator]:
    """Decorates a function and makes it an `Operator`."""
    return lambda function: Operator(name, function)
