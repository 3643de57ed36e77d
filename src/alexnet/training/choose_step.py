"""Which implementation of a training step runs here: `step.train_step`, or a CUDA graph of fused kernels."""

import sys
from collections.abc import Callable

from alexnet.data.loader import TrainingBatch
from alexnet.model import cuda
from alexnet.training.ranks import Ranks
from alexnet.training.state import Setup, TrainState
from alexnet.training.step import Metrics, train_step

Step = Callable[[TrainState, TrainingBatch, Setup], Metrics]


def choose_step(state: TrainState, setup: Setup, here: Ranks) -> Step:
    """The fastest implementation for this device. On a GPU that gets the plain one, a line on stderr says why."""
    if setup.device.type != "cuda":
        return train_step
    if (reason := why_plain(setup, here)) is not None:
        print(f"Training runs on PyTorch's own operations, without the fused kernels: {reason}.", file=sys.stderr)
        return train_step
    from alexnet.training.cuda_step import CudaStep  # imports Triton

    return CudaStep(state, setup)


def why_plain(setup: Setup, here: Ranks) -> str | None:
    """What stands in the way of a CUDA graph of fused kernels, in words; None where it can be used."""
    if here.count > 1:
        return "several processes share the work"
    if setup.config.compile:
        return "--compile asks for torch.compile"
    return cuda.why_unusable(setup.device)
