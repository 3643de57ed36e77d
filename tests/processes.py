"""Starts Python processes that need not import PyTorch first: on Linux they are forks of one process that has."""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import torch

METHOD = "forkserver" if sys.platform == "linux" else "spawn"
CONTEXT = multiprocessing.get_context(METHOD)
CONTEXT.set_forkserver_preload(
    ["alexnet.cli", "alexnet.training.loop", "matplotlib.pyplot", "torch._dynamo", "torch.utils.tensorboard"]
)
SECONDS = 300  # that processes may take


class Setup(NamedTuple):
    """What a process starts with: its environment, its folder, and the files of its standard output and error."""

    environment: dict[str, str]
    folder: Path
    out: Path
    err: Path


def python(*words: object, env: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
    """Run `python -m MODULE ARGUMENT ...` or `python -c CODE ARGUMENT ...` in `folder`, with `env` added to the
    environment. Returns its standard output; it must succeed. What is registered with `atexit` does not run."""
    command = [str(word) for word in words]
    with tempfile.TemporaryDirectory() as outputs:
        out, err = (Path(outputs, name) for name in ("out", "err"))
        setup = Setup({**os.environ, **(env or {})}, folder or Path.cwd(), out, err)
        process = CONTEXT.Process(target=_be_python, args=(command, setup))
        process.start()
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(command, SECONDS, err.read_bytes())
        assert process.exitcode == 0, f"it ended with {process.exitcode}: {err.read_text()}{out.read_text()}"
        return out.read_text()


class Ranks:
    """What `torchrun --standalone` starts, with one command line (what follows `python`) for each rank.

    Torchrun's own agent runs in a thread of this process; what ranks print is in files of `folder`.
    """

    def __init__(self, commands: Sequence[Sequence[object]], folder: Path, env: Mapping[str, str] | None = None):
        self.commands = [[str(word) for word in command] for command in commands]
        self.folder, self.returncode = folder, -1
        environment = {"OMP_NUM_THREADS": "1", **(env or {})}
        self.setups = [
            Setup(environment, Path.cwd(), folder / f"{rank}.out", folder / f"{rank}.err")
            for rank in range(len(commands))
        ]
        self._agent = threading.Thread(target=self._launch)

    def __enter__(self) -> "Ranks":
        self.folder.mkdir(parents=True)
        self._agent.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._agent.join(SECONDS)
        for rank in range(len(self.commands)) if self.running else ():
            self.kill(rank)
        self._agent.join()
        assert self.returncode >= 0 or kind, "the ranks did not end"

    @property
    def running(self) -> bool:
        return self._agent.is_alive()

    def kill(self, rank: int) -> None:
        """Kill a rank; nothing where it has not started."""
        if (file := self.folder / f"{rank}.pid").exists():
            os.kill(int(file.read_text()), signal.SIGKILL)

    @property
    def stdout(self) -> str:
        """What all ranks have printed, one after the other."""
        return "".join(setup.out.read_text() for setup in self.setups if setup.out.exists())

    @property
    def stderr(self) -> str:
        return "".join(setup.err.read_text() for setup in self.setups if setup.err.exists())

    def _launch(self) -> None:
        from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.launcher.api import LaunchConfig, elastic_launch

        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=len(self.commands),
            logs_specs=DefaultLogsSpecs(str(self.folder / "logs")),
            run_id="test",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            start_method=METHOD,
        )
        try:
            elastic_launch(config, _be_rank)(self.commands, self.setups)
            self.returncode = 0
        except ChildFailedError:
            self.returncode = 1


def torchrun(commands: Sequence[Sequence[object]], folder: Path, env: Mapping[str, str] | None = None) -> Ranks:
    """Start ranks and wait until they have ended."""
    with Ranks(commands, folder, env) as ranks:
        pass
    return ranks


def _be_python(words: list[str], setup: Setup) -> None:
    """What a process does."""
    for number, file in enumerate((setup.out, setup.err), 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(setup.environment)
    multiprocessing.set_start_method(None, force=True)  # its own default again
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 0)) or torch.get_num_threads())
    os.chdir(setup.folder)
    sys.path.insert(0, str(setup.folder))
    kind, what, *arguments = words
    sys.argv = [what if kind == "-m" else kind, *arguments]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(what, {"__name__": "__main__"})


def _be_rank(commands: list[list[str]], setups: list[Setup]) -> None:
    rank = int(os.environ["RANK"])
    setups[rank].out.with_suffix(".pid").write_text(str(os.getpid()))
    try:
        _be_python(commands[rank], setups[rank]._replace(environment={**os.environ, **setups[rank].environment}))
    except SystemExit as end:
        if end.code:
            raise
