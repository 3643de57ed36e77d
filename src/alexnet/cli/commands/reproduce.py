"""`alexnet reproduce`."""

from pathlib import Path

from alexnet.cli.options import Answer, Device, Flag, first_line, lists
from alexnet.ranges import Seeds, Threads
from alexnet.reproduce.scales import SCALES


@lists("Scales", {name: first_line(made) for name, made in SCALES.items()})
def reproduce(
    out: Path,
    /,
    *,
    scale: str = "small",
    data: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
    seeds: Seeds | None = None,
    share: str = "1/1",
    plan: Flag = False,
    report: Flag = False,
    discard_runs: Flag = False,
    device: Device = "auto",
    workers: Threads = 0,
) -> Answer:
    """Measure the paper's claims again and set them beside its numbers, in one report.

    Every claim is an experiment: networks that differ in one thing are trained with several seeds and compared. After
    an interruption, the same command resumes.

    Example:
      alexnet reproduce claims --scale tiny
      alexnet reproduce claims --data cifar10=stores/cifar10 imagenette=stores/imagenette128
      alexnet reproduce claims --data cifar10=stores/cifar10 --only relu-vs-tanh

    Args:
        out: Folder for runs, results, ledger.json and report.html.
        scale: How large everything is.
        data: Stores, as NAME=STORE.
        only: Names of experiments; without, all.
        seeds: Seeds of each arm, such as 5 where an interval of three contains zero; without, the scale's.
        share: K/N: train the K-th of N parts of what is missing.
        plan: Print the plan and how long it takes; train nothing.
        report: Write ledger and report from the results that are there; train nothing.
        discard_runs: Delete the folder of each run once it is measured.
        workers: Threads that load images; 0: as alexnet train.
    """
    from alexnet.reproduce import reproduce as module

    result = module.reproduce(
        out,
        scale=scale,
        data=data,
        only=only,
        seeds=seeds,
        share=share,
        device=device,
        workers=workers,
        plan=plan,
        report=report,
        discard_runs=discard_runs,
    )
    return result, module.render
