"""Results of a function together with its gradients, and the operators they come from."""

import torch
from torch import Tensor


def with_gradients(function, *leaves: Tensor) -> list[Tensor]:
    leaves = tuple(leaf.detach().clone(memory_format=torch.preserve_format).requires_grad_() for leaf in leaves)
    y = function(*leaves)
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, leaves, g)]


def names(y: Tensor) -> set[str]:
    """The operators that `y` comes from."""
    seen, waiting = set(), [y.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None:
            seen.add(type(node).__name__)
            waiting += [each for each, _ in node.next_functions]
    return seen
