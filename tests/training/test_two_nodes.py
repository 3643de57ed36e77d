"""Two machines, as two network namespaces: one is killed and restarted, and the run resumes to its end."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from noise import SETTINGS, noise_store

from alexnet.training.checkpoint import checkpoints, find
from alexnet.training.metrics import read_lines

pytestmark = pytest.mark.skipif(
    shutil.which("ip") is None or os.geteuid() != 0,
    reason="network namespaces need the command ip and the rights to use it",
)
ADDRESS = "10.213.47.{}"
EPOCHS = 40


@pytest.fixture
def nodes() -> Iterator[list[str]]:
    """The names of two namespaces connected by a cable (a veth pair), and to nothing else."""
    names = [f"alexnet-{os.getpid()}-{i}" for i in range(2)]
    cable = [f"axn{os.getpid() % 100_000}{end}" for end in "ab"]

    def ip(*words: str, check: bool = True) -> None:
        subprocess.run(["ip", *words], check=check, capture_output=True)

    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
        for i, (name, end) in enumerate(zip(names, cable, strict=True)):
            ip("link", "set", end, "netns", name)
            ip("-n", name, "link", "set", end, "name", "net0")
            ip("-n", name, "addr", "add", f"{ADDRESS.format(i + 1)}/24", "dev", "net0")
            ip("-n", name, "link", "set", "net0", "up")
            ip("-n", name, "link", "set", "lo", "up")
    except (OSError, subprocess.CalledProcessError):
        for name in names:
            ip("netns", "del", name, check=False)
        pytest.skip("network namespaces cannot be made here")
    yield names
    for name in names:
        ip("netns", "del", name, check=False)


def start(node: str, store: Path, run: Path, log: Path) -> subprocess.Popen[bytes]:
    """torchrun on one node."""
    first = node.endswith("0")
    command = [
        *("ip", "netns", "exec", node, sys.executable, "-m", "torch.distributed.run"),
        *("--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "5", "--rdzv-id", "towers"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"{ADDRESS.format(1)}:29500"),
        *("--rdzv-conf", f"is_host={int(first)},join_timeout=120,keep_alive_interval=1,keep_alive_max_attempt=3"),
        *("--local-addr", ADDRESS.format(1 if first else 2)),
        *("-m", "alexnet", "train", str(store), str(run), *SETTINGS, "--epochs", str(EPOCHS), "--parallel", "towers"),
        *("--evaluate-every", "20"),
    ]
    # Otherwise a restarted node waits for an address that the other's shared store gave out before.
    fresh = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "net0"} | fresh
    with log.open("ab") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, env=environment)


def kill(node: str, process: subprocess.Popen[bytes]) -> None:
    """Kill all processes of the node: torchrun and its rank, which some versions give a session of its own."""
    inside = subprocess.run(["ip", "netns", "pids", node], capture_output=True, text=True, check=True)
    for number in map(int, inside.stdout.split()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    process.wait()


def wait_until(happened: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def test_a_node_is_killed_and_restarted_and_the_run_resumes(nodes, tmp_path):
    store, run = noise_store(tmp_path), tmp_path / "run"
    logs = [tmp_path / f"{i}.log" for i in range(2)]
    running = [start(node, store, run, log) for node, log in zip(nodes, logs, strict=True)]
    try:
        wait_until(lambda: len(checkpoints(run)) >= 2, 300)
        kill(nodes[1], running[1])
        reached = find(run, "last").step
        assert reached < 4 * EPOCHS, "it finished before it could be killed"
        running[1] = start(nodes[1], store, run, logs[1])
        assert [process.wait(300) for process in running] == [0, 0], logs[0].read_text() + logs[1].read_text()
    finally:
        for node, process in zip(nodes, running, strict=True):
            kill(node, process)
    steps = [line["step"] for line in read_lines(run / "metrics.jsonl") if "learning_rate" in line]
    assert steps == list(range(1, 4 * EPOCHS + 1))
    assert find(run, "last").step == 4 * EPOCHS
