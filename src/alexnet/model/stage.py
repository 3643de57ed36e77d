"""ReLU, normalisation and overlapping pooling after conv1 and conv2 (section 3.5 of the paper), in one pass.

The original program normalises conv1's output before its ReLU, and has another stage between normalisation and pooling
after conv2. There, two of the three are one pass.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.modules import module as nn_module

from alexnet.model import cuda, pooling
from alexnet.model.cpu import stage as cpu
from alexnet.model.lrn import LocalResponseNorm, local_response_norm
from alexnet.model.pooling import MaxPool2d


def relu_norm_pool(x: Tensor, relu: nn.Module, norm: nn.Module, pool: nn.Module) -> Tensor:
    """pool(norm(relu(x))) of a convolution's output [B, C, H, W], in one pass where a kernel can and no hook is set."""
    stages = [relu, norm, pool]
    while stages:
        x, count = together(x, stages)
        stages = stages[count:]
    return x


def together(x: Tensor, stages: Sequence[nn.Module]) -> tuple[Tensor, int]:
    """Applies the first stages to x [B, C, H, W]; returns the output, and how many stages it includes.

    As many as `fusible` says are one pass, otherwise the first alone.
    """
    count = fusible(x, stages)
    if count == 1:
        return stages[0](x), 1
    norm, pool = _norm_and_pool(stages[:count])
    relu = isinstance(stages[0], nn.ReLU)
    if pool is None:
        return local_response_norm(x, norm.size, norm.alpha, norm.beta, norm.k, norm.groups, relu), count
    window = pool.kernel_size, pool.stride
    out_size = [pooling.output_size(n, *window, pool.ceil_mode) for n in x.shape[2:]]
    if cuda.takes(x):
        from alexnet.model.cuda import functions  # imports Triton

        return functions.norm_and_pool(x, out_size, window, norm.groups, norm.size, norm.alpha, norm.k, relu), count
    return cpu.norm_and_pool(x, out_size, window, norm.groups, norm.size, norm.alpha, norm.k, relu), count


PATTERNS = (nn.ReLU, LocalResponseNorm, MaxPool2d), (LocalResponseNorm, MaxPool2d), (nn.ReLU, LocalResponseNorm)
"""The stages that can be one pass."""


def fusible(x: Tensor, stages: Sequence[nn.Module]) -> int:
    """How many of the first of `stages` one kernel can compute: those of a pattern without hooks; otherwise 1."""
    if not isinstance(x, Tensor) or x.dim() != 4:
        return 1
    for pattern in PATTERNS:
        chosen = stages[: len(pattern)]
        if tuple(type(stage) for stage in chosen) == pattern and not any(watched(stage) for stage in chosen):
            norm, pool = _norm_and_pool(chosen)
            window = None if pool is None else (pool.kernel_size, pool.stride)
            usual = norm.beta == 0.75 and norm.size in cuda.NORM_SIZES and max(window or (1,)) <= cuda.POOL
            on_gpu = usual and cuda.takes(x)
            if x.shape[1] % norm.groups == 0 and (on_gpu or cpu.takes(x, norm.size, norm.beta, window)):
                return len(pattern)
    return 1


def _norm_and_pool(stages: Sequence[nn.Module]) -> tuple[LocalResponseNorm, MaxPool2d | None]:
    """The normalisation, and the pooling if any, of stages that follow a pattern."""
    norm, *pool = stages[1:] if isinstance(stages[0], nn.ReLU) else stages
    assert isinstance(norm, LocalResponseNorm)
    if not pool:
        return norm, None
    assert isinstance(pool[0], MaxPool2d)
    return norm, pool[0]


_HOOKS = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")


def watched(stage: nn.Module) -> bool:
    """Whether a hook is set that sees the input or output of this stage."""
    return any(getattr(stage, f"_{name}") or getattr(nn_module, f"_global_{name}") for name in _HOOKS)
