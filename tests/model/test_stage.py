"""ReLU, normalisation and pooling in one pass: what the three stages give one after the other."""

import functools
import itertools

import pytest
import torch
from torch import Tensor, nn

from alexnet.model.cpu import kernels
from alexnet.model.lrn import LocalResponseNorm
from alexnet.model.pooling import MaxPool2d
from alexnet.model.stage import relu_norm_pool, together

needs_kernels = pytest.mark.skipif(not kernels.available(), reason="no compiled kernels here")


class Stage(nn.Module):
    def __init__(self, groups: int = 2, size: int = 5, kernel_size: int = 3, stride: int = 2) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.norm = LocalResponseNorm(size, groups=groups)
        self.pool = MaxPool2d(kernel_size, stride)

    def forward(self, x: Tensor) -> Tensor:
        return relu_norm_pool(x, self.relu, self.norm, self.pool)

    def apart(self, x: Tensor) -> Tensor:
        return self.pool(self.norm(self.relu(x)))


def images(channels: int, height: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(channels)
    x = torch.randn(3, channels, height, width, generator=generator) * 40
    x[0, :, 1, 1] = 0  # where the gradient of ReLU is 0
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def with_gradient(function, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    y = function(x)
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return y.detach(), torch.autograd.grad(y, x, g)[0]


@needs_kernels
@pytest.mark.parametrize(("channels", "groups", "size"), [(96, 2, 5), (34, 2, 5), (5, 1, 5), (35, 1, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_the_three_stages(channels: int, groups: int, size: int, dtype: torch.dtype):
    windows = [(3, 2), (2, 2), (3, 1), (2, 3)]
    for (kernel_size, stride), (height, width) in itertools.product(windows, [(55, 4), (19, 20), (3, 9)]):
        stage = Stage(groups, size, kernel_size, stride)
        x = images(channels, height, width, dtype)
        assert "stage" in type(stage(x.requires_grad_()).grad_fn).__name__
        y, dx = with_gradient(stage, x)
        expected, slope = with_gradient(stage.apart, x)
        assert torch.equal(y, expected)
        if dtype == torch.float32:
            torch.testing.assert_close(dx, slope, rtol=1e-6, atol=1e-6)
        else:  # apart, the gradients between the stages are rounded too
            torch.testing.assert_close(dx, slope, rtol=3 * 2**-8, atol=1e-2)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("channels", "groups", "size"), [(96, 2, 5), (34, 2, 5), (35, 1, 3)])
@pytest.mark.parametrize("names", [["norm", "pool"], ["relu", "norm"]])
def test_two_of_the_three_equal_the_two(
    channels: int, groups: int, size: int, dtype: torch.dtype, names: list[str]
) -> None:
    stage = Stage(groups, size)
    two = [stage.get_submodule(name) for name in names]
    x = images(channels, 19, 20, dtype)
    assert together(x, [*two, nn.Tanh()])[1] == 2
    y, dx = with_gradient(lambda x: together(x, two)[0], x)
    expected, slope = with_gradient(lambda x: two[1](two[0](x)), x)
    assert torch.equal(y, expected)
    tolerance = 1e-6 if dtype == torch.float32 else 3 * 2**-8
    torch.testing.assert_close(dx, slope, rtol=tolerance, atol=max(tolerance, 1e-6))


def test_other_orders_are_one_stage_at_a_time() -> None:
    stage, x = Stage(), images(20, 9, 9)
    for first, following in ((stage.pool, stage.norm), (stage.relu, stage.pool), (nn.Tanh(), stage.norm)):
        y, count = together(x, [first, following])
        assert count == 1
        assert torch.equal(y, first(x))


def test_hooks_see_every_stage_and_its_gradient():
    stage = Stage()
    x = images(20, 9, 9).requires_grad_()
    seen = {}
    for name, part in stage.named_children():
        part.register_forward_hook(lambda m, i, o, name=name: seen.update({name: o}))
    y = stage(x)
    relu = x.relu()
    assert torch.equal(seen["relu"], relu)
    assert torch.equal(seen["norm"], stage.norm(relu))
    assert torch.equal(y, stage.apart(x))


@pytest.mark.parametrize("kind", ["forward_hook", "forward_pre_hook", "full_backward_hook", "full_backward_pre_hook"])
@pytest.mark.parametrize("name", ["relu", "norm", "pool"])
def test_every_kind_of_hook_is_called(kind: str, name: str):
    stage = Stage()
    called = []
    getattr(stage.get_submodule(name), f"register_{kind}")(lambda *_: called.append(name))
    with_gradient(stage, images(20, 9, 9))
    assert called == [name]


def test_hooks_on_all_modules_are_called():
    called = []
    handle = nn.modules.module.register_module_forward_hook(lambda m, i, o: called.append(type(m).__name__))
    try:
        Stage()(images(20, 9, 9))
    finally:
        handle.remove()
    assert called == ["ReLU", "LocalResponseNorm", "MaxPool2d", "Stage"]


def test_other_modules_in_a_stage_are_called():
    class Louder(LocalResponseNorm):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    stage, x = Stage(), images(20, 9, 9)
    expected = stage(x)
    stage.norm = Louder()
    torch.testing.assert_close(stage(x), 2 * expected)


def test_compiling_and_tracing_keep_the_numbers():
    stage, x = Stage(), images(20, 9, 9)
    expected, slope = with_gradient(stage, x)
    traced = torch.fx.symbolic_trace(stage)
    assert {"norm", "pool"} <= {node.name.split("_")[-1] for node in traced.graph.nodes}
    for function in (torch.compile(stage, backend="aot_eager", fullgraph=True), traced):
        y, dx = with_gradient(function, x)
        # torch 2.6 compiles the plain operations instead of the kernels.
        exact = 0 if hasattr(torch.compiler, "is_exporting") else 1e-5
        torch.testing.assert_close(y, expected, rtol=exact, atol=exact)
        torch.testing.assert_close(dx, slope, rtol=max(exact, 1e-6), atol=max(exact, 1e-6))
    torch._dynamo.reset()


@needs_kernels
def test_operator_keeps_torchs_rules():
    rules = ("test_schema", "test_autograd_registration", "test_faketensor")
    check = functools.partial(torch.library.opcheck, test_utils=rules)
    x = images(6, 7, 7).requires_grad_()
    check(torch.ops.alexnet.stage.default, (x, [3, 3], [3, 2], 2, 5, 1e-4, 2.0, True))
    y, index = torch.ops.alexnet.stage.default(x.detach(), [3, 3], [3, 2], 2, 5, 1e-4, 2.0, False)
    check(torch.ops.alexnet.stage_gradient.default, (x.detach(), y, index, [3, 2], 2, 5, 1e-4, 2.0, False))


def test_export_sees_plain_operations_only():
    program = torch.export.export(Stage(), (images(20, 9, 9),))
    assert "alexnet" not in str(program.graph)
