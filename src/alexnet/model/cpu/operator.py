"""Operators of our own, which `torch.compile` and autograd know as they know PyTorch's."""

from collections.abc import Callable
from typing import Any

import torch


class Operator:
    """A function of tensors on the CPU as the operator `name` ("alexnet::lrn"), its schema taken from its types.

    As `torch.library.custom_op`, whose operators import torch's compiler when they are first called: 0.7 to 1.0
    seconds, of which nobody has any use who asks for the labels of one image.
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
        """A decorator of what gives results of the right shape without computing them."""
        torch.library.register_fake(self.name, function)
        return function

    def register_autograd(self, backward: Callable[..., Any], *, setup_context: Callable[..., Any]) -> None:
        """As `torch.library.register_autograd`."""
        torch.library.register_autograd(self.name, backward, setup_context=setup_context)


def operator(name: str) -> Callable[[Callable[..., Any]], Operator]:
    """A decorator that makes an `Operator`."""
    return lambda function: Operator(name, function)
