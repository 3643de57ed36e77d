"""Testing with the paper's network: ours, as `load(RUN)` gives it, beside PyTorch, ONNX Runtime, OpenVINO, TensorFlow
and JAX.

    python -m benchmarks.network.inference --rounds 7 --out benchmarks/results/today.json

All have the same weights and give the same logits (checked before). ONNX Runtime and OpenVINO run one graph of ONNX's
own operators, in our process; ONNX Runtime has no bfloat16 on CPUs. "compiled" is `torch.compile` with frozen weights,
in channels last, the normalisation's sums as a 1x1 convolution; "memory kept" is where the GNU C library keeps freed
memory, as it does in our process. Needs `pip install -e .[bench]`.
"""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import torch
from torch import Tensor

from alexnet.bench import limits
from alexnet.bench.network import images
from alexnet.model.cpu import kernels
from alexnet.networks import NETWORKS
from alexnet.study.trained import TrainedAlexNet
from alexnet.training.device import precision
from benchmarks.comparison import Form, compare, keep, options
from benchmarks.network.frameworks import FRAMEWORKS, others, write_inputs
from benchmarks.network.onnx_graph import write_onnx
from benchmarks.network.torch_nn import CLASSES, as_written, with_weights

CPU = torch.device("cpu")
Answer = Callable[[], np.ndarray]


def main() -> None:
    parser = options(__doc__, rounds=7)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[64, 1])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    arguments = parser.parse_args()
    kernels.reuse_memory()  # as `alexnet evaluate` does
    paper = dataclasses.replace(NETWORKS["paper"].config, classes=CLASSES, initial_std=(), initial_bias=())
    net = TrainedAlexNet(paper, generator=torch.Generator().manual_seed(0)).eval()
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    plain = with_weights(as_written(), net.parameters()).eval()
    results, missing = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "alexnet.onnx"
        write_onnx(net, graph)
        for name in arguments.dtypes:
            dtype = getattr(torch, name)
            for batch in arguments.batch_sizes:
                answers = {
                    "ours": ours(net, batch, dtype),
                    "OpenVINO": of_openvino(graph, batch, dtype),
                }
                if dtype == torch.float32:
                    answers["ONNX Runtime"] = of_onnxruntime(graph, batch)
                with torch.inference_mode():
                    expected = plain(same_images(batch)).numpy()
                check(answers, expected, dtype)
                write_inputs(Path(folder), net, same_images(batch), torch.zeros(batch, dtype=torch.int64))
                work, operations = limits.convolution(dtype, CPU)
                forms: dict[str, Form] = {"limit": (work, operations / limits.operations(paper, training=False))}
                units = float(max(batch, 16))
                forms |= {whose: (repeated(answer, batch), units) for whose, answer in answers.items()}
                title = f"{name}, batch {batch}"
                with others("inference", dtype, Path(folder), expected, units, missing) as more:
                    results[title] = compare(f"inference, {title}", forms | more, arguments.rounds)
    packages = ["onnxruntime", "openvino", *FRAMEWORKS]
    keep(arguments.out, "inference", arguments.rounds, results, packages, missing)


def repeated(answer: Answer, batch: int) -> Callable[[], None]:
    """Small batches several times, so that a round is long enough to measure."""

    def work() -> None:
        for _ in range(max(1, 16 // batch)):
            answer()

    return work


def same_images(batch: int) -> Tensor:
    torch.manual_seed(1)
    return images(batch, NETWORKS["paper"].config, CPU)


def ours(network: TrainedAlexNet, batch: int, dtype: torch.dtype) -> Answer:
    x = same_images(batch)

    def answer() -> np.ndarray:
        with torch.inference_mode(), precision(CPU, dtype):
            return network(x).float().numpy()

    return answer


def of_openvino(graph: Path, batch: int, dtype: torch.dtype) -> Answer:
    core = openvino.Core()
    model = core.read_model(graph)
    model.reshape([batch, 3, 224, 224])
    form = {torch.float32: "f32", torch.bfloat16: "bf16"}[dtype]
    settings = {"INFERENCE_PRECISION_HINT": form, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    x = same_images(batch).contiguous().numpy()
    return lambda: request.infer([x])[0]


def of_onnxruntime(graph: Path, batch: int) -> Answer:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
    x = same_images(batch).contiguous().numpy()
    return lambda: np.asarray(session.run(None, {"images": x})[0])


def check(answers: dict[str, Answer], expected: np.ndarray, dtype: torch.dtype) -> None:
    tolerance = (1e-4 if dtype == torch.float32 else 0.06) * np.abs(expected).max()
    for name, answer in answers.items():
        error = np.abs(answer() - expected).max()
        assert error <= tolerance, f"{name} is {error:.2g} from PyTorch"


if __name__ == "__main__":
    main()
