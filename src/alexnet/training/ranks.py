"""The processes (ranks) that train one network together, started by torchrun.

| `--parallel` | kind of parallelism | ranks | each rank holds | and trains on |
|---|---|---|---|---|
| `none` | none | 1 | the network | the whole batch |
| `towers` | model (paper, section 3.2) | 2 | a tower | the whole batch |
| `data` | data | N | the network | 1/N of the batch |
| `both` | model and data | 2 N | a tower | 1/N of the batch |

The batch is the same for any number of ranks. docs/specification.md, "Two GPUs", says what the towers exchange.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from alexnet.files.regular import read_regular
from alexnet.ranges import UsageError
from alexnet.training import meeting
from alexnet.training.checkpoint_file import LARGEST_STATE, SUMS
from alexnet.training.meeting import RanksError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Ranks:
    """This process, among all."""

    rank: int = 0
    count: int = 1
    tower: int | None = None
    """The tower that this rank holds; None: the whole network."""
    towers: dist.ProcessGroup | None = None
    """The two ranks that hold the towers of one network; None without towers."""
    replica: int = 0
    """Index of the part of each batch that this rank trains on."""
    replicas: int = 1
    """Number of parts of each batch."""
    copies: dist.ProcessGroup | None = None
    """The ranks that hold the same part of the network; None when this is the only one."""

    @property
    def is_first(self) -> bool:
        """Whether this rank writes the run folder and reports to the user."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """This rank's part of `count` items in a row. The parts differ by one item at most."""
        return slice(count * self.replica // self.replicas, count * (self.replica + 1) // self.replicas)

    def mean(self, values: Sequence[float]) -> list[float]:
        """The mean of each value over all ranks, the same on every rank."""
        if self.count == 1:
            return list(values)
        means = torch.tensor(values, dtype=torch.float64)
        if dist.get_backend() == "nccl":
            means = means.cuda()
        dist.all_reduce(means)
        return (means / self.count).tolist()

    def once(self, work: Callable[[], Result]) -> Result | None:
        """Let the first rank do `work` while the others wait. If it raises ValueError, every rank does.

        Returns the result on the first rank, None on the others.
        """
        result, trouble = None, None
        if self.is_first:
            try:
                result = work()
            except ValueError as error:
                if self.count == 1:
                    raise
                trouble = str(error)
        if self.count > 1:
            message = [trouble]
            dist.broadcast_object_list(message)
            trouble = message[0]
        if trouble is not None:
            raise RanksError(trouble)
        return result

    def gather(self, mine: Result) -> list[Result]:
        """The values of all ranks, in their order, on every rank."""
        if self.count == 1:
            return [mine]
        theirs: list[Result | None] = [None] * self.count
        dist.all_gather_object(theirs, mine)
        return theirs  # type: ignore[return-value]

    def together(self, work: Callable[[], Result]) -> Result:
        """Do `work` on every rank. If it raises ValueError or OSError on one, every rank raises RanksError."""
        result, trouble = None, None
        try:
            result = work()
        except (ValueError, OSError) as error:
            if self.count == 1:
                raise
            trouble = str(error)
        for number, (machine, theirs) in enumerate(self.gather((meeting.host(), trouble))):
            if theirs is not None:
                raise RanksError(meeting.named(number, machine, theirs))
        return result  # type: ignore[return-value]

    def agree(self, what: dict[str, str]) -> None:
        """RanksError on every rank unless all ranks have the same values; it names the first that differs."""
        (first_machine, first), *others = self.gather((meeting.host(), what))
        for number, (machine, theirs) in enumerate(others, 1):
            for name, value in first.items():
                if theirs[name] != value:
                    raise meeting.differs(name, number, theirs[name], machine, value, first_machine)


@contextmanager
def joined(
    parallel: str, device: torch.device, batch_size: int, advice: Callable[[], str] = lambda: ""
) -> Iterator[Ranks]:
    """Join the other ranks that torchrun started, and leave them at the end.

    Raises ValueError when their number does not fit `parallel`, or does not divide the batch. Raises RanksError, with
    `advice`, when another rank dies.
    """
    count = meeting.count()
    check_count(parallel, count, batch_size)
    if parallel == "none":
        yield Ranks()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # NCCL sends from the current device
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        across = 1 if parallel == "data" else 2
        mesh = init_device_mesh(device.type, (count // across, across), mesh_dim_names=("copies", "towers"))
        here = Ranks(
            rank=dist.get_rank(),
            count=count,
            tower=mesh.get_local_rank("towers") if across == 2 else None,
            towers=mesh.get_group("towers") if across == 2 else None,
            replica=mesh.get_local_rank("copies"),
            replicas=count // across,
            copies=mesh.get_group("copies") if count > across else None,
        )
        yield here
        for group in (here.towers, here.copies, dist.group.WORLD):
            if group is not None:  # torch 2.6 hangs if a group's thread still frees tensors when it is destroyed
                dist.barrier(group)
    except RuntimeError as error:
        if not is_of_connection(error):
            raise
        sentence = "Another rank of this job has died, or the connection to it is lost."
        raise RanksError(f"{sentence} {advice()}".rstrip()) from error
    finally:
        dist.destroy_process_group()


def is_of_connection(error: RuntimeError) -> bool:
    """Whether an error of gloo, NCCL or PyTorch says that the connection to another rank is lost."""
    signs = r"gloo|nccl|connection (closed|reset|refused)|broken pipe|socket|timed out|timeout"
    return isinstance(error, dist.DistError) or re.search(signs, str(error), re.IGNORECASE) is not None


@contextmanager
def sharing() -> Iterator[Ranks]:
    """Join the other ranks, if torchrun started any, to share independent work (evaluation, features)."""
    parallel = "data" if meeting.count() > 1 else "none"
    with joined(parallel, torch.device("cpu"), batch_size=0) as here:
        yield here


def check_count(parallel: str, count: int, batch_size: int) -> None:
    """ValueError, with advice, unless `count` ranks can share the work in this way."""
    if parallel == "none":
        if count > 1:
            raise UsageError(f"torchrun started {count} ranks: say how they share the work, --parallel data or towers.")
        return
    if "RANK" not in os.environ:
        raise UsageError(
            f"--parallel {parallel} needs several ranks: torchrun --nproc-per-node 2 -m alexnet train ... "
            f"--parallel {parallel}"
        )
    if parallel == "towers" and count != 2:
        raise UsageError(f"--parallel towers needs two ranks and there are {count}; with more, use --parallel both.")
    if parallel == "both" and count % 2:
        raise UsageError(f"--parallel both needs an even number of ranks and there are {count}.")
    replicas = {"data": count, "towers": 1, "both": count // 2}[parallel]
    if batch_size % replicas:
        raise UsageError(f"A batch of {batch_size} images has no {replicas} equal parts; choose another --batch-size.")


def common_facts(checkpoints: Sequence[Path]) -> dict[str, str]:
    """What ranks that share the work on trained networks must have in common, by name."""
    if meeting.count() == 1:
        return {}
    sums = [hashlib.sha256(read_regular(path / SUMS, LARGEST_STATE)).hexdigest()[:16] for path in checkpoints]
    return {"program": program_checksum(), "checkpoint": " ".join(sums)}


def program_checksum() -> str:
    """A checksum of the package's files: ranks with another version would compute something else."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*")):
        if path.suffix in (".py", ".cpp", ".h"):
            digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()
