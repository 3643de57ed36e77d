"""The JSON files of a run: its settings, its classes and its log."""

import dataclasses
import json
from pathlib import Path

from alexnet.config import TrainConfig, load_config
from alexnet.data.classes import Class, read_classes
from alexnet.training.metrics import read_lines
from campaigns.fuzz.format import Format

CLASSES = [["n1", "one"], ["n2", "two"]]
STEPS = [{"step": step, "epoch": step / 4, "loss": 2.3, "learning_rate": 0.01} for step in range(1, 5)]


def examples() -> list[bytes]:
    log = "".join(json.dumps(step) + "\n" for step in STEPS)
    return [json.dumps(CLASSES).encode(), json.dumps(dataclasses.asdict(TrainConfig())).encode(), log.encode()]


def read(data: bytes, folder: Path) -> None:
    file = folder / "file.json"
    file.write_bytes(data)
    if data[:2] == b'{"' and data[2:6] != b"step":
        assert isinstance(load_config(file), TrainConfig)
    elif data[:1] == b"{":
        assert all(isinstance(line["step"], int) for line in read_lines(file))
        if data.count(b"\n") > len(read_lines(file)):
            raise ValueError("a line cannot be read and is left out")
    else:
        assert all(isinstance(each, Class) for each in read_classes(file))


FORMAT = Format("run json", 4, examples, read)
