"""What ranks that train together send each other and how fast they train; and a prediction for GPUs.

    python -m benchmarks.network.communication --batch-size 32 --steps 6 --out results.json

Trains the full network on one repeated batch, in one process on all threads and in two or four ranks that share the
threads. Prints for each way of sharing (`none`, `data`, `towers`, `both`):

- images per second: the median, and the slowest and fastest round
- the bytes that each rank sends in a step, as the Linux kernel counts them on the loopback device: all that the ranks
  say to each other, TCP's own bytes included. Run it where nothing else uses that device
- the bytes computed from the shapes. For towers: half of the activations before conv3, fc6, fc7 and fc8, and as much
  gradient before the first three. For data parallelism: 2 (N - 1) / N of the gradients, as a ring needs

Then prints what `scaling_model.py` predicts for up to 512 GPUs.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.comparison import Section, add_results, options
from benchmarks.network.scaling_model import Machine, predict
from benchmarks.separate_process import ROOT

WAYS = {"none": 1, "data": 2, "towers": 2, "both": 4}
"""How the ranks share the work, and how many there are."""


def main() -> None:
    parser = options(__doc__, rounds=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=6, help="in a round")
    parser.add_argument("--width", type=float, default=1.0, help="of the network, as a fraction of the paper's")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    for field in dataclasses.fields(Machine):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, default=field.default, metavar="NUMBER")
    arguments = parser.parse_args()
    machine = Machine(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Machine)})
    rounds: dict[str, list[dict]] = {way: [] for way in arguments.ways}
    for _ in range(arguments.rounds):
        for way in arguments.ways:
            rounds[way].append(run_ranks(way, arguments))
    measured = {way: summary(found) for way, found in rounds.items()}
    predicted = predict(machine)
    print_measured(measured)
    print_predicted(predicted)
    results = {"measured": measured, "assumed": dataclasses.asdict(machine), "predicted": predicted}
    add_results(arguments.out, Section("communication", arguments.rounds, results, ["torch"]))


def run_ranks(way: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One round of one way of sharing; what its first rank measured."""
    count = WAYS[way]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        sizes = arguments.width, arguments.batch_size, arguments.steps
        words = ["-m", "benchmarks.network.worker_ranks", way, *sizes, arguments.dtype]
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", count] if count > 1 else []
        threads = max(1, (os.cpu_count() or 1) // count)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        variables = {"OMP_NUM_THREADS": str(threads), "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": path}
        command = [sys.executable, *map(str, [*torchrun, *words, out])]
        done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return json.loads(out.read_text())


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The fastest round, with the median and the extremes of the images per second of all."""
    rates = sorted(found["images_per_second"] for found in rounds)
    fastest = max(rounds, key=lambda found: found["images_per_second"])
    return fastest | {"images_per_second": rates[len(rates) // 2], "slowest": rates[0], "fastest": rates[-1]}


def print_measured(measured: dict[str, dict[str, Any]]) -> None:
    for way, m in measured.items():
        print(
            f"{way:7} {m['ranks']} x {m['threads']} threads: {m['images_per_second']:6.1f} images/s "
            f"({m['slowest']:.1f} to {m['fastest']:.1f}); sent per rank and step: {m['sent_bytes'] / 1e6:8.2f} MB "
            f"measured, {m['computed_bytes'] / 1e6:8.2f} MB computed from the shapes"
        )


def print_predicted(predicted: list[dict[str, Any]]) -> None:
    for row in predicted:
        steps = row["step_milliseconds"].items()
        times = ", ".join(f"{way} -" if ms is None else f"{way} {ms:.2f} ms" for way, ms in steps)
        print(f"PREDICTED {row['gpus']:4} GPUs, batch {row['batch']:6}: {times}")


if __name__ == "__main__":
    main()
