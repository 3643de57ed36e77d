"""Inference on a GPU from weights laid out once, as a CUDA graph: what `alexnet.model.inference` is for a CPU."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet.model import cuda
from alexnet.model.cuda.operations import Parameter
from alexnet.model.cuda.plan import CUDNN, Builder
from alexnet.model.network import AlexNet
from alexnet.model.stage import watched


def can_graph(network: AlexNet, x: Any, dtype: torch.dtype) -> bool:
    """Whether a `GraphNetwork` can compute network(x) in `dtype`: on a GPU, in eval mode, no gradients, no hooks."""
    return (
        cuda.takes(x)
        and not network.training
        and not torch.is_grad_enabled()
        and not torch.cuda.is_current_stream_capturing()
        and dtype in (torch.float32, torch.bfloat16)
        and x.dtype in (torch.float32, dtype)
        and tuple(x.shape[1:]) == network.layers[0].inputs
        and not any(watched(stage) for stage in network.modules() if stage is not network)
        and all(p.device == x.device and p.dtype == torch.float32 for p in network.parameters())
    )


class GraphNetwork:
    """Logits in `dtype` of at most `batch` images at a time, from a copy of the network's weights.

    Threads take turns.
    """

    @torch.inference_mode(False)  # later calls, perhaps outside that mode, write to the same buffers
    def __init__(self, network: AlexNet, dtype: torch.dtype, batch: int, device: torch.device) -> None:
        self.batch, self.dtype = batch, dtype
        parameters = {
            name: Parameter(w.detach(), w.detach(), w.detach(), 0.0) for name, w in network.named_parameters()
        }
        seed = torch.zeros(1, dtype=torch.int64, device=device)
        builder = Builder(network, parameters, batch, dtype, device, seed, training=False)
        self.operations = builder.operations
        self._blocks, self._side, self._padding = builder.input
        self._turn = threading.Lock()
        self._x = torch.zeros(batch, *network.layers[0].inputs, dtype=dtype, device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._y = self._capture() if device.type == "cuda" else None

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """[B, 3, S, S] to logits [B, classes], for any B."""
        if len(x) > self.batch:
            return torch.cat([self(part) for part in x.split(self.batch)])
        with self._turn:
            self._x[: len(x)].copy_(x)
            if self._graph is None or self._y is None:
                return self._forward()[: len(x)]
            self._graph.replay()
            return self._y[: len(x)].clone()

    def _forward(self) -> Tensor:
        batch, channels, size, _ = self._x.shape
        _, height, width, _ = self._blocks.shape
        side = self._side
        after = [n * side - self._padding - size for n in (height, width)]
        x = F.pad(self._x, (self._padding, max(0, after[1]), self._padding, max(0, after[0])))
        x = x[:, :, : height * side, : width * side]
        x = x.reshape(batch, channels, height, side, width, side)
        x = x.permute(0, 2, 4, 3, 5, 1)
        self._blocks[..., : channels * side**2] = x.reshape(batch, height, width, -1)
        towers = [self._blocks]
        for operation in self.operations:
            towers = operation.forward(towers)
        return towers[0]

    @torch.no_grad()
    def _capture(self) -> Tensor:
        stream = torch.cuda.Stream(self._x.device)
        stream.wait_stream(torch.cuda.current_stream())
        settings: dict[str, Any] = CUDNN | {"benchmark": True}
        with torch.backends.cudnn.flags(**settings):
            with torch.cuda.stream(stream):
                for _ in range(2):
                    self._forward()
            torch.cuda.current_stream().wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):  # other threads may use the GPU
                return self._forward()
