"""Custom operators that `torch.compile` and autograd treat like PyTorch's own."""

from collections.abc import Callable
from typing import Any, List  # noqa: UP035  # as below

import torch
from torch import Tensor, nn

# PyTorch 2.6 accepts no other names of these in the schema of an operator.
Integers = List[int]  # noqa: UP006
Tensors = List[Tensor]  # noqa: UP006


class Operator:
    """A function of CPU tensors as the operator `name` ("alexnet::lrn"); its schema comes from the type annotations.

    Like `torch.library.custom_op`, whose operators import torch's compiler at their first call. That takes 0.7 to 1.0
    seconds, too long for a command that classifies one image.

    Where nobody looks on (`_seen`), a call does not go through torch's dispatcher, which takes a tenth of a millisecond
    with its gradient: as long as a small layer itself.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name, self._function = name, function
        self._differentiable: type[torch.autograd.Function] | None = None
        torch.library.define(name, torch.library.infer_schema(function, mutates_args=()))
        torch.library.impl(name, "cpu", function)
        namespace, _, short = name.partition("::")
        self._packet = getattr(getattr(torch.ops, namespace), short)

    def __call__(self, *arguments: Any) -> Any:
        if _seen(arguments):
            return self._packet(*arguments)
        if self._differentiable is not None and torch.is_grad_enabled():
            return self._differentiable.apply(*arguments)
        return self._function(*arguments)

    def register_fake(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorates a function that returns results of the right shape and layout without computing them."""
        torch.library.register_fake(self.name, function)
        return function

    def register_autograd(self, backward: Callable[..., Any], *, setup_context: Callable[..., Any]) -> None:
        """Like `torch.library.register_autograd`. A second derivative is refused: the kernels have none."""
        backward, function = differentiable_once(backward, self.name), self._function
        torch.library.register_autograd(self.name, backward, setup_context=setup_context)

        def forward(ctx: Any, *inputs: Any) -> Any:
            output = function(*inputs)
            setup_context(ctx, inputs, output)
            return output

        methods = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
        self._differentiable = type(self.name.partition("::")[2], (torch.autograd.Function,), methods)


def _seen(arguments: tuple[Any, ...]) -> bool:
    """Whether someone has to see a call as an operator: torch.compile, `torch.func`, a mode, a subclass of Tensor."""
    return (
        torch.compiler.is_compiling()
        or torch._C._functorch.maybe_current_level() is not None  # type: ignore[attr-defined]
        or torch._C._len_torch_dispatch_stack() > 0
        or any(isinstance(each, Tensor) and type(each) not in (Tensor, nn.Parameter) for each in arguments)
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
