"""Results of a function together with its gradients."""

import torch
from torch import Tensor


def with_gradients(function, *leaves: Tensor) -> list[Tensor]:
    """The output of function(*leaves), and the gradients of the leaves for a fixed random gradient of the output."""
    leaves = tuple(leaf.detach().clone(memory_format=torch.preserve_format).requires_grad_() for leaf in leaves)
    y = function(*leaves)
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, leaves, g)]
