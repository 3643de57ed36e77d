"""What ranks that train together send each other, measured and worked out, and what that costs on other links.

    python -m benchmarks.network.communication --batch-size 32 --steps 6 --out benchmarks/results/exchange.json

Trains the full network on one repeated batch, by one process on two threads and by two or four ranks of one thread,
and prints for each way of sharing: images per second; the bytes that each rank sends in a step, as the kernel counts
them on the loopback device (everything that the ranks say to each other, TCP's own bytes included; run it where nothing
else uses that device); and the bytes that the shapes say: for towers half the activations before conv3, fc6, fc7 and
fc8 and as much gradient before the first three; for data 2 (N - 1) / N of the gradients, as a ring needs.

Then it PREDICTS, from those bytes, steps of N GPUs: nothing of it was measured. A GPU is taken to do its share of the
network's multiplications at the stated speed. Gradients travel while the backward pass computes (two thirds of the
time), activations do not. Eight GPUs are in one machine; with more, towers are in one and copies in different ones.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from alexnet import AlexNet
from alexnet.config import OptimConfig, TrainConfig
from alexnet.model.cpu import kernels
from alexnet.model.towers import bytes_exchanged
from alexnet.training import ranks
from alexnet.training.device import precision
from alexnet.training.start import build
from alexnet.training.update import MomentumSGD

LOOPBACK = Path("/sys/class/net/lo/statistics/tx_bytes")
WAYS = (("none", 1), ("data", 2), ("towers", 2), ("both", 4))
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--gpu-teraflops", type=float, default=200, help="what a GPU does of these products a second")
    parser.add_argument("--inside", type=float, default=450, help="gigabytes a second to a GPU of the same machine")
    parser.add_argument("--between", type=float, default=50, help="gigabytes a second to a GPU of another machine")
    parser.add_argument("--latency", type=float, default=20, help="microseconds of one exchange")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rank-of", help=argparse.SUPPRESS)
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank_of:
        measure(options, options.rank_of)
        return
    found: dict[str, list[dict]] = {way: [] for way, _ in WAYS}
    for _ in range(options.rounds):
        for way, count in WAYS:
            found[way].append(launch(options, way, count))
    measured = {way: max(rounds, key=lambda r: r["images_per_second"]) for way, rounds in found.items()}
    for way, rounds in found.items():
        rates = sorted(r["images_per_second"] for r in rounds)
        measured[way]["images_per_second"] = rates[len(rates) // 2]
        measured[way]["range"] = [rates[0], rates[-1]]
    predicted = predict(options)
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(["python", *sys.argv]),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "torch": torch.__version__},
        "assumed": {name: getattr(options, name) for name in ("gpu_teraflops", "inside", "between", "latency")},
        "measured": measured,
        "predicted": predicted,
    }
    for way, count in WAYS:
        m = measured[way]
        print(
            f"{way:7} {count} x {m['threads']} threads: {m['images_per_second']:6.1f} images/s "
            f"({m['range'][0]:.1f} to {m['range'][1]:.1f}); sent per rank and step: "
            f"{m['sent_bytes'] / 1e6:8.2f} MB measured, {m['expected_bytes'] / 1e6:8.2f} MB from the shapes"
        )
    for row in predicted:
        print(
            f"PREDICTED {row['gpus']:4} GPUs, batch {row['batch']:6}: "
            + ", ".join(f"{way} {ms:.2f} ms" if ms else f"{way} -" for way, ms in row["step_ms"].items())
        )
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def launch(options: argparse.Namespace, way: str, count: int) -> dict:
    """Run one way of sharing; what its first rank measured."""
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder) / "found.json"
        words = [__file__, "--rank-of", way, "--to", str(to), "--batch-size", str(options.batch_size)]
        words += ["--steps", str(options.steps), "--dtype", options.dtype]
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        threads = str(max(1, (os.cpu_count() or 1) // count))
        command = [sys.executable, *(torchrun if count > 1 else []), *words]
        environment = os.environ | {"OMP_NUM_THREADS": threads, "GLOO_SOCKET_IFNAME": "lo"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return json.loads(to.read_text())


def measure(options: argparse.Namespace, way: str) -> None:
    """Some training steps of one rank."""
    kernels.reuse_memory()
    config = TrainConfig(batch_size=options.batch_size, optim=OptimConfig(lr=1e-6))
    dtype = getattr(torch, options.dtype)
    with ranks.joined(way, CPU, config.batch_size) as here:
        network, exchange = build(here, config, CPU)
        network.train()
        forward = network if here.copies is None else DistributedDataParallel(network, process_group=here.copies)
        optimizer = MomentumSGD(network.named_parameters(), config.optim)
        images = here.part(config.batch_size)
        count = images.stop - images.start
        x = torch.randn(count, 3, 224, 224).to(dtype).contiguous(memory_format=torch.channels_last)
        y = torch.randint(0, 1000, (count,))

        def step() -> None:
            with precision(CPU, dtype):
                loss = F.cross_entropy(forward(x).float(), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        for _ in range(2):
            step()
        here.mean([0.0])
        before, began = int(LOOPBACK.read_text()), time.perf_counter()
        for _ in range(options.steps):
            step()
        here.mean([0.0])
        seconds, after = time.perf_counter() - began, int(LOOPBACK.read_text())
        if here.is_first:
            gradients = 4 * sum(p.numel() for p in network.parameters()) * 2 * (here.replicas - 1) / here.replicas
            activations = bytes_exchanged(network, count, dtype.itemsize) if exchange else 0
            found = {
                "ranks": here.count,
                "threads": torch.get_num_threads(),
                "dtype": options.dtype,
                "batch": config.batch_size,
                "images_per_second": options.steps * config.batch_size / seconds,
                "sent_bytes": (after - before) / options.steps / here.count,
                "expected_bytes": gradients + activations,
            }
            options.to.write_text(json.dumps(found))


def predict(options: argparse.Namespace) -> list[dict]:
    """Milliseconds of a step by each way, for 1 to 512 GPUs, with 128 images in all and with 128 for each GPU."""
    with torch.device("meta"):
        network = AlexNet("paper")
    last = network.layers[-1]
    # Forward, weight gradients and input gradients, but for the image's; two operations each.
    products = 2 * (3 * sum(layer.multiply_adds for layer in network.layers) - network.layers[1].multiply_adds)
    whole = 4 * sum(layer.parameters for layer in network.layers)
    tower = (whole + 4 * last.parameters) / 2
    rows = []
    for each in (False, True):
        for gpus in (1, 2, 8, 64, 512):
            batch = 128 * gpus if each else 128
            steps: dict[str, float | None] = {}
            for way, copies in (("data", gpus), ("towers", 1), ("both", max(1, gpus // 2))):
                if batch < copies or (way == "both" and gpus <= 2) or (way == "towers" and gpus != 2):
                    steps[way] = None
                    continue
                towers = 1 if way == "data" else 2
                images = batch / copies
                compute = images * products / towers / (options.gpu_teraflops * 1e12)
                exchanged = bytes_exchanged(network, 1, 2) * images / (options.inside * 1e9)
                exchanged = (exchanged + 7 * options.latency * 1e-6) if towers == 2 else 0.0
                gradients = 2 * (copies - 1) / copies * (whole if towers == 1 else tower)
                link = options.inside if gpus <= 8 else options.between
                gradients = gradients / (link * 1e9) + (options.latency * 1e-6 if copies > 1 else 0)
                hidden = 2 / 3 * (compute + exchanged)
                steps[way] = 1e3 * (compute + exchanged + max(0.0, gradients - hidden))
            rows.append({"gpus": gpus, "batch": batch, "step_ms": steps})
    return rows


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
