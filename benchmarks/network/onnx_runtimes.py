"""ONNX Runtime and OpenVINO on the graph that `alexnet export` writes, in this process."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from alexnet import AlexNet
from benchmarks.separate_process import UnavailableError

Infer = Callable[[], np.ndarray]
"""Computes the logits [B, 1000] of one batch."""


def write_onnx(network: AlexNet, path: Path) -> None:
    """Write the graph. Raises UnavailableError where the package onnx is not installed."""
    try:
        from alexnet.exchange.onnx_network import network_model
    except ImportError as error:
        raise UnavailableError(str(error)) from None
    path.write_bytes(network_model(network).SerializeToString())


def openvino_inference(graph: Path, x: np.ndarray, dtype: torch.dtype) -> Infer:
    """Raises UnavailableError where OpenVINO is not installed."""
    try:
        import openvino
    except ImportError as error:
        raise UnavailableError(str(error)) from None
    core = openvino.Core()
    model = core.read_model(graph)
    model.reshape(list(x.shape))
    precision = {torch.float32: "f32", torch.bfloat16: "bf16"}[dtype]
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer([x])[0]


def onnxruntime_inference(graph: Path, x: np.ndarray, dtype: torch.dtype) -> Infer:
    """Raises UnavailableError where ONNX Runtime is not installed, and for bfloat16."""
    if dtype != torch.float32:
        raise UnavailableError("no bfloat16 on CPUs")
    try:
        import onnxruntime
    except ImportError as error:
        raise UnavailableError(str(error)) from None
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
    return lambda: np.asarray(session.run(None, {"images": x})[0])


RUNTIMES = {"OpenVINO": openvino_inference, "ONNX Runtime": onnxruntime_inference}
