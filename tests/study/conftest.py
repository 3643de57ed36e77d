"""A tiny store and tiny runs: six classes of coloured stripes, a network of a twelfth of the width."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from runs import state_of
from small_runs import smooth

from alexnet.config import NetworkConfig, TrainConfig, save_config
from alexnet.data.classes import known_name
from alexnet.data.prepare.prepare import prepare
from alexnet.data.store.reader import Store
from alexnet.model.network import AlexNet
from alexnet.training import checkpoint
from alexnet.training.run_folder import fixed_settings

WNIDS = ("n01440764", "n02102040", "n02979186", "n03000684", "n03394916", "n03888257")
SIZE, CROP = 56, 51
HE = (0.02, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.3)


def draw(label: int, number: int, split: str) -> np.ndarray:
    """Noisy stripes whose colour and period depend on the label: uint8 [H, W, 3]."""
    random = np.random.default_rng([label, number, split == "val"])
    height, width = random.integers(SIZE, 80, 2)
    rows, columns = np.mgrid[:height, :width]
    stripes = np.sin((rows + (label % 3) * columns) * (0.3 + 0.2 * label))[..., None]
    colour = np.eye(3)[label % 3] * 160 + 40
    return (128 + 0.4 * colour * stripes + random.normal(0, 20, (height, width, 3))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train/<wnid>/*.png` and `val/<wnid>/*.png`."""
    folder = tmp_path_factory.mktemp("images")
    for split, count in (("train", 6), ("val", 3)):
        for label, wnid in enumerate(WNIDS):
            (folder / split / wnid).mkdir(parents=True)
            for number in range(count):
                image = Image.fromarray(draw(label, number, split))
                image.save(folder / split / wnid / f"{wnid}_{number}.png")
    return folder


@pytest.fixture(scope="session")
def store(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images, prepared (lossless)."""
    path = tmp_path_factory.mktemp("stores") / "store"
    prepare(source, path, size=SIZE, workers=1)
    return path


WriteRun = Callable[..., Path]


@pytest.fixture(scope="session")
def write_run(store: Path) -> WriteRun:
    """A function that writes a run folder as a training leaves it, with weights that are random but for conv1."""

    def write(
        folder: Path,
        wnids: Sequence[str] = WNIDS,
        seed: int = 0,
        constant: bool = False,
        dtype: str = "float32",
        honour_exif: bool = False,
    ) -> Path:
        """`wnids` is the order of the outputs; networks of one seed differ in nothing else."""
        network = NetworkConfig(classes=len(wnids), input_size=CROP, width=1 / 12, initial_std=HE)
        config = TrainConfig("tiny", batch_size=12, dtype=dtype, network=network, honour_exif=honour_exif)  # type: ignore[arg-type]
        net = AlexNet(network, generator=torch.Generator().manual_seed(seed))
        smooth(net)
        with torch.no_grad():
            net.fc8.weight.copy_(net.fc8.weight[[sorted(wnids).index(wnid) for wnid in wnids]])
            if constant:
                net.fc8.weight.zero_()
                net.fc8.bias.zero_()
        folder.mkdir(parents=True)
        save_config(config, folder / "config.json")
        (folder / "classes.json").write_text(json.dumps([[wnid, known_name(wnid)] for wnid in wnids]))
        np.save(folder / "mean.npy", Store(store).mean)
        lines = [
            {"step": step, "epoch": step / 3, "loss": 2 / step, "learning_rate": 0.01 if step < 4 else 0.001}
            for step in range(1, 7)
        ]
        lines += [
            {
                "step": s,
                "epoch": s / 3,
                "evaluation": "val",
                "top1_error": 2 / s,
                "top5_error": 1 / s,
                "loss": 1.0,
            }
            for s in (3, 6)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        velocity = {name: torch.zeros_like(w) for name, w in net.named_parameters()}
        state = state_of(6, 6, epoch=2.0, settings=fixed_settings(config))
        checkpoint.save(folder, 6, net.state_dict(), velocity, state)
        return folder

    return write


@pytest.fixture(scope="session")
def run(write_run: WriteRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run; tests that write into it take `own_run`."""
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def own_run(run: Path, tmp_path: Path) -> Path:
    """A copy of `run` that a test may change."""
    return Path(shutil.copytree(run, tmp_path / "run"))


@pytest.fixture
def val_split(store: Path) -> tuple[torch.Tensor, np.ndarray]:
    """The validation images, uint8 [N, S, S, 3], and their labels, int64 [N]."""
    split = Store(store).split("val")
    return torch.from_numpy(np.stack([split.image(i) for i in range(len(split))])), np.array(split.labels)
