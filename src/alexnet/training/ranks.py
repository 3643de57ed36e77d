"""The processes that train one network together, started by torchrun.

A process (rank) holds one tower of the network or all of it, and sees all images of a batch or a part of them:

| `--parallel` | ranks | each holds | and sees of a batch |
|---|---|---|---|
| `none` | 1 | the network | everything |
| `towers` | 2 | a tower | everything |
| `data` | N | the network | its Nth part |
| `both` | 2 N | a tower | its pair's Nth part |

The batch is the same whatever the number of ranks.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

Result = TypeVar("Result")


@dataclass(frozen=True)
class Ranks:
    """This process among all."""

    rank: int = 0
    count: int = 1
    tower: int | None = None
    """The tower that this rank holds; None: the whole network."""
    towers: dist.ProcessGroup | None = None
    """The two ranks that hold the towers of one network."""
    replica: int = 0
    """Which part of each batch this rank sees."""
    replicas: int = 1
    copies: dist.ProcessGroup | None = None
    """The ranks that hold the same part of the network; None when there is one."""

    @property
    def is_first(self) -> bool:
        """Whether this rank writes the run folder and speaks to the user."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """This rank's part of `count` things that lie in a row; the parts are as even as can be."""
        return slice(count * self.replica // self.replicas, count * (self.replica + 1) // self.replicas)

    def mean(self, values: Sequence[float]) -> list[float]:
        """The means over all ranks, the same on each."""
        if self.count == 1:
            return list(values)
        means = torch.tensor(values, dtype=torch.float64)
        if dist.get_backend() == "nccl":
            means = means.cuda()
        dist.all_reduce(means)
        return (means / self.count).tolist()

    def once(self, work: Callable[[], Result]) -> Result | None:
        """Let the first rank do `work` while the others wait; its ValueError is raised by all.

        Returns the result on the first rank and None on the others.
        """
        result, trouble = None, None
        if self.is_first:
            try:
                result = work()
            except ValueError as error:
                trouble = str(error)
        if self.count > 1:
            message = [trouble]
            dist.broadcast_object_list(message)
            trouble = message[0]
        if trouble is not None:
            raise ValueError(trouble)
        return result

    def gather(self, mine: Result) -> list[Result]:
        """What each rank gives, in the order of the ranks, on every rank."""
        if self.count == 1:
            return [mine]
        theirs: list[Result | None] = [None] * self.count
        dist.all_gather_object(theirs, mine)
        return theirs  # type: ignore[return-value]

    def agree(self, what: dict[str, str]) -> None:
        """ValueError on every rank, naming the first one and the matter, unless all ranks have the same values."""
        first, *others = self.gather(what)
        for rank, theirs in enumerate(others, 1):
            for matter, value in first.items():
                if theirs[matter] != value:
                    raise ValueError(
                        f"Rank {rank} has another {matter} than rank 0 ({short(theirs[matter])}, not {short(value)}): "
                        "all ranks need the same program, store and settings."
                    )


@contextmanager
def joined(parallel: str, device: torch.device, batch_size: int) -> Iterator[Ranks]:
    """Join the other ranks that torchrun started, and leave them at the end.

    Raises ValueError when their number does not fit `parallel`, or the batch not their number.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    check_count(parallel, count, batch_size)
    if parallel == "none":
        yield Ranks()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # what NCCL sends from
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
            if group is not None:  # torch 2.6 hangs where a thread of a group still frees tensors when it is destroyed
                dist.barrier(group)
    finally:
        dist.destroy_process_group()


@contextmanager
def sharing() -> Iterator[Ranks]:
    """Join the other ranks that torchrun started, if it did, to share independent work (testing, features)."""
    parallel = "data" if int(os.environ.get("WORLD_SIZE", "1")) > 1 else "none"
    with joined(parallel, torch.device("cpu"), batch_size=0) as here:
        yield here


def check_count(parallel: str, count: int, batch_size: int) -> None:
    """ValueError, with what to do, unless `count` ranks can share the work in this way."""
    if parallel == "none":
        if count > 1:
            raise ValueError(f"torchrun started {count} ranks: say how they share the work, --parallel data or towers.")
        return
    if "RANK" not in os.environ:
        raise ValueError(
            f"--parallel {parallel} needs several ranks: torchrun --nproc-per-node 2 -m alexnet train ... "
            f"--parallel {parallel}"
        )
    if parallel == "towers" and count != 2:
        raise ValueError(f"--parallel towers needs two ranks and there are {count}; with more, use --parallel both.")
    if parallel == "both" and count % 2:
        raise ValueError(f"--parallel both needs an even number of ranks and there are {count}.")
    replicas = {"data": count, "towers": 1, "both": count // 2}[parallel]
    if batch_size % replicas:
        raise ValueError(f"A batch of {batch_size} images cannot be shared by {replicas}; choose another --batch-size.")


def program_checksum() -> str:
    """A checksum of the package's own files: ranks of another version would compute something else."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*")):
        if path.suffix in (".py", ".cpp", ".h"):
            digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()


def short(value: str) -> str:
    """The beginning of a long value, for a sentence."""
    return value if len(value) <= 60 else value[:57] + "..."
