"""`alexnet bench train` and `infer`: the network as the commands run it, beside its convolutions and GEMMs alone."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.bench import limits
from alexnet.bench.feeding import Step, feeding
from alexnet.bench.measure import alternate, forget_peak, machine, peak_memory, waiting
from alexnet.config import NetworkConfig, OptimConfig, TrainConfig
from alexnet.data.loader import TrainingBatch
from alexnet.data.store.reader import Store
from alexnet.model import cuda
from alexnet.model.cpu import kernels
from alexnet.networks import network as named
from alexnet.study.trained import TrainedAlexNet
from alexnet.training.device import choose_device, choose_dtype, precision
from alexnet.training.ranks import Ranks
from alexnet.training.state import Setup, TrainState, start
from alexnet.training.step import seed_masks, update

EPOCHS, IMAGES = 90, 1_281_167  # of the paper's training: ILSVRC-2012
DAYS_THEN = "5 to 6 days, two GTX 580"


def train(
    network: str = "paper",
    batch: int = 128,
    dtype: str = "auto",
    rounds: int = 5,
    device: str = "auto",
    store: Path | None = None,
    input_size: int | None = None,
    width: float | None = None,
) -> dict:
    """Throughput of whole training steps on one repeated batch; with a `store`, of a network with its classes, and also
    of steps that the loader feeds.

    Returns what `alexnet.bench.bench.bench` says.
    """
    config, hardware = changed(network, input_size, width), choose_device(device)
    if store:
        config = dataclasses.replace(config, classes=len(Store(store).classes))
    number_format = choose_dtype(dtype, hardware)
    if hardware.type == "cpu":
        kernels.reuse_memory()
    forget_peak(hardware)
    state = new_state(config, hardware)
    step = step_of(state, number_format)
    work, steps = repeated(step, config, batch, number_format, hardware), 1
    if hardware.type == "cuda" and cuda.why_unusable(hardware) is None:
        work, steps = cuda_steps(state, batch, number_format, hardware), STEPS_AT_ONCE
    for _ in range(2):
        work()
    peak = peak_memory(hardware)
    result = _beside_the_limit(work, config, batch, number_format, hardware, rounds, training=True, times=steps)
    seconds = EPOCHS * IMAGES / result["images_per_second"]
    return {
        "what": "train",
        "network": network,
        "input_size": config.input_size,
        "width": config.width,
        **result,
        "peak_memory_bytes": peak,
        **({} if input_size or width else {"days_for_90_epochs_of_imagenet": seconds / 86_400}),
        **(feeding(step, store, config, batch, number_format, hardware, rounds) if store else {}),
    }


def changed(name: str, input_size: int | None, width: float | None) -> NetworkConfig:
    """The settings of the network called `name`, with another input size and width where they are given."""
    config = named(name).config
    return dataclasses.replace(config, input_size=input_size or config.input_size, width=width or config.width)


def new_state(config: NetworkConfig, device: torch.device, lr: float = 1e-6) -> TrainState:
    """The state of a training at step 0."""
    return start(TrainConfig(network=config, optim=OptimConfig(lr=lr)), device, Ranks())


def step_of(state: TrainState, dtype: torch.dtype) -> Step:
    """The training step of `alexnet train`, on inputs and labels that the caller has."""

    def step(x: Tensor, labels: Tensor) -> None:
        seed_masks(0, x.device)
        update(state.model, state.optimizer, x, labels, dtype)

    return step


def repeated(
    step: Step, config: NetworkConfig, batch: int, dtype: torch.dtype, device: torch.device
) -> Callable[[], None]:
    """`step` on one batch of noise, the same each time."""
    x, labels = images(batch, config, device).to(dtype), torch.randint(0, config.classes, (batch,))
    return lambda: step(x, labels)


def training_step(config: NetworkConfig, batch: int, dtype: torch.dtype, device: torch.device) -> Callable[[], None]:
    """The training step of `alexnet train` on one batch of noise, the same each time."""
    return repeated(step_of(new_state(config, device), dtype), config, batch, dtype, device)


STEPS_AT_ONCE = 20
"""Steps that a GPU is given before one waits for it."""


def cuda_steps(state: TrainState, batch: int, dtype: torch.dtype, device: torch.device) -> Callable[[], None]:
    """`STEPS_AT_ONCE` training steps of `alexnet train` on a GPU, each with its copy of a batch of noise to the
    device."""
    from alexnet.training.cuda_step import CudaStep  # imports Triton

    network = state.network.network
    size = max(256, network.input_size + 32)
    config = TrainConfig(network=network, batch_size=batch, optim=OptimConfig(lr=1e-6))
    mean, random = torch.full((size, size, 3), 128.0, device=device), np.random.default_rng(0)
    setup = Setup(config, device, dtype, mean, np.eye(3) * 3000, steps_per_epoch=10**9, store="")
    crops = torch.randint(0, 256, (batch, network.input_size, network.input_size, 3), dtype=torch.uint8)
    offsets = random.integers(0, size - network.input_size, (batch, 2))
    labels, alphas = torch.randint(0, network.classes, (batch,)), random.standard_normal((batch, 3), np.float32)
    noise = TrainingBatch(crops.pin_memory(), labels, offsets, random.random(batch) < 0.5, alphas)
    step = CudaStep(state, setup)

    def work() -> None:
        for _ in range(STEPS_AT_ONCE):
            step(state, noise, setup)

    return work


def infer(
    network: str = "paper",
    batch: int = 64,
    dtype: str = "auto",
    rounds: int = 5,
    device: str = "auto",
    input_size: int | None = None,
    width: float | None = None,
) -> dict:
    """Throughput of a trained network's softmax outputs for centre views, and the time for one image with ten views.

    Returns what `alexnet.bench.bench.bench` says.
    """
    config, hardware = changed(network, input_size, width), choose_device(device)
    number_format = choose_dtype(dtype, hardware)
    if hardware.type == "cpu":
        kernels.reuse_memory()  # the limit and PyTorch's layers need it, the network does not
    forget_peak(hardware)
    net = TrainedAlexNet(config).to(device=hardware, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def classify(count: int) -> Callable[[], None]:
        x = images(count, config, hardware)

        def work() -> None:
            with torch.inference_mode(), precision(hardware, number_format):
                net(x).float().softmax(1)

        return work

    work = classify(batch)
    work()
    peak = peak_memory(hardware)
    result = _beside_the_limit(work, config, batch, number_format, hardware, rounds, training=False)
    one, ten = (waiting(classify(count), hardware) for count in (1, 10))
    views = alternate({"one view": (one, 1), "ten views": (ten, 1)}, rounds)
    return {
        "what": "infer",
        "network": network,
        "input_size": config.input_size,
        "width": config.width,
        **result,
        "peak_memory_bytes": peak,
        "one_view_milliseconds": 1000 / views["one view"].median,
        "ten_views_milliseconds": 1000 / views["ten views"].median,
    }


def images(batch: int, config: NetworkConfig, device: torch.device) -> Tensor:
    """Noise on the scale of images minus the mean: float32 [batch, 3, S, S], channels last."""
    x = torch.randn(batch, 3, config.input_size, config.input_size) * 60
    return x.to(device).contiguous(memory_format=torch.channels_last)


def _beside_the_limit(
    work: Callable[[], None],
    config: NetworkConfig,
    batch: int,
    dtype: torch.dtype,
    device: torch.device,
    rounds: int,
    training: bool,
    times: int = 1,
) -> dict[str, Any]:
    """The throughput of `work`, which computes `times` batches, its limit, and those of the network's convolutions and
    GEMMs alone, in turns."""
    convolution, operations = limits.convolution(dtype, device)
    gemm, _ = limits.gemm(config, batch, dtype, device, training)
    copy, moved = limits.copying(device)
    rates = alternate(
        {
            "convolution": (waiting(convolution, device), operations),
            "gemm": (waiting(gemm, device), batch),
            "copy": (waiting(copy, device), moved),
            "ours": (waiting(work, device), times * batch),
        },
        rounds,
    )
    per_image = limits.operations(config, training)
    what = f"{per_image / 1e9:.3g} GFLOP per image at the speed of a 3x3 convolution of 512 channels"
    return {
        **rates["ours"].beside(rates["convolution"].times(1 / per_image), what),
        "dtype": str(dtype).removeprefix("torch."),
        "batch": batch,
        "rounds": rounds,
        "gigaflops_per_second": rates["convolution"].median / 1e9,
        "gemm_images_per_second": rates["gemm"].median,
        "copied_gigabytes_per_second": rates["copy"].median / 1e9,
        "machine": machine(device),
    }
