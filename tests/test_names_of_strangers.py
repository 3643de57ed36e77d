"""Names of files and classes that a stranger chose do nothing to a terminal, in any command."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.cli import main
from alexnet.config import NetworkConfig, TrainConfig
from alexnet.data.prepare.prepare import prepare
from alexnet.training import loop

CLASSES = ("a\x1b[31m[/red]\u202e", "b\x1b]0;title\x07[bold]\nalexnet: done")
FILE = "\x1b[2J{}\u2066\x9b1m.png"
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\udc80-\udcff]")

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="such names are those of Linux")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, a store and a run whose classes and images have such names."""
    folder, random = tmp_path_factory.mktemp("made"), np.random.default_rng(0)
    for name in CLASSES:
        (folder / "images" / name).mkdir(parents=True)
        for number in range(8):
            image = Image.fromarray(random.integers(0, 256, (56, 56, 3), dtype=np.uint8))
            image.save(folder / "images" / name / FILE.format(number))
    (folder / "images" / CLASSES[0] / FILE.format("broken")).write_bytes(b"no image")
    prepare(folder / "images", folder / "store", size=56, workers=1, max_bad=1)
    network = NetworkConfig(input_size=51, width=1 / 24)
    config = TrainConfig(epochs=1, batch_size=4, device="cpu", dtype="float32", workers=1, network=network)
    loop.train(folder / "store", folder / "run", config)
    return folder


COMMANDS = {
    "prepare": ("images", "store", "--size", "56", "--max-bad", "1"),
    "evaluate": ("run", "--data", "store"),
    "predict": ("run", "images"),
    "predict table": ("run", "images", "--csv", "table.csv", "--force"),
    "predict one": ("run", f"images/{CLASSES[0]}/{FILE.format('broken')}"),
    "predict nothing": ("run", f"images/{FILE.format('nothing')}"),
    "similar": ("run", f"images/{CLASSES[0]}/{FILE.format(0)}", "--data", "store"),
    "features": ("run", "images", "out.npy", "--force"),
    "features all": ("run", "images", "out.npz", "--layer", "all", "--bad", "skip", "--force"),
    "compare": ("run", "--data", "store", "--split", "train", "--out", "compared", "--force"),
    "figures": ("run", "--data", "store"),
    "verify": ("store",),
    "verify run": ("run",),
    "describe": ("run",),
}


@pytest.mark.parametrize("as_json", [False, True], ids=["people", "json"])
@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_prints_shows_such_names_and_obeys_none(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, as_json: bool
) -> None:
    monkeypatch.chdir(made)
    code = main([command.split()[0], *COMMANDS[command], *(["--json"] if as_json else [])])
    said = capsys.readouterr()
    assert code == (1 if command.startswith("predict") else 0), said.err  # one of the images is broken
    assert not UNSAFE.search(said.out) and not UNSAFE.search(said.err)
    assert not any(line.startswith("alexnet: done") for line in (said.out + said.err).splitlines())
    if command in ("prepare", "predict") and not as_json:
        assert "\\x1b[31m[/red]\\u202e" in said.out
    if command == "predict table":
        assert not UNSAFE.search(Path("table.csv").read_text("utf-8-sig"))
