"""Operators: called directly and through torch's dispatcher, they give the same."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from alexnet.model.cpu import kernels, lrn

SETTINGS = (5, 0.3, 2.0, 2, True)

pytestmark = pytest.mark.skipif(not kernels.available(), reason="no compiled kernels here")


def test_a_direct_call_gives_the_values_and_gradients_of_the_operator():
    x = torch.randn(2, 12, 3, 5).requires_grad_()
    found, wanted = lrn._lrn(x, *SETTINGS), torch.ops.alexnet.lrn(x, *SETTINGS)
    assert torch.equal(found, wanted)
    g = torch.randn_like(found)
    assert torch.equal(*(torch.autograd.grad(y, x, g)[0] for y in (found, wanted)))
    with torch.no_grad():
        assert torch.equal(lrn._lrn(x, *SETTINGS), wanted)
        assert not lrn._lrn(x, *SETTINGS).requires_grad


def test_a_direct_call_has_no_second_derivative():
    x = torch.randn(2, 12, 3, 5).requires_grad_()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(lrn._lrn(x, *SETTINGS).sum(), x, create_graph=True)


def test_modes_see_every_operator():
    seen = []

    class Recording(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), settings=None):
            seen.append(str(function))
            return function(*arguments, **(settings or {}))

    x = torch.randn(2, 12, 3, 5).requires_grad_()
    with Recording():
        torch.autograd.grad(lrn._lrn(x, *SETTINGS).sum(), x)
    assert {"alexnet.lrn.default", "alexnet.lrn_gradient.default"} <= set(seen)
