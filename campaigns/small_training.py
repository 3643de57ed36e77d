"""The small training that the campaigns disturb: its images, its options and its outcome."""

from pathlib import Path

NETWORK = "--network.input-size 51 --network.width 0.125 --batch-size 8 --dtype float32 --device cpu --workers 1"
SCHEDULE = "--recipe small --schedule.kind plateau --schedule.patience 1 --seed 5"


def make_store(folder: Path, seed: int = 0) -> Path:
    """A store of 96 training and 24 validation images in `folder`; the images stay beside it in `images`."""
    from alexnet.data.prepare.prepare import prepare
    from alexnet.demo.synthetic import draw_set

    draw_set(folder / "images", train=96, val=24, seed=seed, workers=1)
    prepare(folder / "images", folder / "store", size=56, workers=1)
    return folder / "store"


def outcome(run: Path) -> dict[str, bytes]:
    """The files that must be the same however often the training was disturbed: last checkpoint and metrics."""
    last = max(checkpoints(run))
    files = {f"{last.name}/{file.name}": file.read_bytes() for file in last.iterdir()}
    return files | {"metrics.jsonl": (run / "metrics.jsonl").read_bytes()}


def differences(expected: dict[str, bytes], found: dict[str, bytes]) -> list[str]:
    """Names of the files that are not the same bytes."""
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))


def checkpoints(run: Path) -> list[Path]:
    """The complete checkpoints of a run."""
    return list((run / "checkpoints").glob("step-????????"))
